"""Figures for machines: documented keys, fractions, null for what is undefined."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path

import pytest

from bpr_cli.evaluation.evaluate import evaluate
from bpr_cli.evaluation.evaluation_settings import EvaluationSettings
from bpr_cli.evaluation.figures import Figures
from bpr_cli.report.figures_json import figures_as_json, write_json
from tests.conftest import ROOT
from tests.evaluation.made import made_set


def test_the_file_holds_all_figures_as_fractions(tmp_path: Path) -> None:
    results, gt = made_set(tmp_path)
    found = evaluate(results, gt, results, settings=EvaluationSettings(upper_bounds=(1, 2)), quiet=True)
    write_json(found, tmp_path / "new" / "figures.json")
    document = json.loads((tmp_path / "new" / "figures.json").read_text())
    assert document == json.loads(json.dumps(figures_as_json(found)))
    for item in fields(Figures):
        value = getattr(found.figures, item.name)
        assert document["after"][item.name] == (None if value != value else value)
    assert document["before"] == document["after"]
    assert document["harmed"] == 0
    assert len(document["instances"]) == len(found.changes)
    assert [bound["radius"] for bound in document["upper_bounds"]] == [1, 2]
    assert document["upper_bounds"][0]["share_gained"]["boundary_ap"] == 0
    assert document["breakdown"]["all"][0]["iou"] == {"value": 0, "low": 0, "high": 0}
    assert document["after"]["ap_r"] is None


def test_without_a_baseline_there_is_no_before(tmp_path: Path) -> None:
    document = figures_as_json(evaluate(*made_set(tmp_path), quiet=True))
    assert "before" not in document
    assert "breakdown" not in document


@pytest.mark.parametrize("part", ["after", "counts", "settings"])
def test_every_key_is_described(tmp_path: Path, part: str) -> None:
    results, gt = made_set(tmp_path)
    document = figures_as_json(evaluate(results, gt, results, quiet=True))
    described = set(re.findall(r"`([a-z_0-9]+)`", (ROOT / "examples" / "METRICS.md").read_text()))
    assert set(document) | set(document[part]) <= described
