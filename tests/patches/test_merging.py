"""Merging is a mean above one half, and nothing happens outside the boxes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bpr_cli import patches
from bpr_cli.formats.rle import decode_rle
from bpr_cli.masks import crop_mask, to_frame

FOLDER = Path(__file__).parent.parent / "data" / "golden"
GOLDEN = json.loads((FOLDER / "merge.json").read_text())
SIDE = 8

frames = hnp.arrays(
    np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=30), elements=st.integers(0, 1)
)
boxes_anywhere = st.lists(st.tuples(st.integers(-12, 34), st.integers(-12, 34)), max_size=6).map(
    lambda corners: np.array([(x, y, x + SIDE, y + SIDE) for x, y in corners], np.int64).reshape(-1, 4)
)


def merge(boxes, probabilities, frame, weights=None, caution=patches.Caution()):  # noqa: B008
    """The merged frame; by way of a window that holds no more than the mask and the boxes."""
    mask = crop_mask(frame, 0, 0, *frame.shape)
    merged = frame.astype(np.uint8)
    if len(boxes):
        window = patches.merge_patches(patches.window_around(mask, boxes), boxes, probabilities, weights, caution)
        height, width = window.pixels_HW.shape
        merged[window.y1 : window.y1 + height, window.x1 : window.x1 + width] = window.pixels_HW
    return merged


def random_probabilities(boxes, seed, margin=0):
    side = SIDE + 2 * margin
    return np.random.default_rng(seed).random((len(boxes), side, side), np.float32)


def mean_probability(boxes, probabilities, frame, weights):
    """Mean by pixel, NaN where no box lies: plainly, one pixel after the other."""
    height, width = frame.shape
    means = np.full(frame.shape, np.nan)
    for y, x in np.ndindex(height, width):
        hits = [
            (weights[y - y1, x - x1], float(probability[y - y1, x - x1]))
            for (x1, y1, x2, y2), probability in zip(boxes.tolist(), probabilities, strict=True)
            if x1 <= x < x2 and y1 <= y < y2
        ]
        if hits:
            means[y, x] = sum(w * p for w, p in hits) / sum(w for w, _ in hits)
    return means


@pytest.mark.parametrize("name", GOLDEN)
def test_merged_masks_are_those_of_the_first_implementation(name):
    case = GOLDEN[name]
    with np.load(FOLDER / "merge_patches.npz") as stored:
        probabilities = (stored[name] / 65535).astype(np.float32)
    boxes = np.array(case["boxes_xyxy"], np.int64).reshape(-1, 4)
    mask = decode_rle(case["mask"])
    assert np.array_equal(merge(boxes, probabilities, to_frame(mask)), to_frame(decode_rle(case["merged"])))


@settings(deadline=None)
@given(frames, boxes_anywhere, st.integers(0, 99), st.booleans())
def test_merging_is_the_mean_above_one_half(frame, boxes, seed, hann):
    weights = patches.hann_weights(SIDE) if hann else None
    probabilities = random_probabilities(boxes, seed)
    means = mean_probability(boxes, probabilities, frame, np.ones((SIDE, SIDE)) if weights is None else weights)
    expected = np.where(np.isnan(means), frame, means > 0.5)
    assert np.array_equal(merge(boxes, probabilities, frame, weights), expected)


@given(frames, boxes_anywhere, st.integers(0, 99), st.booleans())
def test_the_window_may_be_larger_than_it_need_be(frame, boxes, seed, hann):
    weights = patches.hann_weights(SIDE) if hann else None
    probabilities = random_probabilities(boxes, seed)
    whole = patches.merge_patches(patches.Window(frame, 0, 0), boxes, probabilities, weights)
    assert np.array_equal(whole.pixels_HW, merge(boxes, probabilities, frame, weights))


@given(frames, boxes_anywhere)
def test_merging_a_masks_own_crops_changes_nothing(frame, boxes):
    own = patches.crop(frame, boxes).astype(np.float32)
    assert np.array_equal(merge(boxes, own, frame), frame)


@given(frames, boxes_anywhere, st.integers(0, 99))
def test_pixels_outside_the_boxes_stay(frame, boxes, seed):
    outside = np.ones(frame.shape, bool)
    for x1, y1, x2, y2 in np.maximum(boxes, 0).tolist():
        outside[y1:y2, x1:x2] = False
    merged = merge(boxes, random_probabilities(boxes, seed), frame)
    assert np.array_equal(merged[outside], frame[outside])


@settings(deadline=None)
@given(frames, boxes_anywhere, st.integers(0, 99), st.booleans(), st.sampled_from([0.1, 0.2, 0.45]))
def test_a_margin_lets_only_sure_pixels_change(frame, boxes, seed, hann, margin):
    weights = patches.hann_weights(SIDE) if hann else None
    probabilities = random_probabilities(boxes, seed)
    means = mean_probability(boxes, probabilities, frame, np.ones((SIDE, SIDE)) if weights is None else weights)
    expected = np.where(means > 0.5 + margin, 1, np.where(means < 0.5 - margin, 0, frame))
    merged = merge(boxes, probabilities, frame, weights, patches.Caution(margin=margin))
    surely = np.isnan(means) | (np.abs(np.abs(means - 0.5) - margin) > 1e-5)  # float32 sums decide the rest
    assert np.array_equal(merged[surely], expected[surely])


@settings(deadline=None)
@given(frames, boxes_anywhere, st.integers(0, 99), st.sampled_from([1, 2, 5]))
def test_reach_keeps_what_is_far_from_the_coarse_boundary(frame, boxes, seed, reach):
    probabilities = random_probabilities(boxes, seed)
    plain = merge(boxes, probabilities, frame)
    expected = frame.copy()
    for y, x in np.ndindex(frame.shape):
        around = frame[max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1]
        if around.min() != around.max():
            expected[y, x] = plain[y, x]
    caution = patches.Caution(reach=reach)
    assert np.array_equal(merge(boxes, probabilities, frame, caution=caution), expected)


@given(frames, boxes_anywhere, st.integers(0, 99), st.integers(1, 3))
def test_a_margin_of_context_is_dropped(frame, boxes, seed, margin):
    padded = random_probabilities(boxes, seed, margin)
    inner = padded[:, margin:-margin, margin:-margin]
    merged = merge(boxes, padded, frame)
    assert np.array_equal(merged, merge(boxes, inner, frame))


def test_one_half_is_background():
    frame = np.ones((SIDE, SIDE), np.uint8)
    half = np.full((1, SIDE, SIDE), 0.5, np.float32)
    assert merge(np.array([[0, 0, SIDE, SIDE]]), half, frame).max() == 0


def test_the_input_is_left_alone():
    window = patches.Window(np.ones((SIDE, SIDE), np.uint8), 0, 0)
    boxes, probabilities = np.array([[0, 0, SIDE, SIDE]]), np.zeros((1, SIDE, SIDE), np.float32)
    assert patches.merge_patches(window, boxes, probabilities).pixels_HW.max() == 0
    assert window.pixels_HW.all()
    assert probabilities.max() == 0


@pytest.mark.parametrize("side", [1, 2, 63, 64])
def test_hann_weights_are_positive_symmetric_and_largest_in_the_middle(side):
    weights = patches.hann_weights(side)
    assert weights.dtype == np.float32
    assert weights.min() > 0
    assert weights.max() == weights[side // 2, side // 2] <= 1
    assert np.allclose(weights, weights[::-1, ::-1])
    assert np.array_equal(weights, weights.T)


@pytest.mark.parametrize("shape", [(1, 8, 8), (2, 7, 7), (2, 8, 9), (2, 6, 6)])
def test_probabilities_that_do_not_fit_are_refused(shape):
    boxes = np.array([[0, 0, 8, 8], [4, 4, 12, 12]])
    with pytest.raises(ValueError, match="do not fit"):
        patches.merge_patches(patches.Window(np.zeros((20, 20), np.uint8), 0, 0), boxes, np.zeros(shape, np.float32))
