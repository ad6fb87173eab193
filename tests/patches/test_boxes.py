"""Boxes lie where the first implementation put them, cover every boundary pixel, and stay inside the image."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bpr_cli import patches
from bpr_cli.formats.rle import decode_rle
from bpr_cli.masks import Mask, crop_mask, to_frame
from bpr_cli.patches.suppression import contour_order, keep_best

GOLDEN = json.loads((Path(__file__).parent.parent / "data" / "golden" / "boxes.json").read_text())

# Noise, and blobs of 4 px: noise has no straight boundary, blobs leave the image's border and holes at chance.
noise = hnp.arrays(
    np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=20), elements=st.integers(0, 1)
)
blobs = hnp.arrays(
    np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=10), elements=st.integers(0, 1)
).map(lambda small: np.kron(small, np.ones((4, 4), np.uint8)))
frames = noise | blobs
sizes = st.integers(1, 24)
thresholds = st.sampled_from([0.0, 0.15, 0.25, 0.55, 0.9, 1.0])
tie_orders = st.sampled_from(patches.TIE_ORDERS)


def whole(frame):
    """A full frame as a mask."""
    return crop_mask(frame, 0, 0, *frame.shape)


def touches_border(mask: Mask) -> bool:
    x1, y1, x2, y2 = mask.box_xyxy
    return bool(mask.area) and (x1 == 0 or y1 == 0 or x2 == mask.image_width or y2 == mask.image_height)


def levels_of(frame):
    return np.round(patches.boundary_scores(frame) * 4.5).astype(np.uint8)


def overlap(first, second):
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    common = max(0, width) * max(0, height)
    return common / (sum((b[2] - b[0]) * (b[3] - b[1]) for b in (first, second)) - common)


def plain_nms(order, width, patch_size, threshold):
    """Greedy NMS as a textbook writes it, on boxes centred on the places in their order."""
    kept = []
    for place in order:
        y, x = divmod(place, width)
        box = (x, y, x + patch_size, y + patch_size)
        if all(overlap(box, other) <= threshold for _, other in kept):
            kept.append((place, box))
    return [place for place, _ in kept]


golden_masks = pytest.mark.parametrize("case", GOLDEN.values(), ids=list(GOLDEN))


@golden_masks
def test_scores_are_those_of_the_first_implementation_away_from_the_border(case):
    mask = decode_rle(case["mask"])
    digest = hashlib.sha256(patches.boundary_scores(to_frame(mask)).tobytes()).hexdigest()
    assert (digest == case["scores_sha256"]) != touches_border(mask)


@golden_masks
def test_boxes_are_those_of_the_first_implementation_but_reach_the_last_row_and_column(case):
    mask = decode_rle(case["mask"])
    if touches_border(mask):
        pytest.skip("the first implementation takes the image's border for boundary")
    for expected in case["boxes"]:
        size = expected["patch_size"]
        boxes = patches.propose_boxes(mask, size, expected["nms_threshold"], tie_order="raster")
        centred = np.array(expected["centred_xyxy"], np.int64).reshape(-1, 4)
        room = (max(0, mask.image_width - size), max(0, mask.image_height - size))
        corners = np.clip(centred[:, :2], 0, room)
        assert boxes.tolist() == np.hstack([corners, corners + size]).tolist()


@pytest.mark.parametrize("threshold", [0.25, 0.55])
def test_contour_order_needs_a_fifth_fewer_boxes_than_raster_order_at_the_same_coverage(threshold):
    counts, covered, candidates = {}, {}, 0
    for tie_order in patches.TIE_ORDERS:
        counts[tie_order] = covered[tie_order] = candidates = 0
        for case in GOLDEN.values():
            mask = decode_rle(case["mask"])
            candidate = patches.boundary_scores(to_frame(mask)) > 0
            boxes = patches.propose_boxes(mask, 64, threshold, tie_order=tie_order)
            inside = np.zeros_like(candidate)
            for x1, y1, x2, y2 in boxes.tolist():
                inside[y1:y2, x1:x2] = True
            counts[tie_order] += len(boxes)
            covered[tie_order] += int((candidate & inside).sum())
            candidates += int(candidate.sum())
    assert counts["contour"] <= 0.8 * counts["raster"]
    assert covered["contour"] >= covered["raster"] - 0.002 * candidates


@given(frames)
def test_the_score_counts_the_3x3_neighbourhood_with_the_border_replicated(frame):
    padded = np.pad(frame, 1, mode="edge").astype(int)
    count = np.lib.stride_tricks.sliding_window_view(padded, (3, 3)).sum(axis=(2, 3))
    assert np.array_equal(patches.boundary_scores(frame), (np.minimum(count, 9 - count) / 4.5).astype(np.float32))


@given(frames)
def test_the_score_turns_with_the_mask(frame):
    scores = patches.boundary_scores(frame)
    assert np.array_equal(patches.boundary_scores(frame[::-1]), scores[::-1])
    assert np.array_equal(patches.boundary_scores(frame[:, ::-1]), scores[:, ::-1])
    assert np.array_equal(patches.boundary_scores(frame.T), scores.T)
    assert np.array_equal(patches.boundary_scores(1 - frame), scores)


@settings(deadline=None)
@given(noise, sizes, thresholds, tie_orders)
def test_nms_keeps_what_the_textbook_keeps(frame, patch_size, threshold, tie_order):
    levels = levels_of(frame)
    planned = contour_order(frame, levels, patch_size, threshold) if tie_order == "contour" else []
    order = []
    for number, level in enumerate((4, 3, 2, 1)):
        first = planned[number].tolist() if planned else []
        assert all(levels.flat[place] == level for place in first)
        order += first + np.flatnonzero(levels == level).tolist()
    kept = keep_best(levels.copy(), planned, patch_size, threshold)
    if threshold == 1.0:  # nothing is suppressed, but no pixel is kept twice
        assert sorted(kept) == np.flatnonzero(levels).tolist()
    else:
        assert kept == plain_nms(order, frame.shape[1], patch_size, threshold)


@settings(deadline=None)
@given(frames, sizes, thresholds, tie_orders)
def test_every_boundary_pixel_is_suppressed_by_a_kept_box(frame, patch_size, threshold, tie_order):
    levels = levels_of(frame)
    planned = contour_order(frame, levels, patch_size, threshold) if tie_order == "contour" else []
    kept = np.array(keep_best(levels.copy(), planned, patch_size, threshold), np.int64)
    candidates = np.flatnonzero(levels)
    width = frame.shape[1]
    gap_x = np.abs(candidates[:, None] % width - kept % width)
    gap_y = np.abs(candidates[:, None] // width - kept // width)
    common = np.maximum(patch_size - gap_x, 0) * np.maximum(patch_size - gap_y, 0)
    suppressed = common / (2 * patch_size**2 - common) > threshold
    assert (suppressed | ((gap_x == 0) & (gap_y == 0))).any(axis=1).all()


@settings(deadline=None)
@given(frames, sizes, thresholds, st.sampled_from(patches.SCHEMES), tie_orders)
def test_boxes_lie_inside_the_image_padded_to_a_patch(frame, patch_size, threshold, scheme, tie_order):
    height, width = frame.shape
    boxes = patches.propose_boxes(whole(frame), patch_size, threshold, scheme, tie_order)
    assert boxes.dtype == np.int64
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2] <= max(width, patch_size)).all()
    assert (boxes[:, 3] <= max(height, patch_size)).all()
    if scheme != "instance":
        assert (boxes[:, 2:] - boxes[:, :2] == patch_size).all()


@settings(deadline=None)
@given(frames, sizes, st.sampled_from(patches.SCHEMES), tie_orders, st.integers(0, 9), st.integers(0, 9))
def test_a_tight_crop_a_loose_crop_and_the_frame_give_the_same_boxes(frame, size, scheme, tie_order, left, top):
    height, width = frame.shape
    tight = crop_mask(frame, 0, 0, height, width)
    x1, y1, x2, y2 = tight.box_xyxy
    x1, y1 = max(0, x1 - left), max(0, y1 - top)
    loose = Mask(np.ascontiguousarray(frame[y1:y2, x1:x2]), x1, y1, height, width)
    expected = patches.propose_boxes(whole(frame), size, 0.25, scheme, tie_order).tolist()
    assert patches.propose_boxes(Mask(frame, 0, 0, height, width), size, 0.25, scheme, tie_order).tolist() == expected
    assert patches.propose_boxes(loose, size, 0.25, scheme, tie_order).tolist() == expected


@settings(deadline=None)
@given(frames, tie_orders, st.integers(40, 60), st.integers(40, 60))
def test_an_object_that_moves_takes_its_boxes_with_it(frame, tie_order, x, y):
    def boxes_at(x, y):
        return patches.propose_boxes(crop_mask(frame, x, y, 200, 180), 16, 0.25, tie_order=tie_order)

    assert np.array_equal(boxes_at(x, y) - (x, y, x, y), boxes_at(30, 30) - 30)


@given(frames, sizes)
def test_grid_boxes_are_the_cells_that_hold_both_classes(frame, patch_size):
    height, width = frame.shape
    expected = []
    for top in range(0, height, patch_size):
        for left in range(0, width, patch_size):
            cell = frame[top : top + patch_size, left : left + patch_size]
            if cell.min() != cell.max():
                x, y = max(0, min(left, width - patch_size)), max(0, min(top, height - patch_size))
                expected.append([x, y, x + patch_size, y + patch_size])
    assert patches.propose_boxes(whole(frame), patch_size, scheme="grid").tolist() == expected


def test_the_instance_box_is_the_bounding_box():
    frame = np.zeros((100, 120), bool)
    frame[20:50, 30:110] = True
    assert patches.propose_boxes(whole(frame), scheme="instance").tolist() == [[30, 20, 110, 50]]


@pytest.mark.parametrize("scheme", patches.SCHEMES)
@pytest.mark.parametrize("value", [0, 1])
def test_masks_without_boundary_have_no_boxes(scheme, value):
    boxes = patches.propose_boxes(whole(np.full((80, 90), value, np.uint8)), scheme=scheme)
    assert boxes.shape == (0, 4)


def test_the_image_border_is_no_boundary_but_its_pixels_are_reached():
    frame = np.zeros((200, 300), np.uint8)
    frame[150:, 250:] = 1
    boxes = patches.propose_boxes(whole(frame))
    assert boxes[:, 2].max() == 300
    assert boxes[:, 3].max() == 200
    assert patches.boundary_scores(frame)[180:, 290:].max() == 0


def test_one_pixel_has_one_box_centred_on_it():
    frame = np.zeros((200, 300), np.uint8)
    frame[120, 90] = 1
    # The pixel's neighbours score alike, so NMS may centre the box on one of them.
    boxes = patches.propose_boxes(whole(frame))
    assert len(boxes) == 1
    assert np.abs(boxes[0] - (90 - 32, 120 - 32, 90 + 32, 120 + 32)).max() <= 1


def test_an_image_smaller_than_a_patch_has_boxes_from_its_corner():
    frame = np.zeros((50, 40), np.uint8)
    frame[20:30, 10:30] = 1
    assert patches.propose_boxes(whole(frame)).tolist() == [[0, 0, 64, 64]]


@pytest.mark.parametrize(
    "arguments", [{"patch_size": 0}, {"nms_threshold": 1.5}, {"scheme": "spiral"}, {"tie_order": "random"}]
)
def test_arguments_out_of_range_are_refused(arguments):
    with pytest.raises(ValueError, match=r"patch size|scheme"):
        patches.propose_boxes(whole(np.eye(9, dtype=np.uint8)), **arguments)
