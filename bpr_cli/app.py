"""The command line: parse, call, print."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console

from bpr_cli import __version__
from bpr_cli.defaults import FILE_NAME, read_defaults
from bpr_cli.errors import InputError

# torch, OpenCV and the rest are imported inside the commands, so that --help answers at once.

app = typer.Typer(
    name="bpr",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
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
    typer.Option(help="auto, fp32, bf16 or fp16; auto takes what the device gains from.", rich_help_panel=SPEED),
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


def main() -> NoReturn:
    """Run the command line; errors of the user's input end in one or two lines and exit code 2."""
    try:
        app()
    except InputError as error:
        errors.print(f"[bold red]error:[/] {_escaped(error)}", soft_wrap=True)
        raise SystemExit(2) from None
    except OSError as error:
        errors.print(f"[bold red]error:[/] {_escaped(error)}", soft_wrap=True)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        errors.print("interrupted; no output was written")
        raise SystemExit(130) from None
    raise SystemExit(0)


def _escaped(error: Exception) -> str:
    from rich.markup import escape

    return escape(str(error))


def _show_version(asked: bool) -> None:
    if asked:
        console.print(f"bpr {__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Better mask boundaries from any instance segmenter's results.

    Defaults for any option may stand in a [bold]bpr.toml[/] in the working directory.
    """
    commands: dict[str, Any] = getattr(context.command, "commands", {})
    names = {name: {str(p.name) for p in command.params} for name, command in commands.items()}
    context.default_map = read_defaults(Path(FILE_NAME), names)


@app.command()
def refine(
    input: Annotated[
        Path,
        typer.Argument(help="COCO results or dataset (JSON), or a photo together with --mask.", show_default=False),
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="Refined results (JSON); with --mask, a folder.", rich_help_panel=INPUT),
    ],
    images: Images = None,
    image_info: Annotated[
        Path | None,
        typer.Option(
            help="COCO JSON with the images' file names, if the photos are not named by image id.",
            rich_help_panel=INPUT,
        ),
    ] = None,
    mask: Annotated[
        list[Path] | None,
        typer.Option(help="A mask image of the photo; repeat for more.", rich_help_panel=INPUT),
    ] = None,
    skip_bad: SkipBad = False,
    model: Annotated[
        str | None,
        typer.Option(
            help="A model that ships (see bpr models), a training run's folder, a .safetensors file, or a .pth of the "
            "paper's authors.  [dim]\\[default: the best that ships][/]",
            show_default=False,
        ),
    ] = None,
    nms_threshold: Annotated[
        float,
        typer.Option(help="0.25 is fast; 0.55 looks at each place more often.", rich_help_panel=PATCHES),
    ] = 0.25,
    scheme: Scheme = "dense",
    flips: Annotated[
        bool,
        typer.Option("--flips", help="Average with the mirror image: twice the time.", rich_help_panel=PATCHES),
    ] = False,
    blend: Annotated[
        str,
        typer.Option(help="How overlapping patches are averaged: uniform or hann.", rich_help_panel=PATCHES),
    ] = "uniform",
    device: Device = "auto",
    precision: Precision = "auto",
    batch_size: Annotated[
        int | None,
        typer.Option(
            help="Patches at once.  [dim]\\[default: by device][/]", show_default=False, rich_help_panel=SPEED
        ),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Refine masks: same detections, same order, better boundaries.

    [bold]bpr refine[/] results.json -o refined.json --images photos/

    [bold]bpr refine[/] photo.jpg --mask person.png --mask dog.png -o refined/
    """
    from bpr_cli.refining.refine import refine as run
    from bpr_cli.refining.refiner import DEFAULT_MODEL
    from bpr_cli.refining.settings import RefineSettings

    settings = RefineSettings(
        nms_threshold=nms_threshold, scheme=scheme, flips=flips, blend=blend, batch_size=batch_size
    )
    summary = run(
        input,
        output,
        images=images,
        image_info=image_info,
        masks=mask or (),
        model=model or DEFAULT_MODEL,
        settings=settings,
        device=device,
        precision=precision,
        skip_bad=skip_bad,
        quiet=quiet,
    )
    console.print(
        f"{summary.instances} instances, {summary.changed} changed, {summary.patches} patches -> {output}",
        highlight=False,
        soft_wrap=True,
    )
    _print_skipped(summary.skipped, "left as they were")


def _print_skipped(lines: tuple[str, ...] | list[str], what_became: str) -> None:
    if lines:
        errors.print(f"{len(lines)} {what_became}:")
    for line in lines:
        errors.print(f"  {line}", highlight=False, markup=False, soft_wrap=True)


@app.command()
def extract(
    images: Annotated[Path, typer.Option(help="Folder of the photos.", rich_help_panel=INPUT)],
    gt: Annotated[Path, typer.Option(help="Ground truth: a COCO dataset (JSON).", rich_help_panel=INPUT)],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the shards.", rich_help_panel=INPUT)],
    results: Annotated[
        list[Path] | None,
        typer.Option(help="Detections on these photos; repeat for more.", rich_help_panel=INPUT),
    ] = None,
    skip_bad: SkipBad = False,
    corruptions: Annotated[
        int | None,
        typer.Option(
            help="Synthetic coarse masks of each true object.  [dim]\\[default: 0; 4 without --results][/]",
            show_default=False,
            rich_help_panel=PATCHES,
        ),
    ] = None,
    patch_size: Annotated[int, typer.Option(help="Side of a patch, px.", rich_help_panel=PATCHES)] = 64,
    padding: Annotated[int, typer.Option(help="Context around a patch, px.", rich_help_panel=PATCHES)] = 0,
    nms_threshold: Annotated[
        float,
        typer.Option(help="Patches overlapping more than this IoU are dropped.", rich_help_panel=PATCHES),
    ] = 0.25,
    scheme: Scheme = "dense",
    min_iou: Annotated[
        float, typer.Option(help="Least IoU of a coarse mask with its true object.", rich_help_panel=PATCHES)
    ] = 0.5,
    sample: Annotated[
        float, typer.Option(help="Share of the coarse masks to use, 0 to 1.", rich_help_panel=PATCHES)
    ] = 1.0,
    scales: Annotated[
        str,
        typer.Option(
            help="Sizes at which photos are used, as 1,0.5,0.25: reduced ones teach small objects.",
            rich_help_panel=PATCHES,
        ),
    ] = "1",
    val_fraction: Annotated[
        float, typer.Option(help="Share of the groups that go to validation.", rich_help_panel=PATCHES)
    ] = 0.05,
    split_by: Annotated[
        str,
        typer.Option(help="image, or a field of the images (sequence, ...) to keep together.", rich_help_panel=PATCHES),
    ] = "image",
    seed: Annotated[int, typer.Option(help="Decides sample, split and corruption.", rich_help_panel=PATCHES)] = 0,
    processes: Annotated[
        int | None,
        typer.Option(help="Processes.  [dim]\\[default: one a core][/]", show_default=False, rich_help_panel=SPEED),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Cut training patches along the boundaries of detections, or of disturbed true masks.

    [bold]bpr extract[/] --images photos/ --gt gt.json --results maskrcnn.json -o shards/

    [bold]bpr extract[/] --images photos/ --gt gt.json --corruptions 4 -o shards/

    Run again, it goes on where it stopped.
    """
    from bpr_cli.extraction.extract import extract as run
    from bpr_cli.extraction.settings import ExtractionSettings, parse_scales

    if corruptions is None:
        corruptions = 0 if results else 4
    settings = ExtractionSettings(
        patch_size=patch_size,
        padding=padding,
        nms_threshold=nms_threshold,
        scheme=scheme,
        min_iou=min_iou,
        scales=parse_scales(scales),
        corruptions=corruptions,
        sample=sample,
        val_fraction=val_fraction,
        split_by=split_by,
        seed=seed,
    )
    manifest = run(
        images,
        gt,
        output,
        results=results or (),
        settings=settings,
        processes=processes or os.cpu_count() or 1,
        skip_bad=skip_bad,
        quiet=quiet,
    )
    for split, entry in manifest["splits"].items():
        console.print(f"{split}: {entry['patches']} patches in {len(entry['shards'])} shards", highlight=False)
    counts = ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in manifest["counts"].items())
    console.print(f"{counts} -> {output}", highlight=False, soft_wrap=True)
    _print_skipped(manifest["skipped"], "images left out")


@app.command()
def train(
    patches: Annotated[
        list[Path],
        typer.Option(help="Folder of shards (bpr extract); repeat for more.", rich_help_panel=INPUT),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the run.", rich_help_panel=INPUT)],
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run that is there.", rich_help_panel=INPUT)
    ] = False,
    init: Annotated[
        str | None,
        typer.Option(help="Model whose weights to begin from; default: random.", rich_help_panel=INPUT),
    ] = None,
    recipe: Annotated[str, typer.Option(help="default, or paper.")] = "default",
    network: Annotated[
        str | None,
        typer.Option(help="hrnet-w18-small, hrnet-w18, hrnet-w32 or hrnet-w48.", show_default=False),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Optimiser steps.", show_default=False)] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Patches a step, over all processes.", show_default=False)
    ] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate.", show_default=False)] = None,
    input_size: Annotated[
        int | None, typer.Option(help="Side to which patches are enlarged, px.", show_default=False)
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Weights, order, augmentation.", show_default=False)] = None,
    validate_every: Annotated[int, typer.Option(help="Steps between validations.", rich_help_panel=SPEED)] = 500,
    save_every: Annotated[int, typer.Option(help="Steps between saved states.", rich_help_panel=SPEED)] = 250,
    device: Device = "auto",
    precision: Precision = "auto",
    workers: Annotated[int, typer.Option(help="Processes that read patches.", rich_help_panel=SPEED)] = 2,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Also write TensorBoard events.", rich_help_panel=INPUT)
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Train a refiner on patches.

    [bold]bpr train[/] --patches shards/ -o runs/first

    [bold]torchrun --nproc-per-node 4 -m bpr_cli train[/] --patches shards/ -o runs/first

    What --network to --seed leave out is as the recipe has it. Killed, it goes on with --resume.
    """
    from bpr_cli.training.recipe import choose_recipe
    from bpr_cli.training.train import TrainingDivergedError
    from bpr_cli.training.train import train as run

    chosen = choose_recipe(
        recipe, network=network, steps=steps, batch_size=batch_size, lr=lr, input_size=input_size, seed=seed
    )
    try:
        summary = run(
            patches,
            output,
            chosen,
            init=init,
            device=device,
            precision=precision,
            workers=workers,
            validate_every=validate_every,
            save_every=save_every,
            resume=resume,
            tensorboard=tensorboard,
            quiet=quiet,
        )
    except TrainingDivergedError as error:
        errors.print(f"[bold red]training stopped:[/] {_escaped(error)}", soft_wrap=True)
        raise typer.Exit(1) from None
    if summary.best is not None:
        best = summary.best
        console.print(
            f"best at step {summary.best_step}: patch mIoU {best.miou:.4f} (coarse {best.coarse_miou:.4f}), "
            f"foreground IoU {best.foreground_iou:.4f}, loss {best.loss:.4f}",
            highlight=False,
            soft_wrap=True,
        )
    console.print(f"weights -> {summary.weights}; use them with --model {output}", highlight=False, soft_wrap=True)


@app.command()
def evaluate(
    results: Annotated[Path, typer.Argument(help="Results to score.", show_default=False)],
    gt: Annotated[
        Path,
        typer.Option(
            help="Ground truth: a COCO or LVIS dataset (JSON), or a folder of Cityscapes' *_instanceIds.png.",
            rich_help_panel=INPUT,
        ),
    ],
    baseline: Annotated[
        Path | None,
        typer.Option(help="The results before refinement, to compare with.", rich_help_panel=INPUT),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(help="Folder for a report to look at (index.html).", rich_help_panel=INPUT),
    ] = None,
    images: Images = None,
    image_info: Annotated[
        Path | None,
        typer.Option(
            help="COCO JSON with the file names and classes of the results' ids, for --gt of Cityscapes.",
            rich_help_panel=INPUT,
        ),
    ] = None,
    coco_classes: Annotated[
        bool,
        typer.Option(
            "--coco-classes", help="AP*: --gt is LVIS's, the detections are of COCO's classes.", rich_help_panel=INPUT
        ),
    ] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="File for all figures, for machines.", rich_help_panel=INPUT)
    ] = None,
    upper_bound: Annotated[
        str,
        typer.Option(
            help="Distances in px, as 1,2,3: what perfect pixels that near to the boundary would reach.",
            rich_help_panel=FIGURES,
        ),
    ] = "",
    boundary_ratio: Annotated[
        float | None,
        typer.Option(
            help="Band of Boundary IoU and AP as a share of the image diagonal.  "
            "[dim]\\[default: 0.02; Cityscapes 0.005][/]",
            show_default=False,
            rich_help_panel=FIGURES,
        ),
    ] = None,
    tolerance: Annotated[
        float, typer.Option(help="Distance within which contours agree, px.", rich_help_panel=FIGURES)
    ] = 1.0,
    group_by: Annotated[
        str | None,
        typer.Option(
            help="Field of the images (sequence, ...) for the breakdown and the confidence intervals; "
            "without one they are over images.",
            show_default=False,
            rich_help_panel=FIGURES,
        ),
    ] = None,
    per_category: Annotated[
        bool, typer.Option("--per-category", help="Also a table by class.", rich_help_panel=FIGURES)
    ] = False,
    fail_below: Annotated[
        list[str] | None,
        typer.Option(help="As boundary_ap=0.30: exit with 1 if the figure is less.", rich_help_panel=FIGURES),
    ] = None,
    fail_above: Annotated[
        list[str] | None,
        typer.Option(help="As harmed=0.05: exit with 1 if the figure is more.", rich_help_panel=FIGURES),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Score results against ground truth: AP, Boundary AP, AF, Boundary IoU, and what refinement changed.

    [bold]bpr evaluate[/] refined.json --gt gt.json --baseline input.json

    [bold]bpr evaluate[/] refined.json --gt gt.json --baseline input.json --report report/ --images photos/
    """
    from bpr_cli.evaluation.evaluate import evaluate_inputs
    from bpr_cli.evaluation.gates import failures, parse_gates
    from bpr_cli.evaluation.inputs import read_inputs
    from bpr_cli.evaluation.settings import EvaluationSettings, parse_distances
    from bpr_cli.report import tables
    from bpr_cli.report.machine import write_json
    from bpr_cli.report.page import write_report

    gates = parse_gates(fail_below or (), fail_above or ())
    settings = EvaluationSettings(boundary_ratio, tolerance, parse_distances(upper_bound), group_by)
    inputs = read_inputs(results, gt, baseline, image_info=image_info, coco_classes=coco_classes)
    evaluation = evaluate_inputs(inputs, settings, quiet=quiet)
    if json_file is not None:
        write_json(evaluation, json_file)
    if report is not None:
        write_report(evaluation, inputs, report, images=images, quiet=quiet)
    console.print(tables.format_table(evaluation))
    if evaluation.upper_bounds:
        console.print(tables.bound_table(evaluation))
    if per_category:
        console.print(tables.category_table(evaluation))
    if evaluation.scored.cityscapes_classes:
        console.print(tables.official_table(evaluation))
    if baseline is not None:
        console.print(tables.breakdown_table(evaluation, "size"))
    if baseline is not None and group_by is not None:
        console.print(tables.breakdown_table(evaluation, "group"))
    if report is not None:
        console.print(f"report -> {report / 'index.html'}", highlight=False, soft_wrap=True)
    if failed := failures(evaluation, gates):
        for line in failed:
            errors.print(f"[bold red]failed:[/] {line}", highlight=False, soft_wrap=True)
        raise typer.Exit(1)


app.command("eval", hidden=True)(evaluate)


@app.command()
def models() -> None:
    """List the models that ship, with what was measured of them."""
    from bpr_cli.network.zoo import zoo_models
    from bpr_cli.report.tables import model_table

    console.print(model_table(zoo_models()))
