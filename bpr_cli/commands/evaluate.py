"""`bpr evaluate`: its options, and what it prints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from bpr_cli.commands.options import (
    FIGURES,
    INPUT,
    PATH,
    MaxPixels,
    Orientation,
    Quiet,
    SkipBad,
    console,
    errors,
    is_typed,
    print_changes,
    print_notices,
    print_skipped,
)
from bpr_cli.errors import InputError
from bpr_cli.files import PathLike, as_path
from bpr_cli.limits import MAX_PIXELS
from bpr_cli.notices import collected_warnings
from bpr_cli.stores.staging import with_stores

if TYPE_CHECKING:
    from bpr_cli.evaluation.evaluation_settings import EvaluationSettings
    from bpr_cli.evaluation.figures import Evaluation


def _conditions(typed: str) -> list[str]:
    """What `--fail-below` and `--fail-above` can begin with, for completion in shells."""
    from bpr_cli.evaluation.conditions import condition_figures

    return [f"{name}=" for name in condition_figures() if name.startswith(typed)]


def evaluate(
    context: typer.Context,
    results: Annotated[str, typer.Argument(help="Results to score.", show_default=False)],
    gt: Annotated[
        str,
        typer.Option(
            help="Ground truth: a COCO or LVIS dataset (JSON), a folder of Cityscapes' *_instanceIds.png, or labels in "
            "any other form that bpr refine reads.",
            metavar=PATH,
            rich_help_panel=INPUT,
        ),
    ],
    baseline: Annotated[
        str | None,
        typer.Option(help="The results before refinement, to compare with.", metavar=PATH, rich_help_panel=INPUT),
    ] = None,
    report: Annotated[
        str | None,
        typer.Option(help="Folder for a report to look at (index.html).", metavar=PATH, rich_help_panel=INPUT),
    ] = None,
    images: Annotated[
        str | None,
        typer.Option(
            help="Folder of the photos: for the report, and for sizes where labels have none (YOLO's).",
            metavar=PATH,
            rich_help_panel=INPUT,
        ),
    ] = None,
    image_info: Annotated[
        str | None,
        typer.Option(
            help="COCO JSON with the file names and classes of the results' ids, for --gt of Cityscapes.",
            metavar=PATH,
            rich_help_panel=INPUT,
        ),
    ] = None,
    coco_classes: Annotated[
        bool,
        typer.Option(
            "--coco-classes", help="AP*: --gt is LVIS's, the detections are of COCO's classes.", rich_help_panel=INPUT
        ),
    ] = False,
    orientation: Orientation = "exif",
    max_pixels: MaxPixels = MAX_PIXELS,
    json_file: Annotated[
        str | None,
        typer.Option("--json", help="File for all figures, for machines.", metavar=PATH, rich_help_panel=INPUT),
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
            min=0,
            max=1,
            show_default=False,
            rich_help_panel=FIGURES,
        ),
    ] = None,
    tolerance: Annotated[
        float, typer.Option(help="Distance within which contours agree, px.", min=0, max=100, rich_help_panel=FIGURES)
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
        typer.Option(
            help="As boundary_ap=0.30: exit with 1 if the figure is less.",
            autocompletion=_conditions,
            rich_help_panel=FIGURES,
        ),
    ] = None,
    fail_above: Annotated[
        list[str] | None,
        typer.Option(
            help="As harmed=0.05: exit with 1 if the figure is more.",
            autocompletion=_conditions,
            rich_help_panel=FIGURES,
        ),
    ] = None,
    skip_bad: SkipBad = False,
    quiet: Quiet = False,
) -> None:
    """Score results against ground truth: AP, Boundary AP, AF, Boundary IoU, and what refinement changed.

    [bold]bpr evaluate[/] refined.json --gt gt.json --baseline input.json

    [bold]bpr evaluate[/] refined.json --gt gt.json --baseline input.json --report report/ --images photos/
    """
    from bpr_cli.evaluation.conditions import failures, parse_conditions
    from bpr_cli.evaluation.evaluation_settings import EvaluationSettings, parse_distances

    if report is None and is_typed(context, "orientation"):
        raise InputError("--orientation is for the report", remedy="Ask for it with --report")
    conditions = parse_conditions(fail_below or (), fail_above or (), compared=baseline is not None)
    settings = EvaluationSettings(boundary_ratio, tolerance, parse_distances(upper_bound), group_by)
    with collected_warnings() as warned:
        evaluation, unusable = _evaluate(
            results,
            gt,
            baseline,
            report,
            json_file,
            settings=settings,
            orientation=orientation,
            quiet=quiet,
            images=images,
            image_info=image_info,
            coco_classes=coco_classes,
            max_pixels=max_pixels,
            skip_bad=skip_bad,
        )
    print_notices(warned)
    _print_tables(evaluation, per_category=per_category)
    print_skipped("could not be used; such a detection counts as one without a pixel", unusable)
    print_changes(json_file, report)
    if failed := failures(evaluation, conditions):
        for line in failed:
            errors.print(f"[bold red]failed:[/] {line}", highlight=False, soft_wrap=True)
        raise typer.Exit(1)


@with_stores(inputs=("results", "gt", "baseline", "image_info"), photos=("images",), outputs=("report", "json_file"))
def _evaluate(
    results: PathLike,
    gt: PathLike,
    baseline: PathLike | None,
    report: PathLike | None,
    json_file: PathLike | None,
    *,
    settings: EvaluationSettings,
    orientation: str,
    quiet: bool,
    images: PathLike | None,
    image_info: PathLike | None,
    max_pixels: int,
    **options: bool,
) -> tuple[Evaluation, Sequence[str]]:
    """The evaluation, its files written, and what could not be used."""
    from bpr_cli.evaluation.evaluate import evaluate_inputs, unfinished_evaluation
    from bpr_cli.evaluation.reading import read_inputs
    from bpr_cli.formats.images import PhotoReader
    from bpr_cli.report.figures_json import write_json
    from bpr_cli.report.outputs import check_outputs
    from bpr_cli.report.page import write_report

    page = None if report is None else as_path(report, "report")
    figures = None if json_file is None else as_path(json_file, "json_file")
    photos = None if images is None else as_path(images, "images")
    reader = PhotoReader(orientation, max_pixels)
    sources = [as_path(path, "an input") for path in (results, gt, baseline, image_info) if path is not None]
    check_outputs(figures, page, sources, photos)
    inputs = read_inputs(results, gt, baseline, images=photos, image_info=image_info, max_pixels=max_pixels, **options)
    with unfinished_evaluation(inputs, settings, figures) as unfinished:
        evaluation = evaluate_inputs(inputs, settings, unfinished=unfinished, quiet=quiet)
        if figures is not None:
            write_json(evaluation, figures)
        if page is not None:
            write_report(evaluation, inputs, page, images=photos, reader=reader, quiet=quiet)
    return evaluation, inputs.unusable


def _print_tables(evaluation: Evaluation, *, per_category: bool) -> None:
    from bpr_cli.report import tables

    console.print(tables.format_table(evaluation))
    if evaluation.upper_bounds:
        console.print(tables.bound_table(evaluation))
    if per_category:
        console.print(tables.category_table(evaluation))
    if evaluation.scored.cityscapes_classes:
        console.print(tables.official_table(evaluation))
    if evaluation.baseline is not None:
        console.print(tables.breakdown_table(evaluation, "size"))
        if evaluation.group_by is not None:
            console.print(tables.breakdown_table(evaluation, "group"))
