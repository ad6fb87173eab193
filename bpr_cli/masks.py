"""A mask is kept as the crop of its image that holds it.

Full frames are never made: a stack of 100 masks of 1024x2048 would be 200 MB.

Coordinates are integer pixels, (0, 0) the top left pixel; boxes are x1 y1 x2 y2 with the end exclusive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Mask:
    """A binary mask of an image, cropped.

    Attributes:
        pixels_HW: uint8, 0 or 1, C-contiguous; the crop. 0x0 for an empty mask.
        x1, y1: where the crop's top left pixel lies in the image.
        image_height, image_width: the image's size in pixels.
    """

    pixels_HW: NDArray[np.uint8]
    x1: int
    y1: int
    image_height: int
    image_width: int

    @property
    def box_xyxy(self) -> tuple[int, int, int, int]:
        """The crop's place in the image."""
        height, width = self.pixels_HW.shape
        return self.x1, self.y1, self.x1 + width, self.y1 + height

    @property
    def area(self) -> int:
        """Number of foreground pixels."""
        return cv2.countNonZero(self.pixels_HW)


def crop_mask(mask_HW: NDArray[np.generic], x1: int, y1: int, image_height: int, image_width: int) -> Mask:
    """A `Mask` cropped tight to its foreground.

    Args:
        mask_HW: any integer or bool array, foreground nonzero, a window of the image.
        x1, y1: where the window lies in the image (0, 0 for a full frame).
        image_height, image_width: the image's size.
    """
    binary = mask_HW if mask_HW.dtype in (np.bool_, np.uint8) else mask_HW != 0
    left, top, width, height = cv2.boundingRect(binary.view(np.uint8)) if binary.size else (0, 0, 0, 0)
    if width == 0:
        return Mask(np.zeros((0, 0), np.uint8), 0, 0, image_height, image_width)
    window = binary[top : top + height, left : left + width]
    pixels = np.ascontiguousarray(window if window.dtype == np.bool_ else window != 0).view(np.uint8)
    return Mask(pixels, x1 + left, y1 + top, image_height, image_width)


def to_frame(mask: Mask) -> NDArray[np.uint8]:
    """The mask as a full frame: (image_height, image_width) uint8, 0 or 1."""
    frame = np.zeros((mask.image_height, mask.image_width), np.uint8)
    x1, y1, x2, y2 = mask.box_xyxy
    frame[y1:y2, x1:x2] = mask.pixels_HW
    return frame


def bbox_xywh(mask: Mask) -> list[float]:
    """COCO's `bbox` of the mask: x, y, width, height in pixels; zeros for an empty mask."""
    tight = crop_mask(mask.pixels_HW, mask.x1, mask.y1, mask.image_height, mask.image_width)
    x1, y1, x2, y2 = tight.box_xyxy
    return [float(x1), float(y1), float(x2 - x1), float(y2 - y1)]


def is_same(first: Mask, second: Mask) -> bool:
    """Whether two masks, both cropped tight, have the same pixels."""
    return first.box_xyxy == second.box_xyxy and np.array_equal(first.pixels_HW, second.pixels_HW)


def union(masks: Sequence[Mask]) -> Mask:
    """All pixels of one or more masks of one image."""
    x1, y1 = min(m.x1 for m in masks), min(m.y1 for m in masks)
    x2, y2 = max(m.box_xyxy[2] for m in masks), max(m.box_xyxy[3] for m in masks)
    window_HW = np.zeros((y2 - y1, x2 - x1), np.uint8)
    for mask in masks:
        left, top, right, bottom = mask.box_xyxy
        window_HW[top - y1 : bottom - y1, left - x1 : right - x1] |= mask.pixels_HW
    return crop_mask(window_HW, x1, y1, masks[0].image_height, masks[0].image_width)


def intersection_over_union(first: Mask, second: Mask) -> float:
    """IoU of two masks of one image, 0..1; 0 if both are empty."""
    common = common_pixels(first, second)
    union = first.area + second.area - common
    return common / union if union else 0.0


def common_pixels(first: Mask, second: Mask) -> int:
    """Number of pixels that two masks of one image share."""
    x1, y1 = max(first.x1, second.x1), max(first.y1, second.y1)
    x2, y2 = (min(a, b) for a, b in zip(first.box_xyxy[2:], second.box_xyxy[2:], strict=True))
    if x1 >= x2 or y1 >= y2:
        return 0
    first_HW, second_HW = (m.pixels_HW[y1 - m.y1 : y2 - m.y1, x1 - m.x1 : x2 - m.x1] for m in (first, second))
    return int(np.count_nonzero(first_HW & second_HW))
