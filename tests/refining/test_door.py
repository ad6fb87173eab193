"""The Python door: the dial, one photo asked often, probabilities, and no argument that goes unused in silence."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import bpr_cli
import bpr_cli.training.recipe
from bpr_cli import InputError, Refiner, RefineSettings, evaluate, extract, refine, train
from bpr_cli.engines.engine import Network
from bpr_cli.evaluation.evaluation_settings import EvaluationSettings
from bpr_cli.formats import read_results
from bpr_cli.formats.images import read_image
from bpr_cli.formats.segmentation import decode_mask
from bpr_cli.masks import to_frame
from bpr_cli.network.config import ModelConfig
from bpr_cli.refining.speed import SPEEDS
from tests.conftest import run_bpr

HEIGHT, WIDTH = 110, 130
PHOTO = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
MASKS = np.zeros((2, HEIGHT, WIDTH), bool)
MASKS[0, 20:60, 30:70] = True
MASKS[1, 30:100, 60:120] = True


class Noisy:
    """An engine that answers with noise of its own for every patch, the same every time."""

    name, precision = "noisy", "fp32"
    device = type("Device", (), {"type": "cpu"})

    def predict(self, images_NHWC, masks, flips=True):
        randoms = [np.random.default_rng(int(image.sum())) for image in images_NHWC]
        return np.stack([random.random((64, 64), np.float32) for random in randoms])


def noisy(**changes):
    return Refiner([Network(Noisy(), ModelConfig())] * changes["passes"], RefineSettings(**changes))


@pytest.fixture(scope="module")
def real(three_photos):
    """A photo, and a real detector's masks of it."""
    entry = read_results(three_photos.results).images[0]
    (name,) = (e.image.file_name for e in read_results(three_photos.gt).images if e.image.id == entry.image.id)
    photo = read_image(three_photos.images / name)
    return photo, np.stack([to_frame(decode_mask(i, *photo.shape[:2])) != 0 for i in entry.instances])


@pytest.mark.parametrize("speed", SPEEDS)
def test_the_dial_is_the_commands(speed):
    refiner = Refiner.from_pretrained(speed=speed, device="cpu", engine="torch", precision="fp32")
    models, chosen = bpr_cli.choose_speed(speed)
    assert refiner.settings == chosen
    assert len(refiner.networks) == len(models) == chosen.passes


def test_models_and_single_settings_win_over_the_dial(small_model):
    chosen = Refiner.from_pretrained(small_model, "cpu", "fp32", speed="fast", flips=True, caution=0.2).settings
    assert chosen == bpr_cli.choose_speed("fast", flips=True, caution=0.2)[1]
    assert len(Refiner.from_pretrained([small_model] * 3, "cpu", "fp32").networks) == 3  # more models, more passes
    assert Refiner.from_pretrained(small_model, "cpu", "fp32").settings == RefineSettings()


def test_the_function_follows_the_dial_as_the_command_does(three_photos, small_model, tmp_path):
    given_options = {"images": three_photos.images, "image_info": three_photos.gt, "model": small_model, "quiet": True}
    refine(three_photos.results, tmp_path / "function", **given_options, speed="fast", caution=0.0)
    done = run_bpr(
        "refine", three_photos.results, "-o", tmp_path / "command", "--images", three_photos.images, "--image-info",
        three_photos.gt, "--model", small_model, "--speed", "fast", "--caution", "0", "-q",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "function").read_bytes() == (tmp_path / "command").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"speed": "quick"}, "no speed 'quick'. Choose from fast, balanced, best"),
        ({"flip": False}, "there is no setting flip. Settings are nms_threshold, "),
        ({"settings": RefineSettings(), "speed": "fast"}, "settings, and speed='fast' beside them"),
        ({"settings": RefineSettings(), "caution": 0.1, "passes": 1}, "settings, and caution, passes beside them"),
        ({"scheme": "grid", "nms_threshold": 0.3}, "nms_threshold would not be used beside the grid scheme"),
        ({"scheme": "instance", "blend": "hann"}, "blend would not be used beside the instance scheme"),
    ],
)
def test_arguments_that_contradict_each_other_are_refused_before_any_work(arguments, says, tmp_path):
    with pytest.raises(InputError, match=says):
        Refiner.from_pretrained("no-such-model", **arguments)
    with pytest.raises(InputError, match=says):
        refine("no-such-file.json", tmp_path / "out.json", **arguments)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"speed": "fast"}, "speed would not"),
        ({"device": "cpu", "precision": "fp32", "engine": "torch"}, "device, precision, engine would not"),
        ({"settings": RefineSettings(), "caution": 0.4}, "settings, caution would not"),
    ],
)
def test_a_loaded_refiner_brings_all_that_it_decides(arguments, says, tmp_path):
    with pytest.raises(InputError, match=f"{says} be used beside a loaded refiner. Leave one of them out."):
        refine("no-such-file.json", tmp_path / "out.json", model=noisy(passes=1), **arguments)


