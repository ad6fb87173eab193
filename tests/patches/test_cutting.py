"""Crops are what padding the whole image with its edge and slicing gives."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bpr_cli import patches
from bpr_cli.masks import crop_mask

FAR = 60
shapes = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=20)
corners = st.lists(st.tuples(st.integers(-30, 30), st.integers(-30, 30)), max_size=5)


def boxes_at(corners, width, height):
    return np.array([(x, y, x + width, y + height) for x, y in corners], np.int64).reshape(-1, 4)


def pad_and_slice(image, boxes, padding):
    padded = np.pad(image, [(FAR, FAR), (FAR, FAR), (0, 0)][: image.ndim], mode="edge")
    grown = boxes + np.array([FAR - padding, FAR - padding, FAR + padding, FAR + padding])
    return [padded[y1:y2, x1:x2].tolist() for x1, y1, x2, y2 in grown.tolist()]


@given(shapes.flatmap(lambda shape: hnp.arrays(np.uint8, (*shape, 3))), corners, st.integers(1, 12), st.integers(0, 5))
def test_a_crop_of_an_image_is_padding_and_slicing(image, corners, side, padding):
    boxes = boxes_at(corners, side, side)
    result = patches.crop(image, boxes, padding)
    assert result.dtype == np.uint8
    assert result.tolist() == pad_and_slice(image, boxes, padding)


@given(hnp.arrays(np.uint8, shapes, elements=st.integers(0, 1)), corners, st.integers(1, 12), st.integers(0, 5))
def test_what_a_window_cuts_is_the_crop_of_the_masks_frame(frame, corners, side, padding):
    boxes = boxes_at(corners, side, side + 2)
    mask = crop_mask(frame, 0, 0, *frame.shape)
    assume(len(boxes))
    window = patches.window_around(mask, boxes, padding)
    assert window.cut(boxes, padding).tolist() == pad_and_slice(frame, boxes, padding)


def test_without_boxes_there_are_no_patches():
    none = np.zeros((0, 4), np.int64)
    assert len(patches.crop(np.zeros((9, 9, 3), np.uint8), none)) == 0


def test_a_crop_is_a_copy():
    image = np.zeros((9, 9), np.uint8)
    patches.crop(image, np.array([[0, 0, 9, 9]]))[:] = 1
    assert image.max() == 0


def test_boxes_of_several_sizes_are_refused():
    with pytest.raises(ValueError, match="one size"):
        patches.crop(np.zeros((9, 9), np.uint8), np.array([[0, 0, 4, 4], [0, 0, 5, 4]]))


@pytest.mark.parametrize("shape", [(0, 4, 6), (0, 4, 6, 3), (2, 4, 6), (2, 4, 6, 3)])
def test_patches_of_any_number_can_be_resized(shape):
    resized = patches.resize_patches(np.ones(shape, np.uint8), 8, 12, cv2.INTER_NEAREST)
    assert resized.shape == (shape[0], 8, 12, *shape[3:])
