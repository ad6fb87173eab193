"""Every figure of AP and AR is that of the package whose rules it follows, to 1e-9, whatever the data."""

from __future__ import annotations

import importlib.util
import json
import math
from pathlib import Path
from typing import Any

import pytest

from bpr_cli.evaluation.evaluate import evaluate
from tests.evaluation.made import write
from tests.evaluation.random_sets import (
    LVIS_FIGURES,
    LVIS_SEEDS,
    coco_figures,
    lvis_figures,
    our_figures,
    random_set,
)

Set = tuple[dict[str, Any], list[dict[str, Any]]]


def assert_same(tmp_path: Path, made: Set, reference: dict[str, float]) -> None:
    truth, detections = made
    found = our_figures(
        evaluate(write(tmp_path / "r.json", detections), write(tmp_path / "gt.json", truth), quiet=True)
    )
    ours = {name: found[name] for name in reference}
    assert ours == pytest.approx(reference, abs=1e-9, nan_ok=True)
    assert 0 < ours[next(name for name in reference if name.endswith("ap"))] < 1


@pytest.mark.parametrize("seed", range(8))
def test_mask_figures_are_those_of_pycocotools(tmp_path: Path, seed: int) -> None:
    made = random_set(seed)
    assert_same(tmp_path, made, coco_figures(*made))


@pytest.mark.parametrize("seed", range(8))
def test_boundary_figures_are_those_of_faster_coco_eval_on_full_frames(tmp_path: Path, seed: int) -> None:
    made = random_set(seed)
    assert_same(tmp_path, made, coco_figures(*made, kind="boundary"))


@pytest.mark.parametrize("seed", LVIS_SEEDS)
def test_lvis_figures_are_those_that_the_lvis_package_gave(tmp_path: Path, seed: int) -> None:
    stored = json.loads(LVIS_FIGURES.read_text())[str(seed)]
    reference = {name: math.nan if value is None else value for name, value in stored.items()}
    assert_same(tmp_path, random_set(seed, lvis=True), reference)


@pytest.mark.skipif(importlib.util.find_spec("lvis") is None, reason="the package lvis is not installed")
@pytest.mark.parametrize("seed", range(100, 108))
def test_lvis_figures_are_those_of_the_lvis_package(tmp_path: Path, seed: int) -> None:
    made = random_set(seed, lvis=True)
    assert_same(tmp_path, made, lvis_figures(*made))
