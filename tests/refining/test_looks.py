"""An instance's way: looks are cut from its mask, answers merged, and the photo decides whether they count."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from bpr_cli import patches
from bpr_cli.engines.engine import Network
from bpr_cli.masks import crop_mask, to_frame
from bpr_cli.network.config import ModelConfig
from bpr_cli.refining.looks import Look, Refined, Subject, first_look, next_look
from bpr_cli.refining.refiner import Refiner
from bpr_cli.refining.settings import RefineSettings


def look_at(image_HWC, frame, config, settings) -> Look:
    look = first_look(Subject(0, image_HWC, crop_mask(frame, 0, 0, *frame.shape)), [config], settings)
    assert isinstance(look, Look)
    return look


def refine(look, answer, settings):
    """The frame after a single pass."""
    refined = next_look(look, answer, [ModelConfig()], settings)
    assert isinstance(refined, Refined)
    return to_frame(refined.mask)


@pytest.mark.parametrize(("scheme", "padding"), [("dense", 0), ("dense", 4), ("grid", 0), ("grid", 4), ("instance", 0)])
@pytest.mark.parametrize("blend", ["uniform", "hann"])
def test_a_network_that_agrees_with_the_coarse_mask_changes_nothing(scheme, blend, padding):
    frame = np.zeros((120, 150), np.uint8)
    frame[30:90, 40:130] = 1
    frame[50:60, 70:80] = 0
    settings = RefineSettings(scheme=scheme, blend=blend)
    image = np.zeros((*frame.shape, 3), np.uint8)
    look = look_at(image, frame, ModelConfig(padding=padding), settings)
    assert len(look.boxes) > 0
    assert look.images_NHWC.shape[1:3] == (64 + 2 * padding, 64 + 2 * padding)
    answer = look.masks[:, padding : padding + 64, padding : padding + 64].astype(np.float32)
    result = refine(look, answer, settings)
    tolerance = 60 if scheme == "instance" else 0  # the crop is squeezed to 64 px and back
    assert np.count_nonzero(result != frame) <= tolerance


def test_more_caution_changes_less_and_none_is_the_plain_mean():
    frame = np.zeros((200, 200), np.uint8)
    frame[50:150, 50:150] = 1
    look = look_at(np.zeros((*frame.shape, 3), np.uint8), frame, ModelConfig(), RefineSettings())
    answer = np.random.default_rng(0).random((len(look.boxes), 64, 64), np.float32)
    changed = [
        np.count_nonzero(refine(look, answer, RefineSettings(caution=caution, blend="uniform")) != frame)
        for caution in (0.0, 0.2, 0.4, 0.9)
    ]
    assert changed == sorted(changed, reverse=True)
    assert changed[0] == np.count_nonzero(
        patches.merge_patches(patches.Window(frame, 0, 0), look.boxes, answer).pixels_HW != frame
    )
    # A cautious refinement of a 100 px object stays within 8 px of its boundary.
    inner = frame.copy()
    inner[58:142, 58:142] = 0
    ring = cv2.dilate(frame, cv2.getStructuringElement(cv2.MORPH_RECT, (17, 17))) - frame + inner
    cautious = refine(look, answer, RefineSettings(caution=0.2)) != frame
    assert not (cautious & (ring == 0)).any()


def test_a_second_pass_starts_from_what_the_first_one_made():
    frame = np.zeros((200, 300), np.uint8)
    frame[50:150, 60:240] = 1
    settings = RefineSettings(caution=0.0, passes=2)
    image_HWC = np.zeros((200, 300, 3), np.uint8)
    seen = []

    class Growing:
        """Each pass moves the boundary by two pixels."""

        device = torch.device("cpu")

        def predict(self, images_NHWC, masks_NHW, flips=False):
            seen.append(len(masks_NHW))
            return np.array([cv2.dilate(mask, np.ones((5, 5), np.uint8)) for mask in masks_NHW], np.float32)

    refiner = Refiner([Network(Growing(), ModelConfig())] * 2, settings)
    (look,) = refiner.first_looks([7], image_HWC, [crop_mask(frame, 0, 0, *frame.shape)])
    (refined,) = refiner.run([look])
    grown = refined.mask
    assert grown.box_xyxy == (56, 46, 244, 154)
    assert grown.area > 0.999 * 188 * 108  # patches that end at the boundary miss a few pixels of it
    assert refined.index == 7
    assert refined.coarse is look.mask
    assert refined.patch_count == sum(seen) > len(look.boxes)


def test_a_refinement_refused_after_the_first_pass_is_not_looked_at_again():
    frame = np.zeros((200, 300), np.uint8)
    frame[50:150, 60:240] = 1
    seen = []

    class Shifting:
        """Moves the boundary by one pixel."""

        device = torch.device("cpu")

        def predict(self, images_NHWC, masks_NHW, flips=False):
            seen.append(len(masks_NHW))
            return np.array([cv2.dilate(mask, np.ones((3, 3), np.uint8)) for mask in masks_NHW], np.float32)

    def refined(caution, crowded):
        seen.clear()
        refiner = Refiner([Network(Shifting(), ModelConfig())] * 3, RefineSettings(caution=caution, passes=3))
        masks = [crop_mask(frame, 0, 0, *frame.shape)]
        if crowded:
            beside = np.zeros_like(frame)
            beside[30:170, 241:299] = 1
            masks.append(crop_mask(beside, 0, 0, *frame.shape))
        look, *_ = refiner.first_looks(range(len(masks)), np.zeros((200, 300, 3), np.uint8), masks)
        (after,) = refiner.run([look])
        return look, after

    # The photo is even, so the evidence is the distance: one pixel. A caution of 0.4 asks for 0.6 px, one of 0.8 for
    # 1.2 px; 0.4 for more than a pixel where a tenth of the boundary is crowded.
    look, after = refined(caution=0.4, crowded=False)
    assert after.mask.box_xyxy == (57, 47, 243, 153)
    assert after.patch_count == sum(seen) > len(look.boxes)
    for caution, crowded in ((0.8, False), (0.4, True)):
        look, after = refined(caution, crowded)
        assert after.mask is look.mask
        assert after.coarse is look.mask
        assert after.patch_count == sum(seen) == len(look.boxes)


def test_what_the_first_pass_earned_later_passes_may_build_on():
    frame = np.zeros((200, 300), np.uint8)
    frame[50:150, 60:240] = 1

    class Settling:
        """Moves the boundary by two pixels, then the right end of it by one."""

        device = torch.device("cpu")
        passes = 0

        def predict(self, images_NHWC, masks_NHW, flips=False):
            self.passes += 1
            kernel = np.ones((5, 5), np.uint8) if self.passes == 1 else np.array([[1, 1, 0]], np.uint8)
            return np.array([cv2.dilate(mask, kernel) for mask in masks_NHW], np.float32)

    settings = RefineSettings(caution=0.4, passes=2, batch_size=256)
    refiner = Refiner([Network(Settling(), ModelConfig())] * 2, settings)
    looks = refiner.first_looks([0], np.zeros((200, 300, 3), np.uint8), [crop_mask(frame, 0, 0, *frame.shape)])
    (refined,) = refiner.run(looks)
    # A third of a pixel in the mean, which alone would not be enough.
    assert refined.mask.box_xyxy == (58, 48, 243, 152)


def test_each_pass_has_its_own_network_and_patches_of_its_size():
    frame = np.zeros((200, 300), np.uint8)
    frame[50:150, 60:240] = 1
    seen = []

    class Growing:
        """Moves the boundary out, and tells what it was shown."""

        device = torch.device("cpu")

        def __init__(self, pixels, padding):
            self.pixels, self.padding = pixels, padding

        def predict(self, images_NHWC, masks_NHW, flips=False):
            seen.append((self.pixels, masks_NHW.shape[-1]))
            kernel = np.ones((2 * self.pixels + 1,) * 2, np.uint8)
            grown = np.array([cv2.dilate(mask, kernel) for mask in masks_NHW], np.float32)
            inner = slice(self.padding, grown.shape[-1] - self.padding)
            return grown[:, inner, inner]

    def network(pixels, patch_size, padding=0):
        return Network(Growing(pixels, padding), ModelConfig(patch_size=patch_size, padding=padding))

    settings = RefineSettings(passes=3, batch_size=256)
    refiner = Refiner([network(2, 64), network(3, 32, padding=4), network(1, 64)], settings)
    (look,) = refiner.first_looks([0], np.zeros((200, 300, 3), np.uint8), [crop_mask(frame, 0, 0, *frame.shape)])
    (refined,) = refiner.run([look])
    assert seen == [(2, 64), (3, 40), (1, 64)]
    assert refined.mask.box_xyxy == (54, 44, 246, 156)


def test_each_pass_needs_a_network():
    with pytest.raises(ValueError, match="1 networks for 2 passes"):
        Refiner([Network(None, ModelConfig())], RefineSettings(passes=2))
