"""What several commands share: their options and how they print."""

from __future__ import annotations

import re
from collections.abc import Iterable
from os import PathLike
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.markup import escape

from bpr_cli.limits import MOST_PIXELS
from bpr_cli.notices import InputWarning, notice_lines
from bpr_cli.stores.addresses import shown
from bpr_cli.stores.names import with_addresses

console = Console()
errors = Console(stderr=True)

PATCHES, SPEED, INPUT, FIGURES = "Patches", "Device and speed", "Input and output", "Figures"

# Written out, so that --help need not load torch; a test holds them against the modules that decide.
PrecisionName = Literal["auto", "fp32", "bf16", "fp16", "int8"]
EngineName = Literal["auto", "torch", "openvino", "cuda-graphs"]
SpeedName = Literal["fast", "balanced", "best"]
BlendName = Literal["uniform", "hann"]
SchemeName = Literal["dense", "grid", "instance"]
MaskFormName = Literal["same", "rle", "polygons"]
# How --help calls what may be a local path or an address. Such options are str: a Path makes one slash of two.
PATH = "PATH"
BELOW_ONE = 0.99  # largest value of shares that must not reach 1


def _check_device(name: str) -> str:
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", name):
        raise typer.BadParameter(f"{name!r} is none of auto, cpu, cuda, cuda:N, mps")
    return name


def _complete_device() -> list[str]:
    return ["auto", "cpu", "cuda", "cuda:0", "mps"]


Images = Annotated[str | None, typer.Option(help="Folder of the photos.", metavar=PATH, rich_help_panel=INPUT)]
Device = Annotated[
    str,
    typer.Option(
        help="auto, cpu, cuda, cuda:N or mps; auto takes a GPU if there is one.",
        callback=_check_device,
        autocompletion=_complete_device,
        rich_help_panel=SPEED,
    ),
]
Precision = Annotated[
    PrecisionName,
    typer.Option(
        help="int8 is for OpenVINO; auto takes the fastest that keeps the masks right.",
        rich_help_panel=SPEED,
    ),
]
Engine = Annotated[
    EngineName,
    typer.Option(
        help="auto takes OpenVINO on a CPU if it is installed; cuda-graphs is torch with CUDA graphs, untried as yet.",
        rich_help_panel=SPEED,
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
    typer.Option(
        min=1, help="Patches at once.  [dim]\\[default: by device][/]", show_default=False, rich_help_panel=SPEED
    ),
]
ImageInfo = Annotated[
    str | None,
    typer.Option(
        help="COCO JSON with the images' file names, if the photos are not named by image id.",
        metavar=PATH,
        rich_help_panel=INPUT,
    ),
]
Speed = Annotated[
    SpeedName,
    typer.Option(help="Sets the models, the NMS threshold, flips, blending and passes."),
]
NmsThreshold = Annotated[
    float | None,
    typer.Option(
        min=0.0,
        max=BELOW_ONE,
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
    BlendName | None,
    typer.Option(
        help="How overlapping patches are averaged.  [dim]\\[default: by --speed][/]",
        show_default=False,
        rich_help_panel=PATCHES,
    ),
]
Passes = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="How often a network looks, each time at what the pass before made.  [dim]\\[default: by --speed, at "
        "least one for each --model][/]",
        show_default=False,
        rich_help_panel=PATCHES,
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")]
Orientation = Annotated[
    str,
    typer.Option(
        help="Which way up photos are where neither the sizes nor the masks tell: exif (turned as it says) or stored.",
        rich_help_panel=INPUT,
    ),
]
MaxPixels = Annotated[
    int,
    typer.Option(help="Larger photos, masks and RLE are refused.", min=1, max=MOST_PIXELS, rich_help_panel=INPUT),
]
SkipBad = Annotated[
    bool,
    typer.Option("--skip-bad", help="Go on past what cannot be used, and list it at the end.", rich_help_panel=INPUT),
]
ChangesReport = Annotated[
    str | None,
    typer.Option(
        "--report",
        help="Folder for a page to look at (index.html): what changed, without ground truth.",
        metavar=PATH,
        rich_help_panel=INPUT,
    ),
]
ChangesJson = Annotated[
    str | None,
    typer.Option(
        "--json", help="File for the figures of what changed, for machines.", metavar=PATH, rich_help_panel=INPUT
    ),
]
Scheme = Annotated[
    SchemeName,
    typer.Option(
        help="Where patches lie: along the boundary, in the cells of a grid, or one on each instance.",
        rich_help_panel=PATCHES,
    ),
]


def is_typed(context: typer.Context, option: str) -> bool:
    """Whether an option stands on the command line, not in a bpr.toml and not by default."""
    source = context.get_parameter_source(option)
    return source is not None and source.name == "COMMANDLINE"


def print_error(kind: str, error: Exception | str) -> None:
    errors.print(f"[bold red]{kind}:[/] {escape(_printable(str(error)))}", soft_wrap=True)


def print_note(text: str) -> None:
    errors.print(_printable(text), highlight=False, markup=False, soft_wrap=True)


def _printable(text: str) -> str:
    """File names may hold bytes that are no characters (surrogates), which no terminal takes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def print_notices(found: Iterable[InputWarning]) -> None:
    for line in notice_lines(found):
        errors.print(f"note: {line}", highlight=False, markup=False, soft_wrap=True)


def print_skipped(heading: str, lines: Iterable[str]) -> None:
    lines = list(lines)
    if lines:
        errors.print(f"{heading}:", highlight=False)
    for line in lines:
        print_note(f"  {line}")


def print_place(what: str, place: str | PathLike[str]) -> None:
    """Where an output is: a local path, or an address without what gives access."""
    text = f"{what} -> {with_addresses(shown(place))}"
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def print_changes(json_file: str | None, report: str | None) -> None:
    """Where the figures and the page of what changed are."""
    if json_file is not None:
        print_place("figures", json_file)
    if report is not None:
        print_place("report", f"{report.rstrip('/')}/index.html")
