"""A look at the whole object: when it is taken, when its mask is kept, and what comes after it."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpr_cli import patches
from bpr_cli.errors import InputError
from bpr_cli.exporting.export import export_int8
from bpr_cli.masks import Mask, crop_mask
from bpr_cli.network.config import GATE_FEATURES, ModelConfig
from bpr_cli.refining.gate import change_features
from bpr_cli.refining.looks import Look, Refined, Subject, first_look, next_look
from bpr_cli.refining.refiner import Refiner
from bpr_cli.refining.settings import RefineSettings
from bpr_cli.training.recipe import choose_recipe

OBJECT = ModelConfig("unet-lite0", 128, 128, 0, "object")
PATCHES = ModelConfig()
SETTINGS = RefineSettings(passes=2)
HEIGHT, WIDTH = 300, 400


def square(side: int, at: int = 40) -> Mask:
    frame = np.zeros((HEIGHT, WIDTH), np.uint8)
    frame[at : at + side, at : at + side] = 1
    return crop_mask(frame, 0, 0, HEIGHT, WIDTH)


def look_at(mask: Mask, crowding: float, configs=(OBJECT, PATCHES)) -> Look:
    look = first_look(Subject(0, np.zeros((HEIGHT, WIDTH, 3), np.uint8), mask, crowding), configs, SETTINGS)
    assert isinstance(look, Look)
    return look


def gate(intercept: float) -> ModelConfig:
    return replace(OBJECT, gate=(intercept, *[0.0] * len(GATE_FEATURES)))


@pytest.mark.parametrize(("side", "crowding", "number"), [(40, 0.0, 0), (200, 0.0, 1), (200, 0.5, 0)])
def test_only_large_objects_by_themselves_start_with_patches(side, crowding, number):
    look = look_at(square(side), crowding)
    assert look.number == number
    assert look.masks.ndim == (4 if number == 0 else 3)


def test_the_answer_is_put_where_the_box_lies():
    look = look_at(square(40), 0.0)
    ((x1, y1, x2, y2),) = look.boxes.tolist()
    answer = np.zeros((1, 128, 128), np.float32)
    answer[:, :, 64:] = 1  # the right half of the box
    refined = next_look(look, answer, (OBJECT, PATCHES), SETTINGS)
    assert isinstance(refined, Refined)  # seen in full: no patches after it
    assert refined.mask.box_xyxy == ((x1 + x2) // 2, max(y1, 0), x2, y2)


def test_changes_that_are_not_likely_right_are_not_made_and_patches_follow():
    mask = square(200)
    answer = np.zeros((1, 128, 128), np.float32)
    answer[:, 40:80, 40:80] = 1
    for intercept, kept in ((-3.0, False), (3.0, True)):
        configs = (gate(intercept), PATCHES)
        following = next_look(look_at(mask, 0.5, configs), answer, configs, SETTINGS)
        assert isinstance(following, Look)
        assert following.number == 1
        assert (following.mask.area != mask.area) == kept


def test_pixels_change_where_that_is_likely_right_and_stay_as_they_were_elsewhere():
    """A gate that trusts changes near the boundary: of a strip beside the square only the near part is taken."""
    mask = square(40)
    look = look_at(mask, 0.0)
    ((x1, y1, x2, y2),) = look.boxes.tolist()
    answer = patches.resize_patches((look.masks[..., 0] > 127).astype(np.float32), y2 - y1, x2 - x1, cv2.INTER_LINEAR)
    answer[0, :, 80 - x1 : 92 - x1] = np.maximum(answer[0, :, 80 - x1 : 92 - x1], 0.9)  # 12 px to the right of it
    answer = patches.resize_patches(answer, 128, 128, cv2.INTER_LINEAR)
    near = replace(OBJECT, gate=(10.0, 0.0, -10.0 / 0.15, 0.0, 0.0))  # at .15 of 40 px, 6 px, it is undecided
    refined = next_look(look, answer, (near, PATCHES), SETTINGS)
    assert isinstance(refined, Refined)
    assert refined.mask.area > mask.area
    assert 84 <= refined.mask.box_xyxy[2] <= 87
    bold = next_look(look, answer, (near, PATCHES), replace(SETTINGS, caution=0.0))
    assert isinstance(bold, Refined)
    assert 91 <= bold.mask.box_xyxy[2] <= 93


@given(st.integers(0, 2**32 - 1))
def test_features_of_changes_are_what_they_say(seed):
    rng = np.random.default_rng(seed)
    coarse_HW = (cv2.blur(rng.random((20, 24)), (5, 5)) > 0.5).astype(np.uint8)
    coarse_HW[0, 0], coarse_HW[-1, -1] = 0, 1
    levels_HW, p_HW = rng.integers(0, 256, (20, 24), np.uint8), rng.random((20, 24), np.float32)
    changed_HW, features = change_features(coarse_HW, levels_HW, p_HW)
    assert np.array_equal(changed_HW, (p_HW > 0.5) != (coarse_HW > 0))
    places = np.argwhere(changed_HW)
    for (y, x), (sureness, distance, lost, neighbour) in zip(places.tolist(), features.tolist(), strict=True):
        p = min(max(float(p_HW[y, x]), 0.002), 0.998)
        other = np.argwhere(coarse_HW != coarse_HW[y, x])
        nearest = np.hypot(*(other - (y, x)).T).min()
        assert sureness == pytest.approx(abs(np.log(p / (1 - p))))
        assert distance * coarse_HW.sum() ** 0.5 == pytest.approx(nearest, rel=0.03)  # OpenCV's is to 2 %
        assert (lost, neighbour) == (coarse_HW[y, x], pytest.approx(levels_HW[y, x] / 255))


def test_an_object_never_vanishes():
    mask = square(40)
    refined = next_look(look_at(mask, 0.0), np.zeros((1, 128, 128), np.float32), (OBJECT, PATCHES), SETTINGS)
    assert isinstance(refined, Refined)
    assert refined.mask is mask


def test_the_shipped_model_looks_first_or_not_at_all():
    with pytest.raises(InputError, match="in the first pass alone"):
        Refiner.from_pretrained("crowds-lite0")
    with pytest.raises(InputError, match="in the first pass alone"):
        Refiner.from_pretrained(["davis-fast", "crowds-lite0"])


def test_the_shipped_model_refines_with_patches_after_it():
    refiner = Refiner.from_pretrained(["crowds-lite0", "davis-fast"])
    frame = np.zeros((1, HEIGHT, WIDTH), np.uint8)
    frame[0, 40:240, 60:150] = 1
    photo = np.full((HEIGHT, WIDTH, 3), 60, np.uint8)
    photo[50:230, 70:140] = (200, 120, 40)  # the object is smaller than its mask
    others = np.zeros_like(frame)
    others[0, 60:240, 150:240] = 1  # so it stands beside another one
    refined, _ = refiner.refine(photo, np.concatenate((frame, others)))
    truth = np.zeros((HEIGHT, WIDTH), bool)
    truth[50:230, 70:140] = True

    def iou(mask):
        return (truth & (mask > 0)).sum() / (truth | (mask > 0)).sum()

    assert iou(refined) > iou(frame[0]) + 0.05


def test_what_cannot_train_or_round_it_says_so(tmp_path):
    with pytest.raises(InputError, match="cannot go on with a unet-lite0"):
        choose_recipe("default", start=OBJECT)
    with pytest.raises(InputError, match="shards hold no neighbours"):
        export_int8("crowds-lite0", tmp_path / "int8.xml", tmp_path)


def test_probabilities_are_those_of_the_pass_that_decided():
    """Patches that the photo does not bear out leave the object's mask, and its probabilities."""
    mask = square(200)
    configs, caution = (gate(3.0), PATCHES), RefineSettings(passes=2)
    subject = Subject(0, np.zeros((HEIGHT, WIDTH, 3), np.uint8), mask, 0.5, with_probabilities=True)
    look = first_look(subject, configs, caution)
    answer = np.full((1, 128, 128), 0.1, np.float32)
    answer[:, 40:80, 40:80] = 0.8
    following = next_look(look, answer, configs, caution)
    assert isinstance(following, Look)
    found = following.probabilities
    frame = np.zeros((HEIGHT, WIDTH), np.float32)
    height, width = found.values_HW.shape
    frame[found.y1 : found.y1 + height, found.x1 : found.x1 + width] = found.values_HW
    assert np.array_equal(crop_mask(frame > 0.5, 0, 0, HEIGHT, WIDTH).pixels_HW, following.mask.pixels_HW)
    refined = next_look(following, following.masks.astype(np.float32), configs, caution)  # nothing moves: no evidence
    assert isinstance(refined, Refined)
    assert refined.mask is following.mask
    assert refined.probabilities is found
    plain = next_look(look_at(mask, 0.5, configs), answer, configs, caution)
    assert plain.probabilities is None
    assert np.array_equal(plain.mask.pixels_HW, following.mask.pixels_HW)
