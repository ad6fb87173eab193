"""`bpr export`: its options, and what it prints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bpr_cli.commands.options import MODEL_HELP, console


def export(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="A .onnx file, or a .xml for OpenVINO (its .bin goes beside it).")
    ],
    model: Annotated[
        str | None, typer.Option(help=f"{MODEL_HELP}  [dim]\\[default: the balanced one][/]", show_default=False)
    ] = None,
) -> None:
    """Write a model for other runtimes: ONNX or OpenVINO.

    The graph takes images (N, 64, 64, 3) uint8 RGB and masks (N, 64, 64) uint8, 0 or 1, of any N, and gives
    probabilities (N, 64, 64) float32. It is compared with torch before it is written.

    [bold]bpr export[/] --model runs/first -o refiner.onnx
    """
    from bpr_cli.network.export import export as run
    from bpr_cli.refining.speed import DEFAULT_MODEL

    difference = run(model or DEFAULT_MODEL, output)
    console.print(f"largest difference from torch {difference:.1e} -> {output}", highlight=False, soft_wrap=True)
