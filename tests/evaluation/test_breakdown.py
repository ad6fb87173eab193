"""Breakdowns by size, class and group, and intervals that know that instances of a group are alike."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bpr_cli.errors import InputError
from bpr_cli.evaluation.breakdown import breakdown, interval
from bpr_cli.evaluation.evaluate import evaluate
from bpr_cli.evaluation.evaluation_settings import EvaluationSettings
from bpr_cli.evaluation.figures import Evaluation
from tests.conftest import Example
from tests.evaluation.made import annotation, detection, write, write_truth


@pytest.fixture
def compared(example: Example) -> Evaluation:
    return evaluate(
        example.results_native,
        example.gt,
        example.results,
        settings=EvaluationSettings(group_by="sequence"),
        quiet=True,
    )


def test_parts_add_up_to_the_whole(compared: Evaluation) -> None:
    (whole,) = breakdown(compared, "all")
    for by in ("size", "category", "group"):
        rows = breakdown(compared, by)
        assert sum(row.objects for row in rows) == whole.objects == len(compared.objects)
        assert sum(row.detections for row in rows) == whole.detections == len(compared.changes)
        gained = sum(row.boundary_iou.value * row.objects for row in rows) / whole.objects
        assert gained == pytest.approx(whole.boundary_iou.value)
        harmed = sum(row.harmed.value * row.detections for row in rows) / whole.detections
        assert harmed == pytest.approx(compared.harmed)
    assert whole.iou_before == pytest.approx(compared.baseline.iou)
    assert [row.label for row in breakdown(compared, "group")] == ["blackswan", "car-roundabout", "dance-twirl", "goat"]


def test_the_whole_has_an_interval_around_its_mean_and_one_group_has_none(compared: Evaluation) -> None:
    (whole,) = breakdown(compared, "all")
    assert whole.contour_f.low < whole.contour_f.value < whole.contour_f.high
    assert all(math.isnan(row.contour_f.low) for row in breakdown(compared, "group"))


def test_sizes_are_cocos(tmp_path: Path) -> None:
    sides = {10: "small", 32: "medium", 40: "medium"}
    gt = write_truth(
        tmp_path / "gt.json", [annotation(i, i, 1, (0, 0, side, side)) for i, side in enumerate(sides, 1)], images=3
    )
    found = write(tmp_path / "r.json", [detection(i, 1, (0, 0, side, side)) for i, side in enumerate(sides, 1)])
    rows = breakdown(evaluate(found, gt, found, quiet=True), "size")
    assert [(row.label, row.objects) for row in rows] == [("small", 1), ("medium", 2)]


def test_without_a_baseline_there_is_nothing_to_break_down(compared: Evaluation) -> None:
    assert breakdown(replace(compared, scored_baseline=None), "all") == []


def test_an_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    groups = np.repeat([f"g{i}" for i in range(30)], 4)
    hits = 0
    for _ in range(200):
        values = np.repeat(rng.normal(size=30), 4) + 0.1 * rng.normal(size=120)
        found = interval(values, groups.tolist())
        hits += found.low <= 0 <= found.high
    assert 175 <= hits <= 200  # 190 expected; about 130 if instances were drawn one by one


def test_groups_weigh_by_their_number_of_instances() -> None:
    found = interval([1.0, 1.0, 1.0, 0.0], ["a", "a", "a", "b"])
    assert found.value == 0.75
    assert (found.low, found.high) == (0, 1)
    assert math.isnan(interval([], []).value)


def test_a_field_that_images_lack_is_named(example: Example) -> None:
    with pytest.raises(InputError, match=r"no field weather\. Name one of its fields: .*sequence"):
        evaluate(example.results, example.gt, settings=EvaluationSettings(group_by="weather"), quiet=True)