@pytest.mark.parametrize("name", ["images", "image_info"])
def test_the_masks_of_one_photo_need_no_other_photos(name, tmp_path):
    with pytest.raises(InputError, match=f"{name} would not be used beside the masks of one photo"):
        refine("photo.jpg", tmp_path / "out", masks="mask.png", **{name: tmp_path})
    option = f"--{name.replace('_', '-')}"
    done = run_bpr("refine", "photo.jpg", "--mask", "mask.png", "-o", "out", option, ".", cwd=tmp_path)
    assert (done.returncode, name in done.stderr) == (2, True)


def test_a_bpr_toml_may_hold_what_a_run_does_without(tmp_path):
    (tmp_path / "bpr.toml").write_text('images = "photos"\n[refine]\nnms-threshold = 0.3\n')
    done = run_bpr("refine", "photo.jpg", "--mask", "mask.png", "--scheme", "grid", "-o", "out", cwd=tmp_path)
    assert done.returncode == 2
    assert "not be used" not in done.stderr
    assert "photo.jpg" in done.stderr
    scored = run_bpr("evaluate", "results.json", "--gt", "gt.json", cwd=tmp_path)
    assert "gt.json" in scored.stderr
    typed = run_bpr("evaluate", "results.json", "--gt", "gt.json", "--images", "photos", cwd=tmp_path)
    assert "--images is for the report. Ask for it with --report." in typed.stderr


def test_the_command_refuses_a_threshold_that_its_scheme_does_without(tmp_path):
    for command in (["refine", "a.json", "-o", "b.json"], ["extract", "--images", ".", "--gt", "gt.json"]):
        done = run_bpr(*command, "--scheme", "grid", "--nms-threshold", "0.3", cwd=tmp_path)
        assert (done.returncode, "nms_threshold would not be used beside the grid scheme" in done.stderr) == (2, True)


def test_settings_of_another_kind_are_named(tmp_path):
    with pytest.raises(InputError, match=r"settings is dict. Give ExtractionSettings\(...\)"):
        extract(tmp_path, tmp_path / "gt.json", settings={})
    with pytest.raises(InputError, match=r"settings is RefineSettings\. Give EvaluationSettings"):
        (tmp_path / "gt.json").write_text(json.dumps({"images": [], "annotations": [], "categories": []}))
        (tmp_path / "results.json").write_text("[]")
        evaluate(tmp_path / "results.json", tmp_path / "gt.json", settings=RefineSettings())
    with pytest.raises(InputError, match=r"recipe is dict\. Give Recipe"):
        train(tmp_path, tmp_path / "run", {"steps": 1})


def test_training_begins_with_the_default_recipe(shard_folder, tmp_path, monkeypatch):
    short = bpr_cli.choose_recipe("default", steps=1, batch_size=2, input_size=64)
    monkeypatch.setitem(bpr_cli.training.recipe.RECIPES, "default", short)
    train(shard_folder, tmp_path / "run", device="cpu", workers=0, quiet=True)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["recipe"]["steps"] == 1


def test_everything_exported_is_there():
    assert all(getattr(bpr_cli, name) is not None for name in bpr_cli.__all__)
    assert bpr_cli.EvaluationSettings is EvaluationSettings
    assert set(bpr_cli.__all__) == set(bpr_cli._HOMES)


