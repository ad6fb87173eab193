"""The part of an image in which an instance's patches lie: they are cut from it, and their answers merged in it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from bpr_cli.masks import Mask
from bpr_cli.patches.cutting import crop


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """A mask's pixels in a part of its image.

    Attributes:
        pixels_HW: uint8, 0 or 1.
        x1, y1: where the top left pixel lies in the image.
    """

    pixels_HW: NDArray[np.uint8]
    x1: int
    y1: int

    def shift(self, boxes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Boxes (N, 4) of the image in the window's own coordinates."""
        return boxes - (self.x1, self.y1, self.x1, self.y1)

    def cut(self, boxes: NDArray[np.int64], padding: int = 0) -> NDArray[np.uint8]:
        """The mask's patches, as `crop` would cut them from the full frame; boxes in the image's coordinates."""
        return crop(self.pixels_HW, self.shift(boxes), padding)


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


def window_around(mask: Mask, boxes: NDArray[np.int64], padding: int = 0) -> Window:
    """A new window that holds the whole mask and the image's part of all boxes.

    It ends only where the mask, the boxes or the image end, so what `crop` repeats beyond it is the image's edge.

    Args:
        mask: its pixels are copied into the window.
        boxes: (N, 4), N at least 1.
        padding: pixels by which the boxes are extended on each side.
    """
    width, height = mask.image_width, mask.image_height
    mask_x1, mask_y1, mask_x2, mask_y2 = mask.box_xyxy
    (x1, y1), (x2, y2) = (boxes[:, :2].min(axis=0) - padding).tolist(), (boxes[:, 2:].max(axis=0) + padding).tolist()
    if mask.pixels_HW.size:
        x1, y1, x2, y2 = min(x1, mask_x1), min(y1, mask_y1), max(x2, mask_x2), max(y2, mask_y2)
    x1, x2 = max(0, min(x1, width - 1)), min(width, max(x2, 1))
    y1, y2 = max(0, min(y1, height - 1)), min(height, max(y2, 1))
    pixels = np.zeros((y2 - y1, x2 - x1), np.uint8)
    pixels[mask_y1 - y1 : mask_y2 - y1, mask_x1 - x1 : mask_x2 - x1] = mask.pixels_HW
    return Window(pixels, x1, y1)
