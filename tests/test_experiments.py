"""The classical baselines and the harness that scores a variant, as their users start them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bpr_cli.evaluation.evaluate import evaluate

ROOT = Path(__file__).parent.parent


def run_script(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("method", ["grabcut", "guided"])
def test_classical_baselines_improve_real_masks(method, three_photos, tmp_path):
    refined = tmp_path / "refined.json"
    done = run_script(
        "examples/baselines.py", method, three_photos.results, "-o", refined,
        "--images", three_photos.images, "--image-info", three_photos.gt,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    figures = evaluate(refined, three_photos.gt, three_photos.results, quiet=True)
    assert figures.difference.contour_f > 0.05
    coarse, after = (json.loads(path.read_text()) for path in (three_photos.results, refined))
    assert [d["score"] for d in coarse] == [d["score"] for d in after]


def test_an_experiment_becomes_a_row_of_the_log(three_photos, tmp_path):
    sets = tmp_path / "sets.toml"
    sets.write_text(
        f'[[set]]\nname = "three photos"\nimages = {str(three_photos.images)!r}\ngt = {str(three_photos.gt)!r}\n'
        f"results = {str(three_photos.results)!r}\n"
    )
    log = tmp_path / "LOG.md"
    log.write_text("# Experiments\n")
    for what in ("first", "second"):
        done = run_script(
            "examples/tools/experiment.py", what, "--why", "to see", "--sets", sets, "--log", log,
            "--refine", "python examples/baselines.py guided",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    lines = log.read_text().splitlines()
    assert lines[0] == "# Experiments"
    header = lines.index("| date | what | why | three photos | cost |")
    assert [line.split(" | ")[1] for line in lines[header + 2 :]] == ["first", "second"]
    assert "BIoU" in lines[-1]
    assert "harmed" in lines[-1]
    assert "no training" in lines[-1]
