"""`bpr export`: its options, and what it prints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bpr_cli.commands.options import MODEL_HELP, console, print_error


def export(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="A .onnx file, or a .xml for OpenVINO (its .bin goes beside it).")
    ],
    model: Annotated[
        str | None,
        typer.Option(help=f"{MODEL_HELP}  [dim]\\[default: the last one of --speed balanced][/]", show_default=False),
    ] = None,
    int8: Annotated[
        Path | None,
        typer.Option(
            help="Quantise to 8 bits for OpenVINO, with this folder of patches (bpr extract) to calibrate and check.",
            metavar="FOLDER",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Write a model for other runtimes: ONNX or OpenVINO, in float32 or 8 bits.

    The graph takes images (N, 64, 64, 3) uint8 RGB and masks (N, 64, 64) uint8, 0 or 1, of any N, and gives
    probabilities (N, 64, 64) float32. It is compared with torch before it is written. An 8-bit model named int8.xml
    beside the weights is what [bold]bpr refine[/] runs on CPUs from then on.

    [bold]bpr export[/] --model runs/first -o refiner.onnx

    [bold]bpr export[/] --model runs/first --int8 shards/train -o runs/first/best/int8.xml
    """
    from bpr_cli.exporting.export import ExportError, export_int8
    from bpr_cli.exporting.export import export as run
    from bpr_cli.refining.speed import DEFAULT_MODELS

    model = model or DEFAULT_MODELS[-1]
    try:
        if int8 is None:
            outcome = f"largest difference from torch {run(model, output):.1e}"
        else:
            exact, rounded = export_int8(model, output, int8)
            outcome = f"mean IoU of patches {100 * exact:.2f} in float32, {100 * rounded:.2f} in 8 bits"
    except ExportError as error:
        print_error("nothing was written", error)
        raise typer.Exit(1) from None
    console.print(f"{outcome} -> {output}", highlight=False, soft_wrap=True)
