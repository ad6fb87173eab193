"""Whether a refinement is worth its risk: if the photo does not bear it out, the mask is returned as it came."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

NEIGHBOURS = np.ones((3, 3), np.uint8)


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
    strength, old, new = (_gradients(patches) for patches in (_grey(images_NHWC), before_NHW, after_NHW))
    inside = _inside(old.shape[0] // images_NHWC.shape[1], *images_NHWC.shape[1:3])
    old &= inside
    new &= inside
    length = cv2.countNonZero(old) / 2  # a contour's gradient is two pixels wide: one on either side
    if not length or not cv2.countNonZero(new):
        return 0.0
    changed = _stacked(before_NHW ^ after_NHW) & inside
    moved = cv2.countNonZero(changed) / length
    return moved * (_mean(strength, new) + 1) / (_mean(strength, old) + 1)  # + 1: a photo may have no edge at all


def _mean(values: NDArray[np.uint8], where: NDArray[np.uint8]) -> float:
    """Mean of the values where the other array is 1; ten times as fast as `cv2.mean` with a mask."""
    return cv2.sumElems(cv2.multiply(values, where))[0] / cv2.countNonZero(where)


def _grey(images_NHWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
    grey = cv2.cvtColor(images_NHWC.reshape(-1, *images_NHWC.shape[2:]), cv2.COLOR_RGB2GRAY)
    return np.asarray(grey, np.uint8).reshape(images_NHWC.shape[:3])


def _stacked(patches_NHW: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """One tall image, which OpenCV works through many times as fast as through the patches one by one."""
    return patches_NHW.reshape(-1, patches_NHW.shape[2])


def _gradients(patches_NHW: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Largest less smallest value among nine neighbours, stacked. Right inside the patches, not on their rims."""
    stacked = _stacked(patches_NHW)
    return np.asarray(cv2.subtract(cv2.dilate(stacked, NEIGHBOURS), cv2.erode(stacked, NEIGHBOURS)), np.uint8)


@lru_cache(maxsize=64)
def _inside(count: int, height: int, width: int) -> NDArray[np.uint8]:
    """1 inside the patches, 0 on their rims, stacked."""
    inside = np.zeros((count, height, width), np.uint8)
    inside[:, 1:-1, 1:-1] = 1
    return _stacked(inside)
