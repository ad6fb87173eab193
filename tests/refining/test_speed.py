"""The dial sets what its positions say, and what is asked for by itself wins."""

from __future__ import annotations

import pytest

from bpr_cli.errors import InputError
from bpr_cli.network.zoo import zoo_models
from bpr_cli.refining.settings import RefineSettings
from bpr_cli.refining.speed import DEFAULT_MODELS, SPEEDS, choose_speed
from tests.conftest import run_bpr


def test_every_position_names_a_model_that_ships():
    shipped = {model.name for model in zoo_models()}
    assert {model for speed in SPEEDS.values() for model in speed.models} <= shipped


def test_balanced_is_the_apis_default():
    assert choose_speed("balanced") == (DEFAULT_MODELS, RefineSettings())


def test_what_is_asked_for_wins_over_the_dial():
    _, settings = choose_speed("best", nms_threshold=0.3, flips=False, blend=None, caution=0.0)
    assert settings == RefineSettings(nms_threshold=0.3, flips=False, blend="hann", caution=0.0, passes=2)
    with pytest.raises(InputError, match="fast, balanced, best"):
        choose_speed("ludicrous")


def test_models_asked_for_take_the_place_of_the_dials():
    assert choose_speed("balanced", ["a"]) == (["a"], RefineSettings())
    models, settings = choose_speed("fast", ["a", "b"])
    assert (models, settings.passes) == (["a", "b"], 2)


def test_fewer_passes_leave_out_the_first_models():
    assert choose_speed("balanced", passes=1)[0] == DEFAULT_MODELS[-1:]
    models, settings = choose_speed("balanced", passes=3)
    assert (models, settings.passes) == (DEFAULT_MODELS, 3)


def test_the_command_takes_a_model_for_each_pass(three_photos, tmp_path):
    common = ["--images", three_photos.images, "--image-info", three_photos.gt, "--quiet"]
    two = ["--model", "davis-fast", "--model", "davis-w18s"]
    for name, options in {
        "default": [],
        "as default": two,
        "the other way": ["--model", "davis-w18s", "--model", "davis-fast"],
    }.items():
        done = run_bpr("refine", three_photos.results, "-o", tmp_path / name, *common, *options)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "default").read_text() == (tmp_path / "as default").read_text()
    assert (tmp_path / "default").read_text() != (tmp_path / "the other way").read_text()
    failed = run_bpr("refine", three_photos.results, "-o", tmp_path / "no", *common, *two, "--passes", 1)
    assert failed.returncode == 2
    assert "number of models, 2" in failed.stderr
    assert not (tmp_path / "no").exists()


def test_the_command_follows_the_dial(three_photos, small_model, tmp_path):
    common = ["--images", three_photos.images, "--image-info", three_photos.gt, "--model", small_model, "--quiet"]
    written = []
    for name, options in {
        "best": ["--speed", "best"],
        "options": ["--nms-threshold", 0.55, "--flips"],
        "undone": ["--speed", "best", "--nms-threshold", 0.4, "--no-flips"],
        "default": [],
        "fast": ["--speed", "fast"],
        "as fast": ["--nms-threshold", 0.25, "--blend", "uniform", "--passes", 1],
    }.items():
        done = run_bpr("refine", three_photos.results, "-o", tmp_path / name, *common, *options)
        assert done.returncode == 0, done.stderr
        written.append((tmp_path / name).read_text())
    assert written[0] == written[1]
    assert written[2] == written[3] != written[0]
    assert written[4] == written[5] != written[3]
