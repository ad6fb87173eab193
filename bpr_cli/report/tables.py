"""Figures as tables for the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from bpr_cli.evaluation.breakdown import BreakdownRow, Interval, Slice, breakdown
from bpr_cli.evaluation.figures import ContourCells, Evaluation
from bpr_cli.network.zoo import ZooModel

# Figures in the order shown; a group ends where the next begins.
MASK_ROWS = ("ap", "ap50", "ap75", "ap_s", "ap_m", "ap_l", "ap_r", "ap_c", "ap_f", "ar_1", "ar_10", "ar")
BOUNDARY_ROWS = (
    "boundary_ap",
    "boundary_ap50",
    "boundary_ap75",
    "boundary_ap_s",
    "boundary_ap_m",
    "boundary_ap_l",
)
CITYSCAPES_ROWS = ("cityscapes_ap", "cityscapes_ap50")
CONTOUR_ROWS = ("af", "af_pooled", "af_zero")
OBJECT_ROWS = ("iou", "boundary_iou", "contour_f")
SECTIONS = (CITYSCAPES_ROWS, MASK_ROWS, BOUNDARY_ROWS, CONTOUR_ROWS, OBJECT_ROWS)
KEPT_ROWS = ("ap", *OBJECT_ROWS)  # shown even where nothing is to be averaged
SHORT_NAMES = {
    "ap": "AP",
    "ap_s": "APS",
    "ap_m": "APM",
    "ap_l": "APL",
    "boundary_ap": "Boundary AP",
    "boundary_iou": "Boundary IoU",
    "contour_f": "contour F",
}
BOUND_COLUMNS = ("ap", "ap_s", "ap_m", "ap_l", "boundary_ap", "boundary_iou")


def figure_names(evaluation: Evaluation) -> dict[str, str]:
    """How the figures are called, in the order shown."""
    most = 300 if evaluation.rules == "lvis" else 100
    sizes = {"ap_s": "APS", "ap_m": "APM", "ap_l": "APL"}
    return {
        "cityscapes_ap": "Cityscapes AP",
        "cityscapes_ap50": "Cityscapes AP50",
        "ap": "AP",
        "ap50": "AP50",
        "ap75": "AP75",
        **sizes,
        "ap_r": "AP rare",
        "ap_c": "AP common",
        "ap_f": "AP frequent",
        "ar_1": "AR, 1 detection",
        "ar_10": "AR, 10 detections",
        "ar": f"AR, {most} detections",
        "boundary_ap": f"Boundary AP, {100 * evaluation.boundary_ratio:g} % band",
        "boundary_ap50": "Boundary AP50",
        "boundary_ap75": "Boundary AP75",
        **{f"boundary_{key}": f"Boundary {name}" for key, name in sizes.items()},
        "af": f"AF, {evaluation.tolerance:g} px",
        "af_pooled": "AF, pooled",
        "af_zero": "AF, empty cells as 0",
        "iou": "mean IoU",
        "boundary_iou": f"mean Boundary IoU, {100 * evaluation.boundary_ratio:g} % band",
        "contour_f": f"mean contour F, {evaluation.tolerance:g} px",
    }


def figure_rows(evaluation: Evaluation) -> list[list[tuple[str, list[str]]]]:
    """The figures that rules and data have, in sections: name and cells (value; or before, after, change)."""
    names = figure_names(evaluation)
    return [
        [(names[key], _cells(evaluation, key)) for key in section if key in KEPT_ROWS or _is_defined(evaluation, key)]
        for section in SECTIONS
    ]


def format_table(evaluation: Evaluation) -> Table:
    """The evaluation's figures in percent; with a baseline: before, after and the change in points.

    The last rows then say what share of the matched detections became better or worse. The caption says how
    many images, detections and objects the figures stand for.
    """
    compared = evaluation.baseline is not None
    table = Table(caption=caption(evaluation), caption_justify="left", header_style="bold")
    table.add_column("in percent")
    for name in ("before", "after", "change") if compared else ("value",):
        table.add_column(name, justify="right")
    for section in figure_rows(evaluation):
        for name, cells in section:
            table.add_row(name, *cells[:2], *(_coloured(cell) for cell in cells[2:]))
        table.add_section()
    if compared:
        for name in ("improved", "unchanged", "harmed"):
            table.add_row(f"detections {name}", "", percent(getattr(evaluation, name)), "")
    return table


def _is_defined(evaluation: Evaluation, name: str) -> bool:
    files = [evaluation.figures] + ([evaluation.baseline] if evaluation.baseline else [])
    return not all(math.isnan(getattr(figures, name)) for figures in files)


def _cells(evaluation: Evaluation, name: str) -> list[str]:
    value = percent(getattr(evaluation.figures, name))
    if evaluation.baseline is None or evaluation.difference is None:
        return [value]
    return [percent(getattr(evaluation.baseline, name)), value, points(getattr(evaluation.difference, name))]


def caption(evaluation: Evaluation) -> str:
    """How many images, detections and objects the figures stand for, and what AF was averaged over."""
    found = f"{len(evaluation.objects)} of {evaluation.truths} objects found"
    text = f"{evaluation.images} images, {evaluation.detections} detections, {found}"
    if evaluation.baseline:
        text += f", {len(evaluation.changes)} detections compared"
    cells = [("AF over ", evaluation.scored.cells)]
    if evaluation.scored_baseline:
        cells = [("AF before over ", evaluation.scored_baseline.cells), ("after over ", evaluation.scored.cells)]
    return text + "\n" + "; ".join(label + _cells_text(each) for label, each in cells)


def _cells_text(cells: ContourCells) -> str:
    return f"{cells.true_positives} true positives, {cells.empty} of {cells.cells} cells empty"


def short_name(figure: str) -> str:
    """How a figure is called where there is no room for its settings."""
    return SHORT_NAMES[figure]


def bound_columns(evaluation: Evaluation) -> list[str]:
    """The figures of upper bounds that the data have."""
    return [name for name in BOUND_COLUMNS if _is_defined(evaluation, name)]


def bound_table(evaluation: Evaluation) -> Table:
    """Upper bounds in percent and, with a baseline, the share of each that refinement gained."""
    compared = evaluation.baseline is not None
    what = "the baseline" if compared else "these results"
    caption = f"{what} with every pixel within k px of its boundary taken from ground truth"
    if compared:
        caption += "; in brackets: the share of that gain reached"
    table = Table(title="upper bounds, in percent", caption=caption, caption_justify="left", header_style="bold")
    table.add_column("k, px", justify="right")
    shown = bound_columns(evaluation)
    for name in shown:
        table.add_column(short_name(name), justify="right", no_wrap=True)
    for bound in evaluation.upper_bounds:
        cells = []
        for name in shown:
            share = evaluation.share_gained(bound, name)
            reached = "" if math.isnan(share) else f" ({100 * share:.0f} %)"
            cells.append(percent(getattr(bound.figures, name)) + reached)
        table.add_row(str(bound.radius), *cells)
    return table


def category_table(evaluation: Evaluation) -> Table:
    """AP, Boundary AP and AF of each class that has objects; with a baseline: before -> after."""
    table = Table(title="by class, in percent", header_style="bold")
    table.add_column("class")
    for name in ("objects", "AP", "Boundary AP", "AF"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, *cells in category_rows(evaluation):
        table.add_row(Text(name), *cells)
    return table


def category_rows(evaluation: Evaluation) -> list[list[str]]:
    """Name, number of objects, AP, Boundary AP and AF of each class that has objects."""
    scored_before = evaluation.scored_baseline or evaluation.scored
    rows = []
    for before, after in zip(scored_before.categories, evaluation.scored.categories, strict=True):
        if not after.truths:
            continue
        cells = []
        for name in ("ap", "boundary_ap", "af"):
            first, last = (percent(getattr(each, name)) for each in (before, after))
            cells.append(f"{first} -> {last}" if evaluation.scored_baseline else last)
        rows.append([after.name, str(after.truths), *cells])
    return rows


def official_table(evaluation: Evaluation) -> Table:
    """Cityscapes' own AP and AP50 of each class; with a baseline: before -> after."""
    table = Table(title="by the Cityscapes script, in percent", header_style="bold")
    table.add_column("class")
    for name in ("AP", "AP50"):
        table.add_column(name, justify="right", no_wrap=True)
    first = evaluation.scored_baseline.cityscapes_classes if evaluation.scored_baseline else None
    for name, values in evaluation.scored.cityscapes_classes.items():
        cells = [percent(value) for value in values]
        if first is not None:
            cells = [f"{percent(old)} -> {new}" for old, new in zip(first[name], cells, strict=True)]
        table.add_row(name, *cells)
    return table


