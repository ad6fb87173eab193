"""Batches are filled across instances, and each instance gets its own answer back."""

from __future__ import annotations

import weakref
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bpr_cli import patches
from bpr_cli.masks import crop_mask, to_frame
from bpr_cli.network.checkpoint import ModelConfig
from bpr_cli.network.engine import Network
from bpr_cli.refining.jobs import Job, paste, predict_jobs, prepare_job
from bpr_cli.refining.refiner import Refiner
from bpr_cli.refining.settings import RefineSettings

SIZE = 8


def make_job(index: int, count: int) -> Job:
    """A job whose patches are marked with its index and their number."""
    images = np.zeros((count, SIZE, SIZE, 3), np.uint8)
    images[..., 0] = index
    images[..., 1] = np.arange(count).reshape(-1, 1, 1)
    boxes = np.zeros((count, 4), np.int64)
    return Job(
        index,
        np.zeros((SIZE, SIZE, 3), np.uint8),
        crop_mask(np.zeros((SIZE, SIZE)), 0, 0, SIZE, SIZE),
        boxes,
        images,
        images[..., 0],
        None,
    )


@given(counts=st.lists(st.integers(0, 9), max_size=8), batch_size=st.integers(1, 7))
def test_every_batch_but_the_last_is_full_and_answers_find_their_instance(counts, batch_size):
    sizes = []

    def predict(images, masks):
        sizes.append(len(images))
        return images[..., 0] * np.float32(100) + images[..., 1]

    jobs = [make_job(i, count) for i, count in enumerate(counts)]
    answers = list(predict_jobs(iter(jobs), predict, SIZE, batch_size))
    assert [job.index for job, _ in answers] == list(range(len(counts)))
    for job, answer in answers:
        assert np.array_equal(answer, job.images_NHWC[..., 0] * np.float32(100) + job.images_NHWC[..., 1])
    assert all(size == batch_size for size in sizes[:-1])
    assert sum(sizes) == sum(counts)


def test_jobs_without_patches_do_not_pile_up_behind_an_open_batch():
    drawn = []

    def jobs():
        for i in range(200):
            drawn.append(i)
            yield make_job(i, 3 if i == 0 else 0)

    answers = predict_jobs(jobs(), lambda images, masks: images[..., 0].astype(np.float32), SIZE, 16)
    assert next(answers)[0].index == 0
    assert len(drawn) <= 4 * 16
    assert [job.index for job, _ in answers] == list(range(1, 200))


class CountedPhotos:
    """Photos of 1,000 bytes, and how many of them are alive."""

    def __init__(self):
        self.alive = self.most = 0

    def make(self):
        photo = np.zeros((10, 100, 1), np.uint8)
        self.alive += 1
        self.most = max(self.most, self.alive)
        weakref.finalize(photo, self._gone)
        return photo

    def _gone(self):
        self.alive -= 1


@pytest.mark.parametrize("most_bytes", [0, 5_000, 20_000])
def test_photos_that_wait_for_a_batch_are_bounded_by_bytes(most_bytes):
    photos = CountedPhotos()

    def jobs():
        for i in range(200):
            photo = photos.make()
            for _ in range(1 + i % 3):
                yield replace(make_job(i, i % 2), image_HWC=photo)
            del photo

    def predict(images, masks):
        return images[..., 0].astype(np.float32)

    found = [job.index for job, _ in predict_jobs(jobs(), predict, SIZE, 256, most_bytes)]
    assert found == [i for i in range(200) for _ in range(1 + i % 3)]
    # One may exceed the bound, one is being handed over, and one was just drawn.
    assert photos.most <= most_bytes // 1_000 + 3


def test_the_same_photo_counts_once_and_full_batches_stay_full():
    photo, sizes = np.zeros((10, 100, 1), np.uint8), []

    def predict(images, masks):
        sizes.append(len(images))
        return images[..., 0].astype(np.float32)

    jobs = (replace(make_job(i, 3), image_HWC=photo) for i in range(40))
    assert len(list(predict_jobs(jobs, predict, SIZE, 24, most_bytes=4_000))) == 40
    assert sizes == [24] * 5


def test_jobs_are_drawn_only_as_batches_need_them():
    drawn = []

    def jobs():
        for i in range(100):
            drawn.append(i)
            yield make_job(i, 3)

    answers = predict_jobs(jobs(), lambda images, masks: images[..., 0].astype(np.float32), SIZE, 6)
    next(answers)
    assert len(drawn) == 2


