"""Masks as crops: nothing is lost between frames and crops."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco_mask

from bpr_cli.masks import bbox_xywh, crop_mask, intersection_over_union, to_frame

frames = hnp.arrays(
    np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=24), elements=st.integers(0, 1)
)


@given(frames)
def test_cropping_and_framing_give_the_mask_back(frame):
    height, width = frame.shape
    assert np.array_equal(to_frame(crop_mask(frame, 0, 0, height, width)), frame)


@given(frames)
def test_bbox_is_that_of_pycocotools(frame):
    height, width = frame.shape
    mask = crop_mask(frame, 0, 0, height, width)
    assert bbox_xywh(mask) == coco_mask.toBbox(coco_mask.encode(np.asfortranarray(frame))).tolist()


@given(st.data())
def test_iou_of_crops_is_that_of_frames(data):
    shape = (13, 17)
    first, second = (
        data.draw(hnp.arrays(np.uint8, shape, elements=st.sampled_from([0, 0, 1]), fill=st.just(0))) for _ in range(2)
    )
    union = int((first | second).sum())
    expected = int((first & second).sum()) / union if union else 0.0
    assert intersection_over_union(*(crop_mask(m, 0, 0, *shape) for m in (first, second))) == expected


def test_a_crop_is_tight():
    frame = np.zeros((10, 12), bool)
    frame[3:5, 7:9] = True
    mask = crop_mask(frame, 0, 0, 10, 12)
    assert mask.box_xyxy == (7, 3, 9, 5)
    assert mask.area == 4
