"""Crowding is the share of a boundary that has another object beside it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpr_cli.masks import Mask, crop_mask
from bpr_cli.refining.crowding import crowding

HEIGHT, WIDTH = 240, 320


def rectangle(x1: int, y1: int, x2: int, y2: int) -> Mask:
    frame = np.zeros((HEIGHT, WIDTH), np.uint8)
    frame[y1:y2, x1:x2] = 1
    return crop_mask(frame, 0, 0, HEIGHT, WIDTH)


def test_alone_nothing_is_crowded():
    assert crowding([]) == []
    assert crowding([rectangle(10, 10, 90, 90)]) == [0.0]
    assert crowding([rectangle(10, 10, 90, 90), rectangle(200, 100, 300, 200)]) == [0.0, 0.0]


def test_a_neighbour_on_one_side_crowds_that_side():
    left, right = rectangle(40, 40, 120, 120), rectangle(120, 40, 200, 120)
    shares = crowding([left, right])
    assert shares == pytest.approx([0.25, 0.25], abs=0.15)
    assert shares[0] == shares[1]


def test_a_ring_around_an_object_crowds_all_of_it():
    frame = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.rectangle(frame, (60, 60), (180, 180), 1, thickness=14)
    ring = crop_mask(frame, 0, 0, HEIGHT, WIDTH)
    assert crowding([rectangle(72, 72, 168, 168), ring])[0] == 1.0


def test_a_second_try_at_the_same_object_or_a_part_of_it_is_no_neighbour():
    whole, again, part = rectangle(40, 40, 160, 160), rectangle(44, 36, 164, 150), rectangle(100, 100, 160, 160)
    assert crowding([whole, again, part]) == [0.0, 0.0, 0.0]


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
