"""Upper bounds: ground truth near the predicted boundary, the prediction elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from bpr_cli.errors import InputError
from bpr_cli.evaluation.evaluate import evaluate
from bpr_cli.evaluation.evaluation_settings import EvaluationSettings, parse_distances
from bpr_cli.evaluation.upper_bound import true_near_boundary
from bpr_cli.masks import Mask, crop_mask, to_frame
from tests.conftest import Example

any_mask = arrays.arrays(np.uint8, (12, 15), elements=st.integers(0, 1))


def whole(mask_HW: np.ndarray) -> Mask:
    return crop_mask(mask_HW, 0, 0, *mask_HW.shape)


def plain(mask_HW: np.ndarray, truth_HW: np.ndarray, radius: float) -> np.ndarray:
    """Pixel by pixel, on the full frame."""
    height, width = mask_HW.shape
    edge = [
        (y, x)
        for y in range(height)
        for x in range(width)
        if len(np.unique(mask_HW[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2])) == 2
    ]
    mixed_HW = mask_HW.copy()
    for y in range(height):
        for x in range(width):
            if any((y - v) ** 2 + (x - u) ** 2 <= (radius - 1) ** 2 + 1e-4 for v, u in edge):
                mixed_HW[y, x] = truth_HW[y, x]
    return mixed_HW


@given(mask_HW=any_mask, truth_HW=any_mask, radius=st.sampled_from([1, 2, 3, 5]))
def test_it_is_that_of_a_slow_plain_version(mask_HW: np.ndarray, truth_HW: np.ndarray, radius: int) -> None:
    mixed = true_near_boundary(whole(mask_HW), whole(truth_HW), radius)
    if mask_HW.any():
        assert np.array_equal(to_frame(mixed), plain(mask_HW, truth_HW, radius))
    else:
        assert not mixed.area


def test_the_first_pixel_on_either_side_is_within_one() -> None:
    mask_HW, truth_HW = np.zeros((20, 20), np.uint8), np.zeros((20, 20), np.uint8)
    mask_HW[:, 10:] = 1
    truth_HW[:, 9:] = 1
    assert to_frame(true_near_boundary(whole(mask_HW), whole(truth_HW), 1)).sum() == 11 * 20
    truth_HW[:, 8] = 1
    assert to_frame(true_near_boundary(whole(mask_HW), whole(truth_HW), 1)).sum() == 11 * 20
    assert to_frame(true_near_boundary(whole(mask_HW), whole(truth_HW), 2)).sum() == 12 * 20


def test_bounds_rise_with_distance_and_say_what_share_was_gained(three_photos: Example) -> None:
    found = evaluate(
        three_photos.results_native,
        three_photos.gt,
        three_photos.results_native,
        settings=EvaluationSettings(upper_bounds=(1, 3, 100)),
        quiet=True,
    )
    assert found.baseline is not None
    ious = [found.baseline.boundary_iou] + [bound.figures.boundary_iou for bound in found.upper_bounds]
    assert ious == sorted(ious)
    assert ious[0] < ious[1] < ious[2]
    # 100 px reach everything but what lies far from any predicted boundary.
    assert found.upper_bounds[2].figures.iou > 0.97
    assert found.share_gained(found.upper_bounds[0], "boundary_iou") == 0


@pytest.mark.parametrize("text", ["a", "1;2", "-1", "1.5"])
def test_distances_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="not distances"):
        parse_distances(text)


def test_distances_are_read() -> None:
    assert parse_distances("") == ()
    assert parse_distances("3, 1,3") == (3, 1)
    with pytest.raises(InputError, match="distances of 1 to 100"):
        EvaluationSettings(upper_bounds=(0,))
