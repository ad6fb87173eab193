"""Batches are filled across instances, and each instance gets its own answer back."""

from __future__ import annotations

import numpy as np
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


def test_looks_are_drawn_only_as_batches_need_them():
    drawn = []

    def looks():
        for i in range(100):
            drawn.append(i)
            yield make_look(i, 3)

    items = predict_looks(looks(), lambda images, masks: images[..., 0].astype(np.float32), SIZE, 6)
    next(items)
    assert len(drawn) == 2