def breakdown_table(evaluation: Evaluation, by: Slice) -> Table:
    """What changed in each part of the objects, in points of percent with 95 % confidence intervals."""
    unit = escape(evaluation.group_by or "image")
    title = {"all": "all objects", "size": "by size", "category": "by class", "group": f"by {unit}"}[by]
    caption = f"changes in points, with 95 % intervals over {unit}s" if by != "group" else "changes in points"
    table = Table(title=title, caption=caption, caption_justify="left", header_style="bold")
    table.add_column("")
    for name in ("objects", "IoU", "Boundary IoU", "contour F", "improved", "harmed"):
        table.add_column(name, justify="right")
    for row in breakdown(evaluation, by):
        label, *cells = breakdown_cells(row)
        table.add_row(Text(label), *cells)
    return table


def breakdown_cells(row: BreakdownRow) -> list[str]:
    """A row's label, count and figures as text."""
    changes = [interval_text(each, signed=True) for each in (row.iou, row.boundary_iou, row.contour_f)]
    shares = [interval_text(each, signed=False) for each in (row.improved, row.harmed)]
    return [row.label, str(row.objects), *changes, *shares]


def interval_text(interval: Interval, *, signed: bool) -> str:
    """ "+5.1 [+3.9, +6.0]" in percent; without brackets where there is no interval."""
    if math.isnan(interval.value):
        return "-"
    form = "+.1f" if signed else ".1f"
    text = format(100 * interval.value, form)
    if math.isnan(interval.low):
        return text
    return f"{text} [{format(100 * interval.low, form)}, {format(100 * interval.high, form)}]"


