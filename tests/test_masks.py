"""Masks as crops: nothing is lost between frames, crops and RLE."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco_mask

from bpr_cli.formats.rle import decode_rle, encode_rle
from bpr_cli.masks import Mask, bbox_xywh, crop_mask, intersection_over_union, to_frame

frames = hnp.arrays(
    np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=24), elements=st.integers(0, 1)
)


@given(frames)
def test_cropping_and_framing_give_the_mask_back(frame):
    height, width = frame.shape
    assert np.array_equal(to_frame(crop_mask(frame, 0, 0, height, width)), frame)


@given(frames)
def test_rle_round_trip_is_exact_and_equals_pycocotools(frame):
    height, width = frame.shape
    rle = encode_rle(crop_mask(frame, 0, 0, height, width))
    assert rle["counts"] == coco_mask.encode(np.asfortranarray(frame))["counts"].decode()
    assert np.array_equal(to_frame(decode_rle(rle)), frame)


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


@pytest.mark.parametrize(
    "runs", [[35, 5, 60, 0], [35, 5, 10, 0, 50], [0, 0, 35, 5, 60], [35, 5, 40, 0, 20], [99, 1, 0], [100, 0]]
)
def test_runs_of_length_zero_are_understood(runs):
    rle = coco_mask.frPyObjects({"size": [10, 10], "counts": runs}, 10, 10)
    assert np.array_equal(to_frame(decode_rle(rle)), coco_mask.decode(rle))


@pytest.mark.parametrize("size", [[20, 19], [19, 20], [5, 5]])
def test_counts_longer_than_the_image_are_refused(size):
    counts = encode_rle(crop_mask(np.eye(20), 0, 0, 20, 20))["counts"]
    with pytest.raises(ValueError, match="Invalid RLE"):
        decode_rle({"size": size, "counts": counts})


def test_an_rle_is_the_same_for_a_loose_crop():
    frame = np.zeros((10, 12), np.uint8)
    frame[3:5, 7:9] = 1
    loose = Mask(np.ascontiguousarray(frame[2:, 1:]), 1, 2, 10, 12)
    nothing = Mask(np.zeros((4, 5), np.uint8), 3, 2, 10, 12)
    assert encode_rle(loose) == encode_rle(crop_mask(frame, 0, 0, 10, 12))
    assert decode_rle(encode_rle(nothing)).area == 0
