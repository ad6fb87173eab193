"""Whether a refinement is worth its risk: if the photo does not bear it out, the mask is returned as it came."""

from __future__ import annotations

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
    strength = _inside(_gradient(_grey(images_NHWC)))
    old, new = (_inside(_gradient(masks)) > 0 for masks in (before_NHW, after_NHW))
    length = np.count_nonzero(old) / 2  # a contour's gradient is two pixels wide: one on either side
    if not length or not new.any():
        return 0.0
    moved = np.count_nonzero(_inside(before_NHW) != _inside(after_NHW)) / length
    # One is added so that a photo without any edge is no division by zero.
    return float(moved * (strength[new].mean() + 1) / (strength[old].mean() + 1))


def _grey(images_NHWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
    count, height, width, _ = images_NHWC.shape
    grey = cv2.cvtColor(images_NHWC.reshape(count * height, width, 3), cv2.COLOR_RGB2GRAY)
    return np.asarray(grey, np.uint8).reshape(count, height, width)


def _gradient(patches_NHW: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Largest less smallest value among nine neighbours. Right inside the patches, not on their rims: they are one
    tall image here, which is many times as fast as one by one."""
    stacked = np.ascontiguousarray(patches_NHW).reshape(-1, patches_NHW.shape[2])
    gradient = cv2.morphologyEx(stacked, cv2.MORPH_GRADIENT, NEIGHBOURS)
    return np.asarray(gradient, np.uint8).reshape(patches_NHW.shape)


def _inside(patches_NHW: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return patches_NHW[:, 1:-1, 1:-1]