def percent(value: float) -> str:
    """ "78.4" for .784, "-" for NaN."""
    return "-" if math.isnan(value) else f"{100 * value:.1f}"


def points(value: float) -> str:
    """ "+2.2" for .022, "0.0" for what rounds to nothing, "-" for NaN."""
    if math.isnan(value):
        return "-"
    shown = f"{100 * value:+.1f}"
    return "0.0" if float(shown) == 0 else shown


def _coloured(shown: str) -> Text:
    return Text(
        shown, style="green" if shown.startswith("+") else "red" if shown.startswith("-") and shown != "-" else ""
    )


def model_table(models: Sequence[ZooModel]) -> Table:
    """The models that ship, a row each, with the figures of their cards in percent, before and after."""
    measured = "; ".join(dict.fromkeys(model.measured_on for model in models))
    options = ", ".join(f"{model.name} with {model.options}" for model in models)
    caption = f"in percent, before -> after refinement, measured on {measured}; {options}"
    table = Table(header_style="bold", caption=caption, caption_justify="left")
    for name in ("model", "licence", "Boundary IoU", "contour F", "AP"):
        table.add_column(name, no_wrap=True)
    for model in models:
        figures = (model.figures[key] for key in ("boundary_iou", "contour_f", "ap"))
        cells = (f"{percent(before)} -> {percent(after)}" for before, after in figures)
        table.add_row(model.name, model.licence, *cells)
    return table
