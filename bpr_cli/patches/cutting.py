"""Patches cut out of images and masks."""

from __future__ import annotations

from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

Pixel = TypeVar("Pixel", np.uint8, np.float32)


def crop(image: NDArray[np.uint8], boxes: NDArray[np.int64], padding: int = 0) -> NDArray[np.uint8]:
    """Cut boxes of one size out of an image or a mask.

    Args:
        image: uint8, HWC or HW.
        boxes: (N, 4) x1 y1 x2 y2, all of one size; they may reach beyond the image.
        padding: pixels of context to add on each side, at least 0.

    Returns:
        uint8 (N, h + 2 padding, w + 2 padding[, C]), a copy; pixels beyond the image repeat its edge.

    Raises:
        ValueError: the boxes differ in size.
    """
    width, height = (side + 2 * padding for side in box_size(boxes))
    last_x, last_y = image.shape[1] - width, image.shape[0] - height
    patches = [
        image[y : y + height, x : x + width]
        if 0 <= x <= last_x and 0 <= y <= last_y
        else _cut_with_border(image, x, y, width, height)
        for x, y in (boxes[:, :2] - padding).tolist()
    ]
    return np.array(patches, np.uint8).reshape(len(patches), height, width, *image.shape[2:])


def _cut_with_border(image: NDArray[np.uint8], x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
    """The patch whose top left pixel is x, y, the image's edge repeated where it ends."""
    rows = np.clip(np.arange(y, y + height), 0, image.shape[0] - 1)
    columns = np.clip(np.arange(x, x + width), 0, image.shape[1] - 1)
    return image[rows[0] : rows[-1] + 1, columns][rows - rows[0]]


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


def resize_patches(patches: NDArray[Pixel], height: int, width: int, interpolation: int) -> NDArray[Pixel]:
    """Patches (N, h, w[, C]) at another size, for the "instance" scheme, by an OpenCV interpolation."""
    resized = [cv2.resize(patch, (width, height), interpolation=interpolation) for patch in patches]
    shape = (len(patches), height, width, *patches.shape[3:])
    return np.array(resized, patches.dtype).reshape(shape)
