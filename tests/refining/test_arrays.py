"""`Refiner.refine` takes what people hold in memory, or says what is wrong with it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from bpr_cli.errors import InputError
from bpr_cli.refining.arrays import checked_image, checked_masks, checked_scores
from bpr_cli.refining.refiner import Refiner
from bpr_cli.refining.settings import RefineSettings

HEIGHT, WIDTH = 90, 110
PHOTO = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
MASKS = np.zeros((2, HEIGHT, WIDTH), bool)
MASKS[0, 20:60, 30:70] = True
MASKS[1, 30:80, 60:100] = True


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


@pytest.fixture(scope="module")
def refiner(small_model):
    return Refiner.from_pretrained(small_model, "cpu", "fp32", RefineSettings(caution=0.0, passes=1), "torch")


@pytest.fixture(scope="module")
def expected(refiner):
    refined = refiner.refine(PHOTO, MASKS)
    assert (refined != MASKS).any()
    return refined


FORMS = {
    "tensors": (torch.from_numpy(PHOTO), torch.from_numpy(MASKS)),
    "a Pillow image and a list of masks": (Image.fromarray(PHOTO), list(MASKS)),
    "a tuple of tensors": (PHOTO, tuple(torch.from_numpy(MASKS))),
    "lists of lists": (PHOTO.tolist(), MASKS.tolist()),
    "0 and 255": (PHOTO, MASKS.astype(np.uint8) * 255),
    "int64": (PHOTO, MASKS.astype(np.int64)),
    "big endian": (PHOTO, MASKS.astype(">u2") * 300),
    "-1 for object": (PHOTO, -MASKS.astype(np.int8)),
    "read-only": (read_only(PHOTO), read_only(MASKS)),
    "column order": (np.asfortranarray(PHOTO), np.asfortranarray(MASKS)),
    "negative strides": (PHOTO[::-1].copy()[::-1], MASKS[:, ::-1].copy()[:, ::-1]),
    "BGR turned": (PHOTO[..., ::-1].copy()[..., ::-1], MASKS),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_photo_and_masks_gives_the_same_result(refiner, expected, form):
    photo, masks = FORMS[form]
    if form == "lists of lists":
        photo = np.array(photo, np.uint8)
    refined = refiner.refine(photo, masks)
    assert np.array_equal(refined != 0, expected)
    assert set(np.unique(refined).tolist()) <= {0, 1}


@pytest.mark.parametrize("masks", [np.zeros((0, HEIGHT, WIDTH), np.uint8), [], torch.zeros((0, HEIGHT, WIDTH)).bool()])
def test_no_mask_gives_no_mask(refiner, masks):
    assert refiner.refine(PHOTO, masks).shape == (0, HEIGHT, WIDTH)


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (PHOTO.astype(np.float32) / 255, "float32"),
        (torch.from_numpy(PHOTO).permute(2, 0, 1), r"\(3, 90, 110\).*permute"),
        (PHOTO[..., 0], r"\(90, 110\)"),
        (np.zeros((0, 5, 3), np.uint8), "no pixel"),
        (None, "object"),
        ("photo.jpg", "<U9"),
        ([[1, 2], [3]], "cannot be read as an array"),
    ],
)
def test_an_image_that_does_not_fit_is_refused(image, says):
    with pytest.raises(InputError, match=says):
        checked_image(image)


@pytest.mark.parametrize(
    ("masks", "says"),
    [
        (MASKS[0], r"the masks are \(90, 110\)"),
        (MASKS[:, None], r"\(2, 1, 90, 110\)"),
        (MASKS[:, :-1], "the image is"),
        (MASKS.astype(np.float32), "float32.*Threshold"),
        (torch.from_numpy(MASKS).to(torch.bfloat16), "cannot be read"),
        (MASKS.astype(object), "object"),
        ([MASKS[0], MASKS[1, :50]], "cannot be read"),
        (MASKS.astype(np.uint8) + MASKS[::-1].astype(np.uint8), "mask 0 has the values 0, 1, 2"),
        (np.arange(HEIGHT * WIDTH).reshape(1, HEIGHT, WIDTH), r"mask 0 has the values 0, 1, 2, 3, 4, \.\.\."),
        (None, r"\(\)"),
        ("mask.png", "the masks are"),
        ({}, "the masks are"),
    ],
)
def test_masks_that_do_not_fit_are_refused(masks, says):
    with pytest.raises(InputError, match=says):
        checked_masks(masks, HEIGHT, WIDTH)


@pytest.mark.parametrize("scores", [[0.5], [0.5, float("nan")], ["a", "b"], [0.5, None], np.ones((2, 1)), 0.5])
def test_scores_must_be_a_finite_number_a_mask(scores):
    with pytest.raises(InputError, match="scores"):
        checked_scores(scores, 2)
    assert checked_scores(torch.tensor([0.5, 0.25]), 2) == [0.5, 0.25]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"nms_threshold": "0.4"}, "NMS threshold is '0.4'"),
        ({"nms_threshold": float("nan")}, "NMS threshold nan"),
        ({"nms_threshold": True}, "NMS threshold is True"),
        ({"caution": None}, "caution is None"),
        ({"caution": float("nan")}, "caution nan"),
        ({"passes": 2.0}, "passes is 2.0"),
        ({"passes": True}, "passes is True"),
        ({"passes": "2"}, "passes is '2'"),
        ({"batch_size": 8.5}, "batch size is 8.5"),
        ({"batch_size": "8"}, "batch size is '8'"),
        ({"flips": "no"}, "flips is 'no'"),
        ({"flips": 1}, "flips is 1"),
        ({"scheme": None}, "no scheme None"),
        ({"blend": ["hann"]}, "no blending"),
    ],
)
def test_settings_of_a_wrong_type_are_refused(changes, says):
    with pytest.raises(InputError, match=says):
        RefineSettings(**changes)


def test_settings_may_be_numpy_numbers():
    settings = RefineSettings(nms_threshold=np.float32(0.25), passes=np.int64(1), flips=np.bool_(False))
    assert settings.passes == 1


def test_settings_of_another_kind_are_refused(small_model):
    with pytest.raises(InputError, match="settings is dict"):
        Refiner.from_pretrained(small_model, settings={"passes": 1})
