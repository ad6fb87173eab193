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


def crowding(masks: Sequence[Mask]) -> list[float]:
    """How crowded each mask of one image is.

    Args:
        masks: all masks of the image; empty ones have no boundary and are nobody's neighbour.

    Returns:
        For each the share of its boundary, 0..1, that has another object within some 16 px.
    """
    if len(masks) < 2:
        return [0.0] * len(masks)
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
            is_neighbour[place] = not _is_same(masks[index], masks[np.flatnonzero(close)[place]])
        shares.append(_share_beside(own_HW, others_NHW[is_neighbour]))
    return shares


def _is_same(first: Mask, second: Mask) -> bool:
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


def _share_beside(own_HW: NDArray[np.uint8], others_NHW: NDArray[np.uint8]) -> float:
    """Share of the cells on a mask's boundary that have a cell of another mask nearby."""
    if len(others_NHW) == 0:
        return 0.0
    # The image's border is no boundary: when it erodes, cv2 takes what is beyond the grid for object.
    boundary = own_HW > cv2.erode(own_HW, NEIGHBOURHOOD)
    beside = cv2.dilate(np.bitwise_or.reduce(others_NHW), SURROUNDINGS) > 0
    length = np.count_nonzero(boundary)
    return float(np.count_nonzero(boundary & beside) / length) if length else 0.0
