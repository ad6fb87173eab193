"""RLE: nothing is lost between masks and counts, which are pycocotools' own."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco_mask

from bpr_cli.formats.rle import decode_rle, encode_rle
from bpr_cli.masks import Mask, crop_mask, to_frame

frames = hnp.arrays(
    np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=24), elements=st.integers(0, 1)
)


@given(frames)
def test_rle_round_trip_is_exact_and_equals_pycocotools(frame):
    height, width = frame.shape
    rle = encode_rle(crop_mask(frame, 0, 0, height, width))
    assert rle["counts"] == coco_mask.encode(np.asfortranarray(frame))["counts"].decode()
    assert np.array_equal(to_frame(decode_rle(rle)), frame)


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
