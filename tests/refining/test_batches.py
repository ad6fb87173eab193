"""Batches are filled across instances, and each instance gets its own answer back."""

from __future__ import annotations

import weakref
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpr_cli.masks import crop_mask
from bpr_cli.patches import Window
from bpr_cli.refining.batches import Answer, predict_looks
from bpr_cli.refining.looks import Look, Refined, Subject

SIZE = 8
EMPTY = crop_mask(np.zeros((SIZE, SIZE)), 0, 0, SIZE, SIZE)


def make_look(index: int, count: int) -> Look | Refined:
    """A look whose patches are marked with its index and their number; one that is done without patches."""
    if count == 0:
        return Refined(index, EMPTY, EMPTY, 0)
    images = np.zeros((count, SIZE, SIZE, 3), np.uint8)
    images[..., 0] = index
    images[..., 1] = np.arange(count).reshape(-1, 1, 1)
    subject = Subject(index, np.zeros((SIZE, SIZE, 3), np.uint8), EMPTY)
    window = Window(np.zeros((SIZE, SIZE), np.uint8), 0, 0)
    return Look(subject, 0, EMPTY, window, np.zeros((count, 4), np.int64), images, images[..., 0], count)


def index_of(item: Answer | Refined) -> int:
    return item.index if isinstance(item, Refined) else item.look.subject.index


@given(counts=st.lists(st.integers(0, 9), max_size=8), batch_size=st.integers(1, 7))
def test_every_batch_but_the_last_is_full_and_answers_find_their_instance(counts, batch_size):
    sizes = []

    def predict(images, masks):
        sizes.append(len(images))
        return images[..., 0] * np.float32(100) + images[..., 1]

    looks = [make_look(i, count) for i, count in enumerate(counts)]
    items = list(predict_looks(iter(looks), predict, SIZE, batch_size))
    assert [index_of(item) for item in items] == list(range(len(counts)))
    for item in items:
        if isinstance(item, Answer):
            images = item.look.images_NHWC
            assert np.array_equal(item.probabilities_NPP, images[..., 0] * np.float32(100) + images[..., 1])
    assert all(size == batch_size for size in sizes[:-1])
    assert sum(sizes) == sum(counts)


def test_subjects_that_are_done_do_not_pile_up_behind_an_open_batch():
    drawn = []

    def looks():
        for i in range(200):
            drawn.append(i)
            yield make_look(i, 3 if i == 0 else 0)

    items = predict_looks(looks(), lambda images, masks: images[..., 0].astype(np.float32), SIZE, 16)
    assert index_of(next(items)) == 0
    assert len(drawn) <= 4 * 16
    assert [index_of(item) for item in items] == list(range(1, 200))


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


def look_at(photo, index: int, count: int) -> Look:
    look = make_look(index, count)
    return replace(look, subject=replace(look.subject, image_HWC=photo))


@pytest.mark.parametrize("most_bytes", [0, 5_000, 20_000])
def test_photos_that_wait_for_a_batch_are_bounded_by_bytes(most_bytes):
    photos = CountedPhotos()

    def looks():
        for i in range(200):
            photo = photos.make()
            for _ in range(1 + i % 3):
                yield look_at(photo, i, 1)
            del photo

    def predict(images, masks):
        return images[..., 0].astype(np.float32)

    found = [index_of(item) for item in predict_looks(looks(), predict, SIZE, 1024, most_bytes)]
    assert found == [i for i in range(200) for _ in range(1 + i % 3)]
    # One may exceed the bound, one is being handed over, and one was just drawn.
    assert photos.most <= most_bytes // 1_000 + 3


def test_the_same_photo_counts_once_and_full_batches_stay_full():
    photo, sizes = np.zeros((10, 100, 1), np.uint8), []

    def predict(images, masks):
        sizes.append(len(images))
        return images[..., 0].astype(np.float32)

    looks = (look_at(photo, i, 3) for i in range(40))
    assert len(list(predict_looks(looks, predict, SIZE, 24, most_bytes=4_000))) == 40
    assert sizes == [24] * 5


def test_looks_are_drawn_only_as_batches_need_them():
    drawn = []

    def looks():
        for i in range(100):
            drawn.append(i)
            yield make_look(i, 3)

    items = predict_looks(looks(), lambda images, masks: images[..., 0].astype(np.float32), SIZE, 6)
    next(items)
    assert len(drawn) == 2
