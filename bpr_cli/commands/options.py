"""What several commands share: their options and how they print."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

console = Console()
errors = Console(stderr=True)

PATCHES, SPEED, INPUT, FIGURES = "Patches", "Device and speed", "Input and output", "Figures"

Images = Annotated[Path | None, typer.Option(help="Folder of the photos.", rich_help_panel=INPUT)]
Device = Annotated[
    str,
    typer.Option(help="auto, cpu, cuda, cuda:N or mps; auto takes a GPU if there is one.", rich_help_panel=SPEED),
]
Precision = Annotated[
    str,
    typer.Option(
        help="auto, fp32, bf16, fp16, or int8 (OpenVINO); auto takes the fastest that keeps the masks right.",
        rich_help_panel=SPEED,
    ),
]
Engine = Annotated[
    str,
    typer.Option(
        help="auto, torch or openvino; auto takes OpenVINO on a CPU if it is installed.", rich_help_panel=SPEED
    ),
]
MODEL_HELP = (
    "A model that ships (see bpr models), a training run's folder, a .safetensors file, or a .pth of the paper's "
    "authors."
)
Models = Annotated[
    list[str] | None,
    typer.Option(
        help=f"{MODEL_HELP} Repeat it for others in further passes; the last one does all that are left.  "
        "[dim]\\[default: by --speed][/]",
        show_default=False,
    ),
]
Batch = Annotated[
    int | None,
    typer.Option(help="Patches at once.  [dim]\\[default: by device][/]", show_default=False, rich_help_panel=SPEED),
]
ImageInfo = Annotated[
    Path | None,
    typer.Option(
        help="COCO JSON with the images' file names, if the photos are not named by image id.", rich_help_panel=INPUT
    ),
]
Speed = Annotated[
    str,
    typer.Option(help="fast, balanced or best: sets the models, the NMS threshold, flips, blending and passes."),
]
NmsThreshold = Annotated[
    float | None,
    typer.Option(
        help="0.25 is fast; 0.55 looks at each place more often.  [dim]\\[default: by --speed][/]",
        show_default=False,
        rich_help_panel=PATCHES,
    ),
]
Flips = Annotated[
    bool | None,
    typer.Option(
        "--flips/--no-flips",
        help="Average with the mirror image: twice the time.  [dim]\\[default: by --speed][/]",
        show_default=False,
        rich_help_panel=PATCHES,
    ),
]
Blend = Annotated[
    str | None,
    typer.Option(
        help="How overlapping patches are averaged: uniform or hann.  [dim]\\[default: by --speed][/]",
        show_default=False,
        rich_help_panel=PATCHES,
    ),
]
Passes = Annotated[
    int | None,
    typer.Option(
        help="How often a network looks, each time at what the pass before made.  [dim]\\[default: by --speed, at "
        "least one for each --model][/]",
        show_default=False,
        rich_help_panel=PATCHES,
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")]
SkipBad = Annotated[
    bool,
    typer.Option("--skip-bad", help="Go on past what cannot be used, and list it at the end.", rich_help_panel=INPUT),
]
Scheme = Annotated[
    str,
    typer.Option(help="Where patches lie: dense (along the boundary), grid or instance.", rich_help_panel=PATCHES),
]


def print_error(kind: str, error: Exception) -> None:
    errors.print(f"[bold red]{kind}:[/] {escape(str(error))}", soft_wrap=True)


def print_skipped(lines: Iterable[str], what_became: str) -> None:
    lines = list(lines)
    if lines:
        errors.print(f"{len(lines)} {what_became}:")
    for line in lines:
        errors.print(f"  {line}", highlight=False, markup=False, soft_wrap=True)