@pytest.mark.parametrize("passes", [1, 2])
def test_a_photo_asked_often_gives_what_refine_does(passes):
    refiner = noisy(passes=passes, caution=0.3)
    photo = PHOTO.copy()
    one, other = refiner.for_image(photo), refiner.for_image(PHOTO[::-1])
    photo[:] = 0  # it was copied
    for masks in (MASKS, MASKS[:1], list(MASKS)):
        assert np.array_equal(one.refine(masks), refiner.refine(PHOTO, masks))
        scores = [0.9, 0.3][: len(masks)]
        assert np.array_equal(other.refine(masks, scores), refiner.refine(PHOTO[::-1], masks, scores))
    pair = one.refine(MASKS, return_probabilities=True)
    assert all(map(np.array_equal, pair, refiner.refine(PHOTO, MASKS, return_probabilities=True)))
    with pytest.raises(InputError, match="not uint8"):
        refiner.for_image(PHOTO / 255)
    with pytest.raises(InputError, match="the masks are"):
        one.refine(MASKS[:, 1:])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.integers(0, 99), st.integers(1, 3), st.sampled_from([0.0, 0.1, 0.4, 0.9]), st.sampled_from(["uniform", "hann"]),
    st.sampled_from(["dense", "grid", "instance"]),
)  # fmt: skip
def test_masks_follow_their_probabilities_but_where_caution_kept_a_pixel(seed, passes, caution, blend, scheme):
    photo = np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    refiner = noisy(passes=passes, caution=caution, blend=blend, scheme=scheme)
    plain = refiner.refine(photo, MASKS)
    refined, probabilities = refiner.refine(photo, MASKS, return_probabilities=True)
    assert np.array_equal(refined, plain)
    assert (probabilities.dtype, probabilities.shape) == (np.float32, MASKS.shape)
    assert probabilities.min() >= 0
    assert probabilities.max() <= 1
    margin = np.float32(caution / 2)
    assert refined[probabilities > np.float32(0.5) + margin].all()
    assert not refined[probabilities <= np.float32(0.5) - margin].any()
    if caution == 0:
        assert np.array_equal(probabilities > 0.5, refined)
    kept = (probabilities > 0.5) != refined
    if passes == 1:
        assert np.array_equal(refined[kept], MASKS[kept])


def test_the_probability_is_the_mean_of_what_the_network_answered():
    refiner = noisy(passes=1, caution=0.0, nms_threshold=0.5, blend="uniform")
    (look,) = refiner.first_looks([0], PHOTO, [bpr_cli.masks.crop_mask(MASKS[0], 0, 0, HEIGHT, WIDTH)])
    answers = Noisy().predict(look.images_NHWC, look.masks)
    sums, counts = np.zeros((2, HEIGHT, WIDTH))
    for answer, (x1, y1, x2, y2) in zip(answers, look.boxes.tolist(), strict=True):
        sums[y1:y2, x1:x2] += answer
        counts[y1:y2, x1:x2] += 1
    assert counts.max() > 1
    refined, (probabilities,) = refiner.refine(PHOTO, MASKS[:1], return_probabilities=True)
    assert np.abs(probabilities - sums / np.maximum(counts, 1))[counts > 0].max() < 1e-6
    assert np.array_equal(probabilities[counts == 0], refined[0][counts == 0])


def test_a_mask_returned_as_it_came_has_probabilities_0_and_1():
    flat = np.zeros_like(PHOTO)  # no edge bears a refinement out
    refined, probabilities = noisy(passes=2, caution=0.99).refine(flat, MASKS, return_probabilities=True)
    assert np.array_equal(refined, MASKS)
    assert np.array_equal(probabilities, MASKS)


def test_probabilities_of_the_model_that_ships_are_undecided_along_the_boundary_alone(real):
    photo, masks = real
    refiner = Refiner.from_pretrained(speed="fast", device="cpu", engine="torch", precision="fp32")
    refined, probabilities = refiner.refine(photo, masks, return_probabilities=True)
    assert np.array_equal(refined, refiner.refine(photo, masks))
    assert (refined != masks).any()
    undecided = (probabilities > 0.05) & (probabilities < 0.95)
    assert 0 < undecided.mean() < 0.1
    assert ((probabilities > 0.5) != refined).mean() < 0.01
