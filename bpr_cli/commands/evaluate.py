"""`bpr evaluate`: its options, and what it prints."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bpr_cli.commands.options import (
    FIGURES,
    INPUT,
    MaxPixels,
    Orientation,
    Quiet,
    SkipBad,
    console,
    errors,
    is_typed,
    print_notices,
    print_skipped,
)
from bpr_cli.errors import InputError
from bpr_cli.limits import MAX_PIXELS
from bpr_cli.notices import collected_warnings

if TYPE_CHECKING:
    from bpr_cli.evaluation.figures import Evaluation


def _conditions(typed: str) -> list[str]:
    """What `--fail-below` and `--fail-above` can begin with, for completion in shells."""
    from bpr_cli.evaluation.conditions import condition_figures

    return [f"{name}=" for name in condition_figures() if name.startswith(typed)]


def evaluate(
    context: typer.Context,
    results: Annotated[Path, typer.Argument(help="Results to score.", show_default=False)],
    gt: Annotated[
        Path,
        typer.Option(
            help="Ground truth: a COCO or LVIS dataset (JSON), a folder of Cityscapes' *_instanceIds.png, or labels in "
            "any other form that bpr refine reads.",
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
    images: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the photos: for the report, and for sizes where labels have none (YOLO's).",
            rich_help_panel=INPUT,
        ),
    ] = None,
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
    orientation: Orientation = "exif",
    max_pixels: MaxPixels = MAX_PIXELS,
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
    from bpr_cli.evaluation.evaluate import evaluate_inputs, unfinished_evaluation
    from bpr_cli.evaluation.evaluation_settings import EvaluationSettings, parse_distances
    from bpr_cli.evaluation.reading import read_inputs
    from bpr_cli.formats.images import PhotoReader
    from bpr_cli.report.figures_json import write_json
    from bpr_cli.report.outputs import check_outputs
    from bpr_cli.report.page import write_report

    if report is None and is_typed(context, "orientation"):
        raise InputError("--orientation is for the report", remedy="Ask for it with --report")
    conditions = parse_conditions(fail_below or (), fail_above or (), compared=baseline is not None)
    settings = EvaluationSettings(boundary_ratio, tolerance, parse_distances(upper_bound), group_by)
    reader = PhotoReader(orientation, max_pixels)
    sources = [path for path in (results, gt, baseline, image_info) if path is not None]
    check_outputs(json_file, report, sources, images)
    page = None
    with collected_warnings() as warned:
        inputs = read_inputs(
            results,
            gt,
            baseline,
            images=images,
            image_info=image_info,
            coco_classes=coco_classes,
            max_pixels=max_pixels,
            skip_bad=skip_bad,
        )
        with unfinished_evaluation(inputs, settings, json_file) as unfinished:
            evaluation = evaluate_inputs(inputs, settings, unfinished=unfinished, quiet=quiet)
            if json_file is not None:
                write_json(evaluation, json_file)
            if report is not None:
                page = write_report(evaluation, inputs, report, images=images, reader=reader, quiet=quiet)
    print_notices(warned)
    _print_tables(evaluation, per_category=per_category)
    print_skipped("could not be used; such a detection counts as one without a pixel", inputs.unusable)
    if json_file is not None:
        console.print(f"figures -> {json_file}", highlight=False, markup=False, soft_wrap=True)
    if page is not None:
        console.print(f"report -> {page}", highlight=False, markup=False, soft_wrap=True)
    if failed := failures(evaluation, conditions):
        for line in failed:
            errors.print(f"[bold red]failed:[/] {line}", highlight=False, soft_wrap=True)
        raise typer.Exit(1)


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