@pytest.mark.parametrize(("scheme", "padding"), [("dense", 0), ("dense", 4), ("grid", 0), ("grid", 4), ("instance", 0)])
@pytest.mark.parametrize("blend", ["uniform", "hann"])
def test_a_network_that_agrees_with_the_coarse_mask_changes_nothing(scheme, blend, padding):
    frame = np.zeros((120, 150), np.uint8)
    frame[30:90, 40:130] = 1
    frame[50:60, 70:80] = 0
    settings = RefineSettings(scheme=scheme, blend=blend)
    image = np.zeros((*frame.shape, 3), np.uint8)
    job = prepare_job(0, image, crop_mask(frame, 0, 0, *frame.shape), ModelConfig(padding=padding), settings)
    assert len(job.boxes) > 0
    assert job.images_NHWC.shape[1:3] == (64 + 2 * padding, 64 + 2 * padding)
    answer = job.masks_NHW[:, padding : padding + 64, padding : padding + 64].astype(np.float32)
    result = to_frame(paste(job, answer, settings))
    tolerance = 60 if scheme == "instance" else 0  # the crop is squeezed to 64 px and back
    assert np.count_nonzero(result != frame) <= tolerance


def test_more_caution_changes_less_and_none_is_the_plain_mean():
    frame = np.zeros((200, 200), np.uint8)
    frame[50:150, 50:150] = 1
    job = prepare_job(
        0, np.zeros((*frame.shape, 3), np.uint8), crop_mask(frame, 0, 0, 200, 200), ModelConfig(), RefineSettings()
    )
    answer = np.random.default_rng(0).random((len(job.boxes), 64, 64), np.float32)
    changed = [
        np.count_nonzero(to_frame(paste(job, answer, RefineSettings(caution=caution, blend="uniform"))) != frame)
        for caution in (0.0, 0.2, 0.4, 0.9)
    ]
    assert changed == sorted(changed, reverse=True)
    assert changed[0] == np.count_nonzero(patches.merge_patches(job.boxes, answer, frame) != frame)
    # A cautious refinement of a 100 px object stays within 8 px of its boundary.
    inner = frame.copy()
    inner[58:142, 58:142] = 0
    ring = cv2.dilate(frame, cv2.getStructuringElement(cv2.MORPH_RECT, (17, 17))) - frame + inner
    cautious = to_frame(paste(job, answer, RefineSettings(caution=0.2))) != frame
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
    (job,) = refiner.prepare([7], image_HWC, [crop_mask(frame, 0, 0, *frame.shape)])
    ((last, found),) = refiner.run([job])
    grown = paste(last, found, settings)
    assert grown.box_xyxy == (56, 46, 244, 154)
    assert grown.area > 0.999 * 188 * 108  # patches that end at the boundary miss a few pixels of it
    assert last.index == 7
    assert last.came_in is job.mask
    assert last.patch_count == sum(seen) > len(job.boxes)


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
        job, *_ = refiner.prepare(range(len(masks)), np.zeros((200, 300, 3), np.uint8), masks)
        ((last, found),) = refiner.run([job])
        return paste(last, found, refiner.settings), job, last

    # The photo is even, so the evidence is the distance: one pixel. A caution of 0.4 asks for 0.6 px, one of 0.8 for
    # 1.2 px; 0.4 for more than a pixel where a tenth of the boundary is crowded.
    grown, job, last = refined(caution=0.4, crowded=False)
    assert grown.box_xyxy == (57, 47, 243, 153)
    assert last.patch_count == sum(seen) > len(job.boxes)
    for caution, crowded in ((0.8, False), (0.4, True)):
        mask, job, last = refined(caution, crowded)
        assert mask is job.mask
        assert last.came_in is job.mask
        assert last.patch_count == sum(seen) == len(job.boxes)


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
    jobs = refiner.prepare([0], np.zeros((200, 300, 3), np.uint8), [crop_mask(frame, 0, 0, *frame.shape)])
    ((last, found),) = refiner.run(jobs)
    # A third of a pixel in the mean, which alone would not be enough.
    assert paste(last, found, settings).box_xyxy == (58, 48, 243, 152)


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
    (job,) = refiner.prepare([0], np.zeros((200, 300, 3), np.uint8), [crop_mask(frame, 0, 0, *frame.shape)])
    ((last, found),) = refiner.run([job])
    assert seen == [(2, 64), (3, 40), (1, 64)]
    assert paste(last, found, settings).box_xyxy == (54, 44, 246, 156)


def test_each_pass_needs_a_network():
    with pytest.raises(ValueError, match="1 networks for 2 passes"):
        Refiner([Network(None, ModelConfig())], RefineSettings(passes=2))
