"""A mask is kept as the crop of its image that holds it; RLE comes in and goes out.

Full frames are made only inside pycocotools' decode and encode, one instance at a time: at 100 instances
of 1024x2048 a stack of full-frame masks would be 200 MB.

Coordinates are integer pixels, (0, 0) the top left pixel; boxes are x1 y1 x2 y2 with the end exclusive.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask


class RLE(TypedDict):
    """COCO's compressed run-length encoding, JSON-ready."""

    size: list[int]  # [height, width]
    counts: str


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
        return int(np.count_nonzero(self.pixels_HW))


def crop_mask(mask_HW: NDArray[np.generic], x1: int, y1: int, image_height: int, image_width: int) -> Mask:
    """A `Mask` cropped tight to its foreground.

    Args:
        mask_HW: any integer or bool array, foreground nonzero, a window of the image.
        x1, y1: where the window lies in the image (0, 0 for a full frame).
        image_height, image_width: the image's size.
    """
    rows = np.flatnonzero(mask_HW.any(axis=1))
    if rows.size == 0:
        return Mask(np.zeros((0, 0), np.uint8), 0, 0, image_height, image_width)
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    columns = np.flatnonzero(mask_HW[top:bottom].any(axis=0))
    left, right = int(columns[0]), int(columns[-1]) + 1
    window = mask_HW[top:bottom, left:right]
    pixels = np.ascontiguousarray(window if window.dtype == np.bool_ else window != 0).view(np.uint8)
    return Mask(pixels, x1 + left, y1 + top, image_height, image_width)


def to_frame(mask: Mask) -> NDArray[np.uint8]:
    """The mask as a full frame: (image_height, image_width) uint8, 0 or 1."""
    frame = np.zeros((mask.image_height, mask.image_width), np.uint8)
    x1, y1, x2, y2 = mask.box_xyxy
    frame[y1:y2, x1:x2] = mask.pixels_HW
    return frame


def decode_rle(rle: RLE) -> Mask:
    """The mask of a compressed RLE (`counts` str or bytes). Broken counts make pycocotools raise ValueError."""
    height, width = rle["size"]
    x, y, w, h = (int(v) for v in coco_mask.toBbox(rle))
    if w == 0 or h == 0:
        return Mask(np.zeros((0, 0), np.uint8), 0, 0, height, width)
    pixels = np.ascontiguousarray(coco_mask.decode(rle)[y : y + h, x : x + w])
    return Mask(pixels, x, y, height, width)


def encode_rle(mask: Mask) -> RLE:
    """The compressed RLE of a mask, `counts` as str so that it goes into JSON as it is."""
    frame = np.zeros((mask.image_height, mask.image_width), np.uint8, order="F")
    x1, y1, x2, y2 = mask.box_xyxy
    frame[y1:y2, x1:x2] = mask.pixels_HW
    rle = coco_mask.encode(frame)
    return {"size": [mask.image_height, mask.image_width], "counts": rle["counts"].decode("ascii")}


def bbox_xywh(mask: Mask) -> list[float]:
    """COCO's `bbox` of the mask: x, y, width, height in pixels; zeros for an empty mask."""
    tight = crop_mask(mask.pixels_HW, mask.x1, mask.y1, mask.image_height, mask.image_width)
    x1, y1, x2, y2 = tight.box_xyxy
    return [float(x1), float(y1), float(x2 - x1), float(y2 - y1)]
