"""Whether a refinement is worth its risk: if the photo does not bear it out, the mask is returned as it came.

Two judges. Patches show a stretch of boundary: there the photo's own edges decide (`evidence`). A look at the whole
object is judged pixel by pixel: a logistic regression, fitted on photos that the network was not trained on, says how
likely each change is right (`likely_right`).
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from bpr_cli.refining.neighbours import CERTAIN

SQUARE = np.ones((3, 3), np.uint8)
# The evidence (px) without which a mask is returned as it came, at a caution of 1; and how much more of it crowding
# (`crowding.crowding`, 0..1) asks for: times 1 + CROWDED x crowding. Chosen on training photos: at a caution of 0.4,
# 1 to 3 % of COCO's masks get worse instead of a third, and nearly all of DAVIS' refinements stay (models/LOG.md).
EVIDENCE = 1.5
CROWDED = 10.0
LEAST_DOUBT = 0.002  # probabilities nearer to 0 or 1 are taken as no surer


def needed_evidence(caution: float, crowding: float) -> float:
    """The evidence that a refinement must have, in pixels.

    Args:
        caution: of the settings, 0..1.
        crowding: share of the mask's boundary that has other objects beside it, 0..1.
    """
    return EVIDENCE * caution * (1 + CROWDED * crowding)


def evidence(images_NHWC: NDArray[np.uint8], before_NHW: NDArray[np.uint8], after_NHW: NDArray[np.uint8]) -> float:
    """How far a boundary moved, times how much stronger the photo's edges are where it lies now.

    Movements of less than a pixel, on to edges hardly better than those before, are nearly as often wrong as right
    (models/LOG.md).

    Args:
        images_NHWC: patches along the boundary, uint8 RGB.
        before_NHW, after_NHW: the mask in these patches, coarse and refined, uint8, 0 or 1.

    Returns:
        Pixels, 0 or more: 1.5 for a boundary that moved by one pixel, on to edges half as strong again.
    """
    grey = np.asarray(cv2.cvtColor(_column(images_NHWC), cv2.COLOR_RGB2GRAY), np.uint8)
    grey_NHW = grey.reshape(before_NHW.shape)
    edges, old, new = (_gradient(pixels) for pixels in (grey_NHW, before_NHW, after_NHW))
    old_count, new_count = np.count_nonzero(old), np.count_nonzero(new)
    if not old_count or not new_count:
        return 0.0
    # A mask's gradient is two pixels wide: one on either side of the contour.
    moved = np.count_nonzero((before_NHW != after_NHW)[:, 1:-1, 1:-1]) / (old_count / 2)
    old_strength, new_strength = (int((edges * mask).sum(dtype=np.int64)) for mask in (old, new))
    # + 1: a photo may have no edge at all.
    return float(moved * (new_strength / new_count + 1) / (old_strength / old_count + 1))


def _column(patches: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Patches (N, H, W[, C]) below each other as one image, so that OpenCV takes all in one call."""
    return patches.reshape(-1, *patches.shape[2:])


def _gradient(patches_NHW: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The morphological gradient, without each patch's rim, whose pixels have neighbours outside."""
    gradient = np.asarray(cv2.morphologyEx(_column(patches_NHW), cv2.MORPH_GRADIENT, SQUARE), np.uint8)
    return gradient.reshape(patches_NHW.shape)[:, 1:-1, 1:-1]


def change_features(
    coarse_HW: NDArray[np.uint8], levels_HW: NDArray[np.uint8], probabilities_HW: NDArray[np.float32]
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """What speaks for and against each change that a look at a whole object would make.

    Args:
        coarse_HW: the mask, uint8, 0 or 1, with at least one pixel of either.
        levels_HW: the neighbours (`neighbours.neighbour_levels`), uint8.
        probabilities_HW: the network's answer at the same size, float32 0..1.

    Returns:
        Which pixels would change, bool (H, W); and of each, float64 (K, 4) in the order of GATE_FEATURES: the size of
        the log-odds, the distance to the coarse boundary as a share of the object's size (the square root of its area),
        1 where the object loses the pixel, and the neighbour's level, 0..1.
    """
    is_coarse_HW = coarse_HW > 0
    changed_HW = (probabilities_HW > 0.5) != is_coarse_HW
    p = np.clip(probabilities_HW[changed_HW].astype(np.float64), LEAST_DOUBT, 1 - LEAST_DOUBT)
    lost = is_coarse_HW[changed_HW]
    inside_HW, outside_HW = (cv2.distanceTransform(mask, cv2.DIST_L2, 5) for mask in (coarse_HW, 1 - coarse_HW))
    distance = np.where(lost, np.asarray(inside_HW)[changed_HW], np.asarray(outside_HW)[changed_HW])
    size = float(np.count_nonzero(coarse_HW)) ** 0.5
    sureness = np.abs(np.log(p / (1 - p)))
    return changed_HW, np.stack((sureness, distance / size, lost, levels_HW[changed_HW] / CERTAIN), axis=1)


def likely_right(features: NDArray[np.float64], gate: Sequence[float]) -> NDArray[np.float64]:
    """How likely each change is right, 0..1: float64 (K,).

    Args:
        features: of `change_features`, (K, 4).
        gate: of the model: an intercept, and a weight for each of GATE_FEATURES.
    """
    return np.asarray(np.exp(-np.logaddexp(0, -(gate[0] + features @ np.asarray(gate[1:])))))
