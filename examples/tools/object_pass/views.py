"""Views: windows of a photo with a mask and its neighbours, as the network takes them.

Windows are x1 y1 x2 y2 in the photo's integer pixels, end exclusive; they may reach beyond the photo, whose edge pixels
are repeated there. A view is a window at VIEW x VIEW pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from photos import Object

from bpr_cli import patches
from bpr_cli.masks import Mask
from bpr_cli.patches.boxes import RIM, SHORTEST_OBJECT, WIDENED
from bpr_cli.refining.crowding import is_same_object

VIEW = 128  # px, side of the network's input

Window = tuple[int, int, int, int]


class View(NamedTuple):
    """What the network is shown: uint8 RGB (VIEW, VIEW, 3); the mask, float -1..1, and the neighbours, 0..1."""

    image_HWC: NDArray[np.uint8]
    coarse_HW: NDArray[np.floating[Any]]
    neighbours_HW: NDArray[np.floating[Any]]


def object_box(mask: Mask) -> tuple[float, float, float, float]:
    """The box of the object scheme (`bpr_cli.patches.propose_boxes`) before it is rounded to pixels."""
    x1, y1, x2, y2 = mask.box_xyxy
    width, height = ((end - start) * (1 + 2 * WIDENED) + 2 * RIM for start, end in ((x1, x2), (y1, y2)))
    width, height = max(width, height / 2, SHORTEST_OBJECT), max(height, width / 2, SHORTEST_OBJECT)
    x, y = (x1 + x2) / 2, (y1 + y2) / 2
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def rounded(box: Sequence[float]) -> Window:
    """The window of whole pixels that holds a box, 8 px a side at least."""
    x1, y1 = int(np.floor(box[0])), int(np.floor(box[1]))
    return x1, y1, max(x1 + 8, int(np.ceil(box[2]))), max(y1 + 8, int(np.ceil(box[3])))


def around(mask: Mask, margin: float) -> Window:
    x1, y1, x2, y2 = mask.box_xyxy
    return rounded((x1 - margin, y1 - margin, x2 + margin, y2 + margin))


def cut(mask: Mask, window: Window) -> NDArray[np.uint8]:
    """A mask's pixels in a window, 0 beyond the photo: uint8 HW."""
    x1, y1, x2, y2 = window
    pixels_HW = np.zeros((y2 - y1, x2 - x1), np.uint8)
    left, top, right, bottom = common(mask.box_xyxy, window)
    if left < right and top < bottom:
        own_HW = mask.pixels_HW[top - mask.y1 : bottom - mask.y1, left - mask.x1 : right - mask.x1]
        pixels_HW[top - y1 : bottom - y1, left - x1 : right - x1] = own_HW
    return pixels_HW


def in_photo(pixels_HW: NDArray[np.uint8], window: Window, like: Mask) -> Mask:
    """A window's pixels as a mask of the photo that `like` is of, not cropped further than to the photo."""
    height, width = like.image_height, like.image_width
    x1, y1 = max(window[0], 0), max(window[1], 0)
    inside_HW = pixels_HW[y1 - window[1] : height - window[1], x1 - window[0] : width - window[0]]
    return Mask(np.ascontiguousarray(inside_HW), x1, y1, height, width)


def neighbour_levels(
    form: Sequence[Object],
    index: int,
    window: Window,
    factor: float = 1.0,
    is_missing: Callable[[], bool] = lambda: False,
) -> NDArray[np.float32]:
    """Of each pixel the largest score of another detection there as a share of the own one's: float32 HW, 0..1.

    As `bpr_cli.refining.neighbours` gives them, but for these:

    Args:
        factor: of all levels.
        is_missing: whether the next detection near is left out.
    """
    x1, y1, x2, y2 = window
    mask, _, own = form[index]
    levels_HW = np.zeros((y2 - y1, x2 - x1), np.float32)
    for place, other in enumerate(form):
        left, top, right, bottom = common(other.mask.box_xyxy, window)
        if place == index or left >= right or top >= bottom or is_missing() or is_same_object(mask, other.mask):
            continue
        level = np.float32(min(1.0, factor * other.score / own))
        np.maximum(levels_HW, cut(other.mask, window) * level, out=levels_HW)
    return levels_HW


def view_of(image_HWC: NDArray[np.uint8], mask: Mask, neighbours_HW: NDArray[np.float32], window: Window) -> View:
    """The view of a window, its mask and neighbours float32."""
    image = patches.crop(image_HWC, np.array([window], np.int64))[0]
    shape = mask.image_height, mask.image_width
    coarse_HW = _resized(_edge_repeated(cut(mask, window).astype(np.float32), window, shape)) * 2 - 1
    return View(_resized(image), coarse_HW, _resized(_edge_repeated(neighbours_HW, window, shape)))


def stored(view: View) -> View:
    """The view with its mask and neighbours in half the size."""
    return View(view.image_HWC, view.coarse_HW.astype(np.float16), view.neighbours_HW.astype(np.float16))


def truth_of(truth: Mask, window: Window) -> NDArray[np.uint8]:
    """The truth at the view's size: uint8, 0 or 1."""
    pixels_HW = cut(truth, window).astype(np.float32)
    shown_HW = _resized(_edge_repeated(pixels_HW, window, (truth.image_height, truth.image_width)))
    return (shown_HW > 0.5).astype(np.uint8)


def common(box: Window, other: Window) -> Window:
    return max(box[0], other[0]), max(box[1], other[1]), min(box[2], other[2]), min(box[3], other[3])


def _edge_repeated(pixels_HW: NDArray[Any], window: Window, shape: tuple[int, int]) -> NDArray[Any]:
    """A window's pixels, those beyond the photo of this (height, width) those of its edge."""
    x1, y1, x2, y2 = window
    left, top, right, bottom = inside = common(window, (0, 0, shape[1], shape[0]))
    if inside == window:
        return pixels_HW
    part_HW = pixels_HW[top - y1 : bottom - y1, left - x1 : right - x1]
    border = top - y1, y2 - bottom, left - x1, x2 - right
    return np.asarray(cv2.copyMakeBorder(part_HW, *border, cv2.BORDER_REPLICATE))


def _resized(pixels: NDArray[Any]) -> NDArray[Any]:
    shrinks = max(pixels.shape[:2]) > VIEW
    return np.asarray(cv2.resize(pixels, (VIEW, VIEW), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR))
