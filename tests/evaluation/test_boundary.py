"""Boundary IoU is the reference's, the contour F-score is what its definition says."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from faster_coco_eval.core.mask import rleToBoundary
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from bpr_cli.evaluation.boundary import boundary_band, boundary_iou, contour, contour_f_score
from bpr_cli.formats.rle import encode_rle
from bpr_cli.masks import Mask, crop_mask, to_frame

SIZE = (13, 17)
# Blobs of 3 pixels rather than noise: noise has no inside.
frames = arrays(np.uint8, SIZE, elements=st.integers(0, 1)) | arrays(np.uint8, (5, 6), elements=st.integers(0, 1)).map(
    lambda small: np.kron(small, np.ones((3, 3), np.uint8))[: SIZE[0], : SIZE[1]]
)


def whole(frame_HW: NDArray[np.uint8]) -> Mask:
    return crop_mask(frame_HW, 0, 0, *frame_HW.shape)


def square(left: int, top: int, side: int = 10) -> Mask:
    return crop_mask(np.ones((side, side), np.uint8), left, top, 40, 50)


def plain_contour(frame_HW: NDArray[np.uint8]) -> set[tuple[int, int]]:
    height, width = frame_HW.shape
    points = set()
    for y, x in np.argwhere(frame_HW):
        around = itertools.product((y - 1, y, y + 1), (x - 1, x, x + 1))
        if any(0 <= v < height and 0 <= u < width and not frame_HW[v, u] for v, u in around):
            points.add((int(y), int(x)))
    return points


def plain_f_score(predicted_HW: NDArray[np.uint8], true_HW: NDArray[np.uint8], tolerance: float) -> float:
    predicted, true = plain_contour(predicted_HW), plain_contour(true_HW)
    if not predicted or not true:
        return float(np.array_equal(predicted_HW, true_HW))

    def share(of: set[tuple[int, int]], near: set[tuple[int, int]]) -> float:
        return float(np.mean([min(np.hypot(y - v, x - u) for v, u in near) <= tolerance for y, x in of]))

    precision, recall = share(predicted, true), share(true, predicted)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


@given(frame_HW=frames, ratio=st.sampled_from([0.01, 0.05, 0.1, 0.2]))
@settings(max_examples=150, deadline=None)
def test_the_band_is_the_reference_band_pixel_for_pixel(frame_HW: NDArray[np.uint8], ratio: float) -> None:
    mask = whole(frame_HW)
    for backend in ("mask_api", "opencv"):
        reference_HW = coco_mask.decode(rleToBoundary(encode_rle(mask), ratio, backend=backend))
        assert np.array_equal(to_frame(boundary_band(mask, ratio)), reference_HW)


def test_the_band_of_a_large_mask_at_the_usual_ratio_is_the_reference_band() -> None:
    rng = np.random.default_rng(0)
    frame_HW = np.kron(rng.random((24, 32)) > 0.3, np.ones((20, 20))).astype(np.uint8)
    reference_HW = coco_mask.decode(rleToBoundary(encode_rle(whole(frame_HW)), 0.02))
    assert np.array_equal(to_frame(boundary_band(whole(frame_HW))), reference_HW)


def test_the_crop_s_place_in_the_image_does_not_matter_away_from_its_border() -> None:
    shifted = [boundary_iou(square(x, y), square(x + 2, y)) for x, y in ((5, 5), (20, 12))]
    assert shifted[0] == shifted[1]
    assert 0 < shifted[0] < 1


@given(predicted_HW=frames, true_HW=frames, tolerance=st.sampled_from([0, 1, 1.5, 2, 3]))
@settings(max_examples=150, deadline=None)
def test_the_f_score_is_that_of_a_plain_pixel_by_pixel_version(
    predicted_HW: NDArray[np.uint8], true_HW: NDArray[np.uint8], tolerance: float
) -> None:
    fast = contour_f_score(whole(predicted_HW), whole(true_HW), tolerance)
    assert fast == pytest.approx(plain_f_score(predicted_HW, true_HW, tolerance), abs=1e-12)


@given(frame_HW=frames)
@settings(max_examples=100, deadline=None)
def test_the_contour_is_that_of_a_plain_pixel_by_pixel_version(frame_HW: NDArray[np.uint8]) -> None:
    points = {(int(y), int(x)) for y, x in np.argwhere(to_frame(contour(whole(frame_HW))))}
    assert points == plain_contour(frame_HW)


def test_a_crop_wider_than_its_mask_changes_nothing() -> None:
    tight = square(8, 9)
    loose = Mask(np.pad(tight.pixels_HW, 3), 5, 6, 40, 50)
    for measure in (boundary_iou, contour_f_score):
        assert measure(loose, square(9, 11)) == measure(tight, square(9, 11))


def test_a_shift_by_one_pixel_is_within_tolerance_and_by_two_is_not() -> None:
    assert contour_f_score(square(11, 10), square(10, 10)) == 1.0
    assert contour_f_score(square(12, 10), square(10, 10)) < 1.0
    assert contour_f_score(square(12, 10), square(10, 10), tolerance=2) == 1.0
    assert contour_f_score(square(30, 30), square(10, 10)) == 0.0


def test_one_pixel_means_the_four_neighbours() -> None:
    assert contour_f_score(square(11, 11, side=1), square(10, 10, side=1)) == 0.0
    assert contour_f_score(square(11, 11, side=1), square(10, 10, side=1), tolerance=1.5) == 1.0


def test_an_object_cut_off_by_the_image_has_no_contour_there() -> None:
    frame_HW = np.zeros((20, 20), np.uint8)
    frame_HW[:, :8] = 1
    assert plain_contour(to_frame(contour(whole(frame_HW)))) == {(y, 7) for y in range(20)}


def test_masks_without_contour_agree_only_if_they_are_equal() -> None:
    empty, full = np.zeros(SIZE, np.uint8), np.ones(SIZE, np.uint8)
    assert contour_f_score(whole(empty), whole(empty)) == 1.0
    assert contour_f_score(whole(full), whole(full)) == 1.0
    assert contour_f_score(whole(full), whole(empty)) == 0.0
    assert boundary_iou(whole(empty), whole(full)) == 0.0


def test_masks_of_different_images_are_refused() -> None:
    with pytest.raises(ValueError, match="different size"):
        contour_f_score(square(1, 1), whole(np.ones(SIZE, np.uint8)))
