"""The table shows percent, changes in points and what they stand for."""

from __future__ import annotations

import io
from dataclasses import replace

from rich.console import Console

from bpr_cli.evaluation.evaluate import Evaluation, Figures, InstanceChange
from bpr_cli.report.tables import format_table

BEFORE = Figures(ap=0.35, ap50=0.6, ap75=0.4, boundary_ap=0.2, iou=0.8, boundary_iou=0.6, contour_f=0.25)
AFTER = replace(BEFORE, ap=0.372, ap75=0.39, contour_f=float("nan"))
EVALUATION = Evaluation(
    figures=AFTER,
    baseline=BEFORE,
    images=5,
    detections=12,
    truths=9,
    objects=(),
    changes=(InstanceChange(1, 0, 0, 0.8, 0.9), InstanceChange(1, 1, 0, 0.8, 0.8)),
    boundary_ratio=0.005,
    tolerance=1.0,
)


def text_of(evaluation: Evaluation) -> list[list[str]]:
    stream = io.StringIO()
    Console(file=stream, width=120).print(format_table(evaluation))
    return [line.replace("│", " ").replace("┃", " ").split() for line in stream.getvalue().splitlines()]


def test_with_a_baseline_each_row_holds_before_after_and_change() -> None:
    rows = text_of(EVALUATION)
    assert ["AP", "35.0", "37.2", "+2.2"] in rows
    assert ["AP50", "60.0", "60.0", "0.0"] in rows
    assert ["AP75", "40.0", "39.0", "-1.0"] in rows
    assert ["mean", "contour", "F,", "1", "px", "25.0", "-", "-"] in rows
    assert ["mean", "Boundary", "IoU,", "0.5", "%", "band", "60.0", "60.0", "0.0"] in rows
    assert ["detections", "improved", "50.0"] in rows
    assert ["detections", "harmed", "0.0"] in rows


def test_without_a_baseline_there_is_one_value() -> None:
    rows = text_of(replace(EVALUATION, baseline=None, changes=()))
    assert ["AP", "37.2"] in rows
    assert not any("harmed" in row for row in rows)
