"""The model that ships, on photos it was not trained on: it must make real masks better, whatever else changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpr_cli.evaluation.evaluate import evaluate
from tests.conftest import Example, run_bpr


@pytest.mark.parametrize("form", ["results", "results_native"])
def test_the_default_model_improves_real_detections(example: Example, form: str, tmp_path: Path) -> None:
    coarse, refined = getattr(example, form), tmp_path / "refined.json"

    done = run_bpr(
        "refine", coarse, "-o", refined, "--images", example.images, "--image-info", example.gt, "-q", timeout=300
    )

    assert done.returncode == 0, done.stderr
    evaluation = evaluate(refined, example.gt, coarse, quiet=True)
    gained = evaluation.difference
    assert gained is not None
    # A good deal less than was measured, so that only a fault trips it, not rounding on another machine.
    assert gained.boundary_iou > 0.03
    assert gained.contour_f > 0.12
    assert gained.iou > 0
    assert gained.ap > 0
    assert evaluation.improved > 2 * evaluation.harmed


def test_the_list_of_models_shows_the_card_of_the_default_one() -> None:
    done = run_bpr("models")
    assert done.returncode == 0
    assert "davis-w18s" in done.stdout
    assert "NC" in done.stdout
