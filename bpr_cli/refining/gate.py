"""Whether a refinement is worth its risk: if the photo does not bear it out, the mask is returned as it came.

Two judges. Patches show a stretch of boundary: there the photo's own edges decide (`evidence`). A look at the whole
object knows what it is surer of: there a logistic regression on what the network answered, fitted on photos that it was
not trained on, says how likely the new mask is the better one (`likely_better`).
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

SQUARE = np.ones((3, 3), np.uint8)
# The evidence (px) without which a mask is returned as it came, at a caution of 1; and how much more of it crowding
# (`crowding.crowding`, 0..1) asks for: times 1 + CROWDED x crowding. Chosen on training photos: at a caution of 0.4,
# 1 to 3 % of COCO's masks get worse instead of a third, and nearly all of DAVIS' refinements stay (models/LOG.md).
EVIDENCE = 1.5
CROWDED = 10.0
LEVEL_OF_HALF = 127  # 8-bit masks are foreground above it
NEIGHBOUR_LEVEL = 76  # and a neighbour is one above it: at a score of 0.3 of the object's own


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


def gate_features(
    coarse_PP: NDArray[np.uint8],
    neighbours_PP: NDArray[np.uint8],
    probabilities_PP: NDArray[np.float32],
    side: int,
) -> NDArray[np.float64]:
    """What a look at a whole object says of its own worth; in the order of GATE_FEATURES.

    Args:
        coarse_PP, neighbours_PP: what the network was shown, uint8 0..255.
        probabilities_PP: its answer, float32 0..1.
        side: the longer one of the coarse mask's box, in the photo's pixels.
    """
    coarse, refined = coarse_PP > LEVEL_OF_HALF, probabilities_PP > 0.5
    changed = coarse != refined
    # The expected IoU of the refined mask, each pixel foreground with its probability.
    common = probabilities_PP[refined].sum(dtype=np.float64)
    either = common + np.count_nonzero(refined) - common + probabilities_PP[~refined].sum(dtype=np.float64)
    area = max(1, int(np.count_nonzero(coarse)))
    beside = neighbours_PP > NEIGHBOUR_LEVEL
    count = int(np.count_nonzero(changed))
    sureness = np.abs(2 * probabilities_PP[changed] - 1).sum(dtype=np.float64) / count if count else 0.0
    return np.array(
        [
            common / either if either else 0.0,
            sureness,
            np.count_nonzero(refined & ~coarse) / area,
            np.count_nonzero(coarse & ~refined) / area,
            np.log(side),
            np.count_nonzero(beside & changed) / count if count else 0.0,
            np.count_nonzero(beside) / beside.size,
        ]
    )


def likely_better(features: NDArray[np.float64], gate: Sequence[float]) -> float:
    """How likely a refined mask is nearer to the truth than the one before, 0..1.

    Args:
        features: of `gate_features`.
        gate: of the model: an intercept, and a weight for each of GATE_FEATURES.
    """
    return float(1 / (1 + np.exp(-(gate[0] + np.dot(gate[1:], features)))))
