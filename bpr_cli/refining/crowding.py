"""How much of an object's boundary has other objects beside it.

There a patch shows more than one object and says nothing of which is meant, so refinements are wrong more often
(models/LOG.md). Seen on a coarse grid over the image: it is a question of "near", not of pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from bpr_cli.masks import Mask, common_pixels

CELL = 8  # px, side of a grid cell; eight pixels of a row are one 64-bit number
NEAR = 2  # cells within which another object counts as beside the boundary
# A mask that shares this much of the smaller of two is another try at the same object, or a part of it: no neighbour.
SAME = 0.5
NEIGHBOURHOOD = np.ones((3, 3), np.uint8)
SURROUNDINGS = np.ones((2 * NEAR + 1, 2 * NEAR + 1), np.uint8)


def crowding(masks: Sequence[Mask], scores: Sequence[float | None] | None = None) -> list[float]:
    """How crowded each mask of one image is.

    A neighbour counts by how likely it is an object, beside the mask's own likelihood: its score as a share of the
    mask's, 1 at most. So the many detections of next to no score in a file that was not cut make nothing crowded.

    Args:
        masks: all masks of the image; empty ones have no boundary and are nobody's neighbour.
        scores: of each mask, 0 or more; None for masks that are certain (annotations).

    Returns:
        For each the share of its boundary, 0..1, that has another object within some 16 px; each stretch counts by
        the likeliest object beside it.
    """
    if len(masks) < 2:
        return [0.0] * len(masks)
    likelihoods = likelihoods_of(scores, len(masks))
    cells_NHW = np.array([_cells(mask) for mask in masks])
    sizes = np.count_nonzero(cells_NHW, axis=(1, 2))
    boxes = np.array([mask.box_xyxy for mask in masks])
    starts, ends = boxes[:, :2] // CELL - NEAR, -(-boxes[:, 2:] // CELL) + NEAR  # in cells, x y
    shares = []
    for index, (start, end) in enumerate(zip(np.maximum(starts, 0), ends, strict=True)):
        close = ((starts + NEAR < end) & (ends - NEAR > start)).all(axis=1)
        close[index] = False
        window = np.s_[..., start[1] : end[1], start[0] : end[0]]
        own_HW, others_NHW = cells_NHW[index][window], cells_NHW[window][close]
        common = np.count_nonzero(others_NHW & own_HW, axis=(1, 2))
        is_neighbour = common < SAME * np.minimum(sizes[close], sizes[index])
        # Small neighbours may share cells without sharing pixels.
        for place in np.flatnonzero(~is_neighbour):
            is_neighbour[place] = not is_same_object(masks[index], masks[np.flatnonzero(close)[place]])
        weights = relative(likelihoods[close], likelihoods[index])[is_neighbour]
        shares.append(_share_beside(own_HW, others_NHW[is_neighbour], weights))
    return shares


def likelihoods_of(scores: Sequence[float | None] | None, count: int) -> NDArray[np.float64]:
    """Scores (N,) of `count` masks; 1 for those that have none."""
    return np.array([1.0 if score is None else score for score in scores or [None] * count])


def relative(likelihoods_N: NDArray[np.float64], own: float) -> NDArray[np.float64]:
    """Likelihoods as shares of the own one, 1 at most; beside an object of no score each counts in full."""
    return np.clip(likelihoods_N / own, 0.0, 1.0) if own > 0 else np.ones(len(likelihoods_N))


def is_same_object(first: Mask, second: Mask) -> bool:
    """Whether two masks of one image are two tries at one object, or at it and a part of it."""
    return common_pixels(first, second) >= SAME * min(first.area, second.area)


def _cells(mask: Mask) -> NDArray[np.uint8]:
    """The grid cells in which a mask has pixels: uint8, 0 or 1, of the whole image."""
    grid_height, grid_width = -(-mask.image_height // CELL), -(-mask.image_width // CELL)
    x1, y1, x2, y2 = mask.box_xyxy
    top, bottom = y1 // CELL, -(-y2 // CELL)
    strip = np.zeros(((bottom - top) * CELL, grid_width * CELL), np.uint8)
    strip[y1 - top * CELL : y2 - top * CELL, x1:x2] = mask.pixels_HW
    rows = np.bitwise_or.reduce(strip.view(np.uint64).reshape(bottom - top, CELL, grid_width), axis=1)
    cells_HW = np.zeros((grid_height, grid_width), np.uint8)
    cells_HW[top:bottom] = rows != 0
    return cells_HW


def _share_beside(own_HW: NDArray[np.uint8], others_NHW: NDArray[np.uint8], weights: NDArray[np.float64]) -> float:
    """Mean over the cells on a mask's boundary of the greatest weight that has a cell nearby."""
    if len(others_NHW) == 0:
        return 0.0
    # The image's border is no boundary: when it erodes, cv2 takes what is beyond the grid for object.
    boundary = own_HW > cv2.erode(own_HW, NEIGHBOURHOOD)
    likeliest_HW = np.zeros(own_HW.shape, np.float32)
    for other_HW, weight in zip(others_NHW, weights, strict=True):
        np.maximum(likeliest_HW, other_HW * np.float32(weight), out=likeliest_HW)
    beside = cv2.dilate(likeliest_HW, SURROUNDINGS)
    length = np.count_nonzero(boundary)
    return float(beside[boundary].sum(dtype=np.float64) / length) if length else 0.0
