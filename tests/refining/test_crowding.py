"""Crowding is the share of a boundary that has another object beside it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpr_cli.masks import Mask, crop_mask
from bpr_cli.refining.crowding import crowding

HEIGHT, WIDTH = 237, 318  # no whole number of cells


def rectangle(x1: int, y1: int, x2: int, y2: int) -> Mask:
    frame = np.zeros((HEIGHT, WIDTH), np.uint8)
    frame[y1:y2, x1:x2] = 1
    return crop_mask(frame, 0, 0, HEIGHT, WIDTH)


def test_alone_nothing_is_crowded():
    assert crowding([]) == []
    assert crowding([rectangle(10, 10, 90, 90)]) == [0.0]
    assert crowding([rectangle(10, 10, 90, 90), rectangle(200, 100, 300, 200)]) == [0.0, 0.0]


def test_a_neighbour_on_one_side_crowds_that_side():
    # 10 x 10 cells have 36 on the boundary; beside the other are the last column and, 16 px in, the ends of the rows.
    shares = crowding([rectangle(40, 40, 120, 120), rectangle(120, 40, 200, 120)])
    assert shares == pytest.approx([12 / 36, 12 / 36])


@pytest.mark.parametrize(("gap", "is_near"), [(0, True), (8, True), (24, False), (60, False)])
def test_beside_means_within_sixteen_pixels(gap, is_near):
    first, second = crowding([rectangle(40, 40, 120, 120), rectangle(120 + gap, 40, 200 + gap, 120)])
    assert (first > 0) == (second > 0) == is_near


def test_a_ring_around_an_object_crowds_all_of_it():
    frame = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.rectangle(frame, (60, 60), (180, 180), 1, thickness=14)
    ring = crop_mask(frame, 0, 0, HEIGHT, WIDTH)
    assert crowding([rectangle(72, 72, 168, 168), ring])[0] == 1.0


def test_a_second_try_at_the_same_object_or_a_part_of_it_is_no_neighbour():
    whole, again, part = rectangle(40, 40, 160, 160), rectangle(44, 36, 164, 150), rectangle(100, 100, 160, 160)
    assert crowding([whole, again, part]) == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(("shared", "is_neighbour"), [(0.3, True), (0.49, True), (0.51, False), (0.9, False)])
def test_what_shares_half_of_the_smaller_is_the_same_object(shared, is_neighbour):
    left = 140 - round(100 * shared)
    shares = crowding([rectangle(40, 40, 140, 140), rectangle(left, 40, left + 100, 140)])
    assert [share > 0 for share in shares] == [is_neighbour] * 2


@given(st.integers(20, 40), st.integers(20, 40), st.integers(4, 16))
def test_small_objects_side_by_side_are_neighbours_wherever_they_lie(x, y, side):
    assert crowding([rectangle(x, y, x + side, y + side), rectangle(x + side, y, x + 2 * side, y + side)]) == [1.0, 1.0]


def test_the_images_border_is_no_boundary():
    # Of the left mask's four sides three lie on the border; the fourth is all beside the other.
    assert crowding([rectangle(0, 0, 160, HEIGHT), rectangle(160, 0, WIDTH, HEIGHT)]) == [1.0, 1.0]


def test_empty_masks_and_masks_of_the_whole_image_have_no_boundary():
    empty, full = rectangle(0, 0, 0, 0), rectangle(0, 0, WIDTH, HEIGHT)
    assert crowding([empty, full, rectangle(50, 50, 90, 90)]) == [0.0, 0.0, 0.0]


boxes = st.tuples(st.integers(0, 300), st.integers(0, 220), st.integers(1, 200), st.integers(1, 200))


@given(st.lists(boxes, min_size=1, max_size=6), st.randoms())
def test_it_is_a_share_and_knows_no_order(places, random):
    masks = [rectangle(x, y, x + width, y + height) for x, y, width, height in places]
    shares = crowding(masks)
    assert all(0.0 <= share <= 1.0 for share in shares)
    order = list(range(len(masks)))
    random.shuffle(order)
    assert crowding([masks[i] for i in order]) == [shares[i] for i in order]


@pytest.mark.parametrize(("neighbours", "expected"), [(0.9, 1.0), (0.45, 0.5), (0.0009, 0.001), (0.95, 1.0)])
def test_a_neighbour_counts_by_its_score_beside_the_masks_own(neighbours, expected):
    masks = [rectangle(20, 20, 28, 28), rectangle(28, 20, 36, 28)]
    assert crowding(masks, [0.9, neighbours])[0] == pytest.approx(expected, abs=1e-6)


def test_each_stretch_counts_by_the_likeliest_object_beside_it():
    masks = [rectangle(20, 20, 28, 28), rectangle(28, 20, 36, 28), rectangle(20, 28, 28, 36)]
    assert crowding(masks, [0.8, 0.2, 0.4])[0] == pytest.approx(0.5)


def test_without_scores_each_mask_is_certain():
    masks = [rectangle(40, 40, 120, 120), rectangle(120, 40, 200, 120)]
    assert crowding(masks) == crowding(masks, [None, None]) == crowding(masks, [0.7, 0.7])


@given(st.lists(boxes, min_size=2, max_size=6), st.lists(boxes, min_size=1, max_size=12))
def test_a_tail_of_junk_crowds_by_no_more_than_its_score(places, junk):
    masks, tail = (
        [rectangle(x, y, x + width, y + height) for x, y, width, height in group] for group in (places, junk)
    )
    before = crowding(masks, [0.5] * len(masks))
    after = crowding(masks + tail, [0.5] * len(masks) + [0.001] * len(tail))[: len(masks)]
    assert np.all(np.array(after) >= np.array(before) - 1e-9)
    assert np.all(np.array(after) <= np.array(before) + 0.002 + 1e-6)
