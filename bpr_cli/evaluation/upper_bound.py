"""What a perfect refiner could reach: the pixels near the predicted boundary taken from ground truth."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from bpr_cli.masks import Mask, crop_mask
from bpr_cli.patches import boundary_scores


def true_near_boundary(mask: Mask, truth: Mask, radius: float) -> Mask:
    """The mask with all pixels within `radius` px of its boundary replaced by the ground truth's.

    The upper bound of the boundary patch refinement paper (table 1). Boundary pixels are those that have both kinds
    among themselves and their eight neighbours (`patches.boundary_scores` > 0): one on either side of the edge. They
    are within 1 px of it, and Euclidean distance is counted on from them.

    Args:
        mask: a prediction.
        truth: its object, of the same image.
        radius: in pixels, >= 1.
    """
    if not mask.area:
        return mask
    reach = int(np.ceil(radius)) + 1
    window = (
        max(mask.x1 - reach, 0),
        max(mask.y1 - reach, 0),
        min(mask.box_xyxy[2] + reach, mask.image_width),
        min(mask.box_xyxy[3] + reach, mask.image_height),
    )
    mask_HW = cut(mask, window)
    plain_HW = np.asarray(boundary_scores(mask_HW) == 0, np.uint8)
    away_HW = cv2.distanceTransform(plain_HW, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) + 1
    mixed_HW = np.where(away_HW <= radius, cut(truth, window), mask_HW)
    return crop_mask(mixed_HW, window[0], window[1], mask.image_height, mask.image_width)


def cut(mask: Mask, window_xyxy: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    """The mask's pixels in a window of the image: uint8, 0 or 1, background where its crop does not reach."""
    x1, y1, x2, y2 = window_xyxy
    window_HW = np.zeros((y2 - y1, x2 - x1), np.uint8)
    left, top, right, bottom = mask.box_xyxy
    inner = max(left, x1), max(top, y1), min(right, x2), min(bottom, y2)
    if inner[0] < inner[2] and inner[1] < inner[3]:
        window_HW[inner[1] - y1 : inner[3] - y1, inner[0] - x1 : inner[2] - x1] = mask.pixels_HW[
            inner[1] - top : inner[3] - top, inner[0] - left : inner[2] - left
        ]
    return window_HW
