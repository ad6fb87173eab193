"""The tables show percent, changes in points and what they stand for."""

from __future__ import annotations

import io
from dataclasses import replace

from rich.console import Console, RenderableType

from bpr_cli.evaluation.figures import (
    CategoryFigures,
    ContourCells,
    Evaluation,
    Figures,
    InstanceChange,
    MaskScores,
    ObjectScores,
    Scored,
    UpperBound,
)
from bpr_cli.report.tables import bound_table, breakdown_table, category_table, format_table, official_table

BEFORE = Figures(ap=0.35, ap50=0.6, ap75=0.4, boundary_ap=0.2, iou=0.8, boundary_iou=0.6, contour_f=0.25, ap_s=0.1)
AFTER = replace(BEFORE, ap=0.372, ap75=0.39, contour_f=float("nan"))
SCORES = MaskScores(0.8, 0.6, 0.25), MaskScores(0.9, 0.7, 0.5)
EVALUATION = Evaluation(
    scored=Scored(AFTER, ContourCells(7, 20, 3), (CategoryFigures(1, "cat", 9, 0.372, 0.2, 0.5),)),
    scored_baseline=Scored(BEFORE, ContourCells(6, 20, 4), (CategoryFigures(1, "cat", 9, 0.35, 0.2, 0.25),)),
    images=5,
    detections=12,
    truths=9,
    objects=tuple(ObjectScores(i, 0, i, SCORES[1], SCORES[0], 1, 50.0, f"image {i}") for i in (1, 2)),
    changes=(InstanceChange(1, 0, 0, 0.8, 0.9, 1, 50.0, "a"), InstanceChange(1, 1, 0, 0.8, 0.8, 1, 50.0, "b")),
    upper_bounds=(UpperBound(2, replace(BEFORE, ap=0.394, boundary_ap=0.3)),),
    category_names={1: "cat"},
    boundary_ratio=0.005,
    tolerance=1.0,
)


def text_of(table: RenderableType) -> list[list[str]]:
    stream = io.StringIO()
    Console(file=stream, width=160).print(table)
    return [line.replace("│", " ").replace("┃", " ").split() for line in stream.getvalue().splitlines()]


def test_with_a_baseline_each_row_holds_before_after_and_change() -> None:
    rows = text_of(format_table(EVALUATION))
    assert ["AP", "35.0", "37.2", "+2.2"] in rows
    assert ["AP50", "60.0", "60.0", "0.0"] in rows
    assert ["AP75", "40.0", "39.0", "-1.0"] in rows
    assert ["APS", "10.0", "10.0", "0.0"] in rows
    assert ["mean", "contour", "F,", "1", "px", "25.0", "-", "-"] in rows
    assert ["mean", "Boundary", "IoU,", "0.5", "%", "band", "60.0", "60.0", "0.0"] in rows
    assert ["detections", "improved", "50.0"] in rows
    assert ["detections", "harmed", "0.0"] in rows


def test_the_caption_says_what_the_figures_stand_for() -> None:
    words = [word for row in text_of(format_table(EVALUATION)) for word in row]
    text = " ".join(words)
    assert "5 images, 12 detections, 2 of 9 objects found, 2 detections compared" in text
    assert "AF before over 6 true positives, 4 of 20 cells empty; after over 7 true positives, 3 of 20" in text


def test_without_a_baseline_there_is_one_value() -> None:
    rows = text_of(format_table(replace(EVALUATION, scored_baseline=None, changes=())))
    assert ["AP", "37.2"] in rows
    assert not any("harmed" in row for row in rows)


def test_figures_that_the_data_lack_have_no_row() -> None:
    rows = text_of(format_table(EVALUATION))
    assert not any(row[:1] == ["APL"] or row[:2] == ["AP", "rare"] or row[:1] == ["Cityscapes"] for row in rows)


def test_upper_bounds_show_the_share_gained() -> None:
    rows = text_of(bound_table(EVALUATION))
    assert ["2", "39.4", "(50", "%)", "10.0", "30.0", "(0", "%)", "60.0"] in rows


def test_classes_show_before_and_after() -> None:
    assert ["cat", "9", "35.0", "->", "37.2", "20.0", "->", "20.0", "25.0", "->", "50.0"] in text_of(
        category_table(EVALUATION)
    )


def test_a_breakdown_shows_changes_with_intervals() -> None:
    row = next(row for row in text_of(breakdown_table(EVALUATION, "size")) if row[:1] == ["small"])
    assert row[:4] == ["small", "2", "+10.0", "[+10.0,"]
    assert row[-3:] == ["0.0", "[0.0,", "0.0]"]


def test_official_classes_are_listed() -> None:
    scored = replace(EVALUATION.scored, cityscapes_classes={"car": (0.25, 0.5)})
    before = replace(EVALUATION.scored, cityscapes_classes={"car": (0.2, 0.4)})
    rows = text_of(official_table(replace(EVALUATION, scored=scored, scored_baseline=before)))
    assert ["car", "20.0", "->", "25.0", "40.0", "->", "50.0"] in rows


def test_names_are_shown_as_they_are_written() -> None:
    name, field = "[/b]cat", "[red]"
    scored = replace(EVALUATION.scored, categories=(CategoryFigures(1, name, 9, 0.372, 0.2, 0.5),))
    named = replace(
        EVALUATION,
        scored=scored,
        scored_baseline=scored,
        category_names={1: name},
        group_by=field,
        objects=tuple(replace(item, group=name) for item in EVALUATION.objects),
    )
    for table in (category_table(named), breakdown_table(named, "category"), breakdown_table(named, "group")):
        assert any(row[:1] == [name] for row in text_of(table))
    assert ["by", field] in text_of(breakdown_table(named, "group"))
