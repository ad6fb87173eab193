"""How well two outlines agree: Boundary IoU and the contour F-score.

Both read an instance's crop, never the full frame, and give exactly what the full frame would give.

They treat the image border differently, each as its source does. Boundary IoU counts it as background, so the
band runs along it. The contour F-score does not: where an object is cut off by the image, nobody drew an
outline, and a mask would collect hits there for nothing.
"""

from __future__ import annotations

import cv2
import numpy as np
from cv2.typing import MatLike
from numpy.typing import NDArray

from bpr_cli.masks import Mask, intersection_over_union

SQUARE = np.ones((3, 3), np.uint8)


def boundary_band(mask: Mask, ratio: float = 0.02) -> Mask:
    """The mask's pixels that lie within d of its outline (chessboard distance, image border = background).

    d = max(1, round(ratio x image diagonal)) pixels, as in Boundary IoU (Cheng et al., CVPR 2021).

    Args:
        mask: the whole object.
        ratio: band width as a share of the image diagonal: 0.02 for COCO and LVIS, 0.005 for Cityscapes.

    Returns:
        The band, in the same crop.
    """
    if mask.pixels_HW.size == 0:
        return mask
    width = max(1, round(ratio * float(np.hypot(mask.image_height, mask.image_width))))
    # The ring of zeros stands for everything outside the crop: OpenCV's own border would not erode.
    padded_HW = cv2.copyMakeBorder(mask.pixels_HW, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    inner_HW = np.asarray(cv2.erode(padded_HW, SQUARE, iterations=width), np.uint8)[1:-1, 1:-1]
    band_HW = np.ascontiguousarray(mask.pixels_HW - inner_HW)
    return Mask(band_HW, mask.x1, mask.y1, mask.image_height, mask.image_width)


def boundary_iou(first: Mask, second: Mask, ratio: float = 0.02) -> float:
    """Boundary IoU of two masks of one image: the IoU of their bands, 0..1; 0 if both are empty.

    Cheng et al., "Boundary IoU", CVPR 2021. Boundary AP uses min(mask IoU, Boundary IoU) instead.
    """
    return intersection_over_union(boundary_band(first, ratio), boundary_band(second, ratio))


def contour(mask: Mask) -> Mask:
    """The mask's outermost pixels: foreground with background among the eight neighbours.

    Neighbours beyond the image border are no background: an object cut off by the image has no contour there.

    Returns:
        The contour, in the same crop; one pixel wide, closed under 4-connected steps.
    """
    if mask.pixels_HW.size == 0:
        return mask
    padded_HW = cv2.copyMakeBorder(mask.pixels_HW, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    x1, y1, x2, y2 = mask.box_xyxy
    # Rows before columns: a corner outside the crop but inside the image must end up background.
    for edge, at_border in (
        (padded_HW[0], y1 == 0),
        (padded_HW[-1], y2 == mask.image_height),
        (padded_HW[:, 0], x1 == 0),
        (padded_HW[:, -1], x2 == mask.image_width),
    ):
        if not at_border:
            edge[:] = 0
    inner_HW = np.asarray(cv2.erode(padded_HW, SQUARE), np.uint8)[1:-1, 1:-1]
    return Mask(np.ascontiguousarray(mask.pixels_HW - inner_HW), mask.x1, mask.y1, mask.image_height, mask.image_width)


def contour_f_score(prediction: Mask, truth: Mask, tolerance: float = 1.0) -> float:
    """F-score of two contours, 0..1: the boundary F-score of the boundary patch refinement paper.

    Precision is the share of predicted contour pixels within `tolerance` of a true contour pixel, recall the
    share of true contour pixels within `tolerance` of a predicted one; F is their harmonic mean.
    For the contours see `contour`. Its 8-neighbourhood makes them the one pixel band of Boundary IoU;
    only the image border differs.

    Args:
        prediction, truth: masks of one image.
        tolerance: Euclidean distance between pixel centres, >= 0. One pixel is the cross of four neighbours.

    Returns:
        0 if only one of them has a contour. If neither has one (empty, or covering the whole image),
        1 for equal masks and 0 for different ones.

    Raises:
        ValueError: the masks belong to images of different size.
    """
    frames = {(mask.image_height, mask.image_width) for mask in (prediction, truth)}
    if len(frames) > 1:
        raise ValueError(f"masks of images of different size: {sorted(frames)}")
    contours = contour(prediction), contour(truth)
    areas = [line.area for line in contours]
    if not all(areas):
        return float(not any(areas) and prediction.area == truth.area)
    # The union of both crops is enough: hits are counted on contour pixels, and those lie inside it.
    x1, y1 = (min(line.box_xyxy[i] for line in contours) for i in (0, 1))
    x2, y2 = (max(line.box_xyxy[i] for line in contours) for i in (2, 3))
    predicted_HW, true_HW = (_window(line, (x1, y1, x2, y2)) for line in contours)
    disk = _disk(tolerance)
    precision = _hits(predicted_HW, cv2.dilate(true_HW, disk)) / areas[0]
    recall = _hits(true_HW, cv2.dilate(predicted_HW, disk)) / areas[1]
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _hits(line_HW: NDArray[np.uint8], allowed_HW: MatLike) -> int:
    return int(np.count_nonzero(line_HW & np.asarray(allowed_HW, np.uint8)))


def _window(mask: Mask, box_xyxy: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    """The mask in a window that holds its crop: (y2 - y1, x2 - x1) uint8, 0 or 1."""
    x1, y1, x2, y2 = box_xyxy
    window_HW = np.zeros((y2 - y1, x2 - x1), np.uint8)
    left, top, right, bottom = mask.box_xyxy
    window_HW[top - y1 : bottom - y1, left - x1 : right - x1] = mask.pixels_HW
    return window_HW


def _disk(radius: float) -> NDArray[np.uint8]:
    """All offsets of Euclidean length <= radius as a dilation kernel, (2r + 1, 2r + 1) uint8."""
    reach = int(radius)
    offsets = np.arange(-reach, reach + 1)
    return (offsets[:, None] ** 2 + offsets**2 <= radius**2).astype(np.uint8)
