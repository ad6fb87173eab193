"""The part of an image in which an instance's patches lie, and what boxes have in common."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from bpr_cli.masks import Mask


class Window(NamedTuple):
    """A part of an image: a mask's pixels there (uint8, 0 or 1) and where the top left one lies."""

    pixels_HW: NDArray[np.uint8]
    x1: int
    y1: int


def window_with_ring(mask: Mask) -> Window:
    """The mask with one pixel of background on each side that isn't the image's border.

    Replicating the edges of this window is right everywhere: at the image's border by rule, elsewhere because
    both the ring and what lies beyond it are background.
    """
    x1, y1, x2, y2 = mask.box_xyxy
    left, top = int(x1 > 0), int(y1 > 0)
    right, bottom = int(x2 < mask.image_width), int(y2 < mask.image_height)
    pixels = cv2.copyMakeBorder(mask.pixels_HW, top, bottom, left, right, cv2.BORDER_CONSTANT, value=0)
    return Window(np.asarray(pixels, np.uint8), x1 - left, y1 - top)


def window_around(mask: Mask, boxes: NDArray[np.int64], *, padding: int = 0, whole_mask: bool = False) -> Window:
    """A new window that holds the image's part of all boxes, at least one pixel of it.

    Args:
        mask: its pixels are copied into the window.
        boxes: (N, 4), N at least 1.
        padding: pixels by which the boxes are extended on each side.
        whole_mask: extend the window so that no pixel of the mask is left out.
    """
    width, height = mask.image_width, mask.image_height
    mask_x1, mask_y1, mask_x2, mask_y2 = mask.box_xyxy
    lefts, tops, rights, bottoms = boxes.T.tolist()  # a few numbers: Python finds the least of them sooner than numpy
    x1, y1, x2, y2 = min(lefts) - padding, min(tops) - padding, max(rights) + padding, max(bottoms) + padding
    if whole_mask and mask.pixels_HW.size:
        x1, y1, x2, y2 = min(x1, mask_x1), min(y1, mask_y1), max(x2, mask_x2), max(y2, mask_y2)
    x1, x2 = max(0, min(x1, width - 1)), min(width, max(x2, 1))
    y1, y2 = max(0, min(y1, height - 1)), min(height, max(y2, 1))
    pixels = np.zeros((y2 - y1, x2 - x1), np.uint8)
    left, top, right, bottom = max(x1, mask_x1), max(y1, mask_y1), min(x2, mask_x2), min(y2, mask_y2)
    if left < right and top < bottom:
        part = mask.pixels_HW[top - mask_y1 : bottom - mask_y1, left - mask_x1 : right - mask_x1]
        pixels[top - y1 : bottom - y1, left - x1 : right - x1] = part
    return Window(pixels, x1, y1)


def box_size(boxes: NDArray[np.int64]) -> tuple[int, int]:
    """Width and height that all boxes share; 0, 0 without boxes.

    Raises:
        ValueError: the boxes differ in size, or are empty.
    """
    sizes = {(x2 - x1, y2 - y1) for x1, y1, x2, y2 in boxes.tolist()}
    size = sizes.pop() if sizes else (0, 0)
    if sizes or (len(boxes) and min(size) < 1):
        raise ValueError("the boxes are not of one size")
    return size


def as_binary(mask_HW: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Any integer or bool array as uint8, 0 or 1; a view where the input is bool, else a copy."""
    binary = mask_HW if mask_HW.dtype == np.bool_ else mask_HW != 0
    return np.ascontiguousarray(binary).view(np.uint8)
