"""Whether a refinement is worth its risk: if the photo does not bear it out, the mask is returned as it came."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray


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
    width = images_NHWC.shape[2]
    inside = _inside(*before_NHW.shape)
    grey = _grey(images_NHWC)
    strength = _nine(np.maximum, grey, width) - _nine(np.minimum, grey, width)
    old, new = _boundaries(before_NHW.ravel(), after_NHW.ravel(), inside, width)
    old_count, new_count = cv2.countNonZero(old), cv2.countNonZero(new)
    if not old_count or not new_count:
        return 0.0
    length = old_count / 2  # a contour's gradient is two pixels wide: one on either side
    changed = _middle((before_NHW ^ after_NHW).ravel(), width) & inside
    moved = cv2.countNonZero(changed) / length
    # + 1: a photo may have no edge at all.
    return moved * (_sum(strength, new) / new_count + 1) / (_sum(strength, old) / old_count + 1)


def _grey(images_NHWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
    grey = cv2.cvtColor(images_NHWC.reshape(len(images_NHWC), -1, 3), cv2.COLOR_RGB2GRAY)
    return np.asarray(grey, np.uint8).ravel()


def _boundaries(
    before: NDArray[np.uint8], after: NDArray[np.uint8], inside: NDArray[np.uint8], width: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """1 where a mask has both classes among its nine, for both masks at once: as two bits of one number."""
    both = before + before
    both |= after
    mixed = _nine(np.bitwise_or, both, width) ^ _nine(np.bitwise_and, both, width)
    return np.right_shift(mixed, 1, dtype=np.uint8) & inside, mixed & inside


def _nine(choose: np.ufunc, pixels: NDArray[np.uint8], width: int) -> NDArray[np.uint8]:
    """What is chosen of each pixel's nine: of three in its row, then of three of these below each other.

    For the `_middle` of patches one row after another; wrong on the patches' rims, where a neighbour lies in the next
    row or patch. Whole arrays against themselves shifted take a fifth of the time of `cv2.morphologyEx`.
    """
    for step in (1, width):
        two = choose(pixels[: -2 * step], pixels[step:-step])
        pixels = choose(two, pixels[2 * step :], out=two)
    return pixels


def _middle(pixels: NDArray[np.uint8], width: int) -> NDArray[np.uint8]:
    """Those of which all nine neighbours are in the array."""
    return pixels[width + 1 : -width - 1]


@lru_cache(maxsize=32)
def _inside(count: int, height: int, width: int) -> NDArray[np.uint8]:
    """1 inside the patches, 0 on their rims; the `_middle` of them. Read-only."""
    inside = np.zeros((count, height, width), np.uint8)
    inside[:, 1:-1, 1:-1] = 1
    inside.flags.writeable = False  # made once, for all calls
    return _middle(inside.ravel(), width)


def _sum(values: NDArray[np.uint8], where: NDArray[np.uint8]) -> float:
    """Sum of the values where the other array is 1; a tenth of the time of `cv2.mean` with a mask."""
    return float(cv2.sumElems((values * where)[None])[0])
