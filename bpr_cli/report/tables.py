"""Figures as tables for the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import fields

from rich.table import Table
from rich.text import Text

from bpr_cli.evaluation.evaluate import Evaluation, Figures
from bpr_cli.network.zoo import ZooModel


def format_table(evaluation: Evaluation) -> Table:
    """The evaluation's figures in percent; with a baseline: before, after and the change in points.

    The last rows then say what share of the matched detections became better or worse. The caption says how
    many images, detections and objects the figures stand for.
    """
    compared = evaluation.baseline is not None
    table = Table(caption=_caption(evaluation), caption_justify="left", header_style="bold")
    table.add_column("in percent")
    for name in ("before", "after", "change") if compared else ("value",):
        table.add_column(name, justify="right")
    names = _names(evaluation)
    for item in fields(Figures):
        cells = [Text(_percent(getattr(evaluation.figures, item.name)))]
        if evaluation.baseline is not None and evaluation.difference is not None:
            cells.insert(0, Text(_percent(getattr(evaluation.baseline, item.name))))
            cells.append(_change(getattr(evaluation.difference, item.name)))
        table.add_row(names[item.name], *cells, end_section=item.name in ("boundary_ap", "contour_f"))
    if compared:
        for name in ("improved", "unchanged", "harmed"):
            table.add_row(f"detections {name}", "", _percent(getattr(evaluation, name)), "")
    return table


def _names(evaluation: Evaluation) -> dict[str, str]:
    return {
        "ap": "AP",
        "ap50": "AP50",
        "ap75": "AP75",
        "boundary_ap": "Boundary AP",
        "iou": "mean IoU",
        "boundary_iou": f"mean Boundary IoU, {100 * evaluation.boundary_ratio:g} % band",
        "contour_f": f"mean contour F, {evaluation.tolerance:g} px",
    }


def _caption(evaluation: Evaluation) -> str:
    found = f"{len(evaluation.objects)} of {evaluation.truths} objects found"
    caption = f"{evaluation.images} images, {evaluation.detections} detections, {found}"
    return f"{caption}, {len(evaluation.changes)} detections compared" if evaluation.baseline else caption


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:.1f}"


def _change(value: float) -> Text:
    if math.isnan(value):
        return Text("-")
    shown = f"{100 * value:+.1f}"
    if float(shown) == 0:
        return Text("0.0")
    return Text(shown, style="green" if value > 0 else "red")


def model_table(models: Sequence[ZooModel]) -> Table:
    """The models that ship, a row each, with the figures of their cards in percent, before and after."""
    measured = "; ".join(dict.fromkeys(model.measured_on for model in models))
    caption = f"in percent, before -> after refinement, measured on {measured}"
    table = Table(header_style="bold", caption=caption, caption_justify="left")
    for name in ("model", "licence", "Boundary IoU", "contour F", "AP"):
        table.add_column(name, no_wrap=True)
    for model in models:
        figures = (model.figures[key] for key in ("boundary_iou", "contour_f", "ap"))
        cells = (f"{_percent(before)} -> {_percent(after)}" for before, after in figures)
        table.add_row(model.name, model.licence, *cells)
    return table
