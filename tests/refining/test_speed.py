"""The dial sets what its positions say, and what is asked for by itself wins."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bpr_cli.errors import InputError
from bpr_cli.network.zoo import zoo_models
from bpr_cli.refining.refiner import Refiner
from bpr_cli.refining.settings import RefineSettings
from bpr_cli.refining.speed import DEFAULT_MODELS, SPEEDS, choose_speed, models_of_passes
from tests.conftest import run_bpr


def test_every_position_names_models_that_ship():
    shipped = {model.name for model in zoo_models()}
    assert {model for speed in SPEEDS.values() for model in speed.models} <= shipped


def test_balanced_is_the_apis_default():
    assert choose_speed("balanced") == (list(DEFAULT_MODELS), RefineSettings())
    assert models_of_passes(None, RefineSettings().passes) == list(DEFAULT_MODELS)


def test_what_is_asked_for_wins_over_the_dial():
    _, settings = choose_speed("best", nms_threshold=0.3, flips=False, blend=None, caution=0.0)
    assert settings == RefineSettings(nms_threshold=0.3, flips=False, blend="hann", caution=0.0, passes=2)
    with pytest.raises(InputError, match="fast, balanced, best"):
        choose_speed("ludicrous")


def test_models_asked_for_take_the_place_of_the_dials():
    assert choose_speed("balanced", ["a"]) == (["a", "a"], RefineSettings())
    models, settings = choose_speed("fast", ["a", "b"])
    assert (models, settings.passes) == (["a", "b"], 2)


def test_each_pass_has_a_model():
    assert models_of_passes(["a", "b"], 4) == ["a", "b", "b", "b"]
    assert models_of_passes(Path("run"), 2) == [Path("run")] * 2
    assert models_of_passes(None, 1) == [DEFAULT_MODELS[-1]]
    assert choose_speed("balanced", passes=1)[0] == [DEFAULT_MODELS[-1]]
    assert choose_speed("balanced", passes=3)[0] == [*DEFAULT_MODELS, DEFAULT_MODELS[-1]]
    with pytest.raises(InputError, match="2 models for 1 pass"):
        models_of_passes(["a", "b"], 1)


def test_one_pass_takes_one_of_the_default_models():
    assert len(Refiner.from_pretrained(device="cpu", settings=RefineSettings(passes=1)).networks) == 1


@pytest.fixture(scope="module")
def detections(three_photos, tmp_path_factory):
    """Those of one photo."""
    records = json.loads(three_photos.results.read_text())
    path = tmp_path_factory.mktemp("one") / "results.json"
    path.write_text(json.dumps([record for record in records if record["image_id"] == records[0]["image_id"]]))
    return path


def test_the_command_takes_a_model_for_each_pass(three_photos, detections, tmp_path):
    common = ["--images", three_photos.images, "--image-info", three_photos.gt, "--quiet"]
    two = ["--model", "davis-fast", "--model", "davis-w18s"]
    for name, options in {
        "fast": ["--model", "davis-fast"],
        "fast first": two,
        "fast last": ["--model", "davis-w18s", "--model", "davis-fast"],
    }.items():
        done = run_bpr("refine", detections, "-o", tmp_path / name, *common, *options)
        assert done.returncode == 0, done.stderr
    assert len({(tmp_path / name).read_text() for name in ("fast", "fast first", "fast last")}) == 3
    failed = run_bpr("refine", detections, "-o", tmp_path / "no", *common, *two, "--passes", 1)
    assert failed.returncode == 2
    assert "2 models for 1 pass" in failed.stderr
    assert not (tmp_path / "no").exists()


def test_the_command_follows_the_dial(three_photos, detections, small_model, tmp_path):
    common = ["--images", three_photos.images, "--image-info", three_photos.gt, "--model", small_model, "--quiet"]
    written = []
    for name, options in {
        "best": ["--speed", "best"],
        "options": ["--nms-threshold", 0.55],
        "undone": ["--speed", "best", "--nms-threshold", 0.4],
        "default": [],
        "fast": ["--speed", "fast"],
        "as fast": ["--nms-threshold", 0.25, "--no-flips", "--blend", "uniform", "--passes", 1],
    }.items():
        done = run_bpr("refine", detections, "-o", tmp_path / name, *common, *options)
        assert done.returncode == 0, done.stderr
        written.append((tmp_path / name).read_text())
    assert written[0] == written[1]
    assert written[2] == written[3] != written[0]
    assert written[4] == written[5] != written[3]
