"""Synthetic coarse masks."""

from __future__ import annotations

import json

import numpy as np
import pytest

from bpr_cli.extraction.corruption import Corruption, corrupt
from bpr_cli.formats.rle import decode_rle
from bpr_cli.masks import crop_mask, intersection_over_union, to_frame


@pytest.fixture(scope="module")
def truths(example):
    annotations = json.loads(example.gt.read_text())["annotations"]
    return [decode_rle(annotation["segmentation"]) for annotation in annotations]


def test_the_generator_alone_decides(truths):
    first, again = (corrupt(truths[0], np.random.default_rng(5)) for _ in range(2))
    other = corrupt(truths[0], np.random.default_rng(6))
    assert np.array_equal(to_frame(first), to_frame(again))
    assert not np.array_equal(to_frame(first), to_frame(other))


def test_corrupted_masks_are_as_wrong_as_detections_are(truths):
    ious = [
        intersection_over_union(truth, corrupt(truth, np.random.default_rng(seed)))
        for truth in truths
        for seed in range(8)
    ]
    # The example's own best detections lie between .6 and .95.
    assert 0.7 < np.mean(ious) < 0.95
    assert np.std(ious) > 0.03


def test_without_jitter_offset_and_grid_the_mask_stays(truths):
    still = Corruption(jitter=0.0, offset=0.0, grids=(0,))
    for truth in truths:
        assert intersection_over_union(truth, corrupt(truth, np.random.default_rng(0), still)) == 1.0


def test_an_offset_grows_and_shrinks(truths):
    areas = [
        corrupt(truths[0], np.random.default_rng(seed), Corruption(jitter=0.0, grids=(0,))).area for seed in range(10)
    ]
    assert min(areas) < truths[0].area < max(areas)


@pytest.mark.parametrize("shape", [(1, 1), (3, 40), (40, 3), (30, 30)])
def test_any_mask_can_be_corrupted(shape):
    full = np.ones(shape, np.uint8)
    for frame in (full, np.zeros_like(full), np.pad(full, 2)):
        result = corrupt(crop_mask(frame, 0, 0, *frame.shape), np.random.default_rng(0))
        assert to_frame(result).shape == frame.shape
