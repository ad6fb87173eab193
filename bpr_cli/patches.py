"""Where patches lie along a mask's boundary, how they are cut out, how their answers are put back.

Nothing here is larger than the instance: scores, the choice of boxes and merging happen in a window around the
mask's box, because ten small objects in a large photo should cost ten small windows.

Pixels are integer, (0, 0) the top left one. Boxes are int64 x1 y1 x2 y2, end exclusive; a square of side P
centred on pixel (x, y) starts at (x - P // 2, y - P // 2). Beyond the image's border lies a copy of its edge pixels,
so the border itself is no object boundary.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from bpr_cli.masks import Mask, crop_mask

SCHEMES = ("dense", "grid", "instance")
TIE_ORDERS = ("contour", "raster")


def boundary_scores(mask_HW: NDArray[np.generic]) -> NDArray[np.float32]:
    """How evenly each pixel's 3x3 neighbourhood is split between object and background.

    Args:
        mask_HW: any integer or bool array, foreground nonzero; a full frame, its edges are replicated.

    Returns:
        float32 HW: min(c, 9 - c) / 4.5 with c the number of foreground pixels among the nine, so 0 (uniform) to 4 / 4.5.
    """
    return _levels(_as_binary(mask_HW)).astype(np.float32) / np.float32(4.5)


def propose_boxes(
    mask_HW: NDArray[np.generic],
    patch_size: int = 64,
    nms_threshold: float = 0.25,
    scheme: str = "dense",
    tie_order: str = "contour",
) -> NDArray[np.int64]:
    """`propose_boxes_in` for a mask given as a full frame (integer or bool, foreground nonzero)."""
    height, width = mask_HW.shape
    return propose_boxes_in(
        crop_mask(mask_HW, 0, 0, height, width), patch_size, nms_threshold, scheme, tie_order
    )


def propose_boxes_in(
    mask: Mask,
    patch_size: int = 64,
    nms_threshold: float = 0.25,
    scheme: str = "dense",
    tie_order: str = "contour",
) -> NDArray[np.int64]:
    """Boxes of the patches that cover a mask's boundary, best first.

    Args:
        mask: the coarse mask.
        patch_size: side of the boxes, at least 1.
        nms_threshold: 0..1; of two boxes whose IoU (before shifting) is above it, only the better one stays.
        scheme: "dense": squares centred on boundary pixels, thinned out by greedy NMS on their boundary score;
            "grid": the cells of a regular grid that hold both classes; "instance": the mask's own bounding box,
            whatever its size.
        tie_order: order among equal scores, for "dense": "contour" walks along the contour in even steps
            and needs fewer patches; "raster" takes rows from the top.

    Returns:
        (N, 4) int64 x1 y1 x2 y2 in image coordinates, shifted inside the image. An image smaller than a patch counts
        as padded at its right and bottom, so there boxes start at 0 and end outside. (0, 4) for a
        mask without boundary: empty, or the whole image.

    Raises:
        ValueError: an argument is out of its range.
    """
    if patch_size < 1 or not 0.0 <= nms_threshold <= 1.0:
        raise ValueError(f"patch size {patch_size} or NMS threshold {nms_threshold} out of range")
    if scheme not in SCHEMES or tie_order not in TIE_ORDERS:
        raise ValueError(f"no scheme {scheme!r} with tie order {tie_order!r}: {SCHEMES}, {TIE_ORDERS}")
    if mask.pixels_HW.size == 0:
        return np.zeros((0, 4), np.int64)
    if scheme == "instance":
        tight = crop_mask(mask.pixels_HW, mask.x1, mask.y1, mask.image_height, mask.image_width)
        without_boundary = tight.area in (0, mask.image_height * mask.image_width)
        return np.array([] if without_boundary else tight.box_xyxy, np.int64).reshape(-1, 4)
    if scheme == "grid":
        return _grid_boxes(mask, patch_size)
    centres_xy = _dense_centres(mask, patch_size, nms_threshold, tie_order)
    return _inside(centres_xy - patch_size // 2, mask, patch_size)


class _Window(NamedTuple):
    """A part of an image around a mask: pixels (uint8, 0 or 1) and where the top left one lies."""

    pixels_HW: NDArray[np.uint8]
    x1: int
    y1: int


def _ring_window(mask: Mask) -> _Window:
    """The mask with one pixel of background on each side that isn't the image's border.

    Replicating the edges of this window is right everywhere: at the image's border by rule, elsewhere because both the
    ring and what lies beyond it are background.
    """
    x1, y1, x2, y2 = mask.box_xyxy
    left, top = int(x1 > 0), int(y1 > 0)
    right, bottom = int(x2 < mask.image_width), int(y2 < mask.image_height)
    pixels = cv2.copyMakeBorder(mask.pixels_HW, top, bottom, left, right, cv2.BORDER_CONSTANT, value=0)
    return _Window(pixels, x1 - left, y1 - top)


def _levels(mask_HW: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Boundary scores times 4.5: uint8, 0 to 4, a new array."""
    if mask_HW.size == 0:
        return np.zeros(mask_HW.shape, np.uint8)
    counts = cv2.boxFilter(mask_HW, -1, (3, 3), normalize=False, borderType=cv2.BORDER_REPLICATE)
    return np.minimum(counts, 9 - counts)


def _dense_centres(mask: Mask, patch_size: int, nms_threshold: float, tie_order: str) -> NDArray[np.int64]:
    """(N, 2) int64 x y: the candidate pixels that greedy NMS keeps, in the order of keeping."""
    window = _ring_window(mask)
    alive = _levels(window.pixels_HW)
    width = alive.shape[1]
    planned: list[NDArray[np.int64]] = []
    if tie_order == "contour":
        planned = _even_steps(window.pixels_HW, alive, _spacing(patch_size, nms_threshold))
    kept = _suppress(alive, planned, _survivors(patch_size, nms_threshold))
    ys, xs = np.divmod(np.array(kept, np.int64), width)
    return np.stack([xs + window.x1, ys + window.y1], axis=1)


@lru_cache(maxsize=16)
def _survivors(patch_size: int, nms_threshold: float) -> NDArray[np.uint8]:
    """(2R + 1, 2R + 1) uint8, 255 where a box so far from a kept one (in the middle) survives it, else 0.

    Boxes of one size overlap by their distance alone: (P - |dx|)(P - |dy|) pixels. R is the reach of suppression.
    """
    overlap = patch_size - np.abs(np.arange(1 - patch_size, patch_size))
    common = np.outer(overlap, overlap)
    survives = common / (2 * patch_size**2 - common) <= nms_threshold
    middle = patch_size - 1
    survives[middle, middle] = False
    reach = int(np.abs(np.flatnonzero(~survives[middle]) - middle).max())
    side = slice(middle - reach, middle + reach + 1)
    return np.where(survives[side, side], 255, 0).astype(np.uint8)


def _suppress(
    alive: NDArray[np.uint8], planned: list[NDArray[np.int64]], survivors: NDArray[np.uint8]
) -> list[int]:
    """Greedy NMS: the places (row x width + column) of the pixels kept, in the order of keeping.

    Args:
        alive: levels of the candidates, 0 elsewhere; all 0 afterwards.
        planned: places to try first among those of level 4, 3, 2, 1; whatever they leave follows in raster order.
        survivors: the table of `_survivors`.
    """
    width = alive.shape[1]
    reach = survivors.shape[0] // 2
    flat = alive.reshape(-1)
    level_at = memoryview(flat)
    kept: list[int] = []

    def keep(place: int) -> None:
        y, x = divmod(place, width)
        top, left = max(0, y - reach), max(0, x - reach)
        around = alive[top : y + reach + 1, left : x + reach + 1]
        row, column = top - y + reach, left - x + reach
        around &= survivors[row : row + around.shape[0], column : column + around.shape[1]]
        kept.append(place)

    for level, places in zip((4, 3, 2, 1), planned or [np.zeros(0, np.int64)] * 4, strict=True):
        while places.size:
            # The first few kill most others, which need no visit then.
            for place in places[:32].tolist():
                if level_at[place]:
                    keep(place)
            places = places[32:]
            places = places[flat[places] > 0]
        while level_at[first_best := int(flat.argmax())] == level:
            keep(first_best)
    return kept


# Of the gap in which two kept boxes suppress everything between them: at 1 a little bend would leave a third box there.
# Both figures give the fewest patches at the coverage of raster order on 1,400 detections; see the tests for the figures.
EVEN_STEP = 0.9
DIAGONAL_COST = 0.94


def _spacing(patch_size: int, nms_threshold: float) -> tuple[float, float]:
    """Largest distance of planned boxes along a contour in straight steps, and what a diagonal step counts.

    Two boxes just survive each other at P (1 - t) / (1 + t) pixels along an axis, but nearer along a diagonal.
    """
    straight = patch_size * (1 - nms_threshold) / (1 + nms_threshold)
    diagonal = patch_size * (1 - math.sqrt(2 * nms_threshold / (1 + nms_threshold)))
    if diagonal <= 0:  # at a threshold of 1 every candidate is kept
        return 1.0, 1.0
    return 2 * EVEN_STEP * straight, DIAGONAL_COST * straight / diagonal


def _even_steps(
    mask_HW: NDArray[np.uint8], levels_HW: NDArray[np.uint8], spacing: tuple[float, float]
) -> list[NDArray[np.int64]]:
    """An order that needs few boxes: contour pixels nearest to evenly spaced points first.

    Each contour is divided into equal parts no longer than the spacing; a pixel's rank is its distance from
    the middle of its part, in parts.

    Returns:
        Places (row x width + column) of the contours' pixels of level 4, 3, 2 and 1, each in this order.
    """
    contours, _ = cv2.findContours(mask_HW, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    if not contours:
        return []
    width = mask_HW.shape[1]
    points = np.concatenate(contours)[:, 0].astype(np.int64)
    places = points[:, 1] * width + points[:, 0]
    levels = levels_HW.reshape(-1)[places]
    stride = np.abs(np.diff(places, append=places[-1:]))
    longest, diagonal_cost = spacing
    steps = np.where((stride > 1) & (stride != width), diagonal_cost, 1.0)
    steps[levels == 0] = 0.0  # along the image's border
    travelled = np.cumsum(steps)
    lengths = np.array([len(contour) for contour in contours])
    ends = np.cumsum(lengths) - 1
    totals = np.diff(travelled[ends], prepend=0.0)
    parts_per_step = np.maximum(1.0, np.ceil(totals / longest)) / np.maximum(totals, 1.0)
    position = (travelled - np.repeat(travelled[ends] - totals, lengths)) * np.repeat(parts_per_step, lengths)
    off_middle = np.abs(position - np.floor(position) - 0.5)
    # One 16-bit key for level and rank: numpy sorts those by radix.
    keys = ((4 - levels.astype(np.int64)) << 14) + (off_middle * 32766).astype(np.int64)
    order = np.argsort(keys.astype(np.uint16), kind="stable")
    counts = np.bincount(4 - levels, minlength=5)
    order = places[order[: len(order) - counts[4]]]
    return np.split(order, np.cumsum(counts[:3]))


def _grid_boxes(mask: Mask, patch_size: int) -> NDArray[np.int64]:
    """The grid's cells that hold both classes, row by row; the last row and column are then shifted inside the image."""
    x1, y1, x2, y2 = mask.box_xyxy
    lefts = np.arange(x1 // patch_size, -(-x2 // patch_size), dtype=np.int64) * patch_size
    tops = np.arange(y1 // patch_size, -(-y2 // patch_size), dtype=np.int64) * patch_size
    rights = np.minimum(lefts + patch_size, mask.image_width)
    bottoms = np.minimum(tops + patch_size, mask.image_height)
    sums = cv2.integral(mask.pixels_HW)
    left, right = (np.clip(edges - x1, 0, x2 - x1) for edges in (lefts, rights))
    top, bottom = (np.clip(edges - y1, 0, y2 - y1)[:, None] for edges in (tops, bottoms))
    foreground = sums[bottom, right] - sums[bottom, left] - sums[top, right] + sums[top, left]
    whole = (bottoms - tops)[:, None] * (rights - lefts)
    rows, columns = np.nonzero((foreground > 0) & (foreground < whole))
    return _inside(np.stack([lefts[columns], tops[rows]], axis=1), mask, patch_size)


def _inside(corners_xy: NDArray[np.int64], mask: Mask, patch_size: int) -> NDArray[np.int64]:
    """Boxes with these top left corners, shifted inside the image padded to at least one patch."""
    room = (max(0, mask.image_width - patch_size), max(0, mask.image_height - patch_size))
    corners_xy = np.clip(corners_xy, 0, room)
    return np.concatenate([corners_xy, corners_xy + patch_size], axis=1)


def crop(image: NDArray[np.uint8], boxes: NDArray[np.int64], padding: int = 0) -> NDArray[np.uint8]:
    """Cut boxes of one size out of an image or a mask.

    Args:
        image: uint8, HWC or HW.
        boxes: (N, 4) x1 y1 x2 y2, all of one size; may reach beyond the image.
        padding: pixels of context to add on each side, at least 0.

    Returns:
        uint8 (N, h + 2 padding, w + 2 padding[, C]), a copy; pixels beyond the image repeat its edge.
    """
    height, width = image.shape[:2]
    box_width, box_height = _box_size(boxes)
    box_width, box_height = box_width + 2 * padding, box_height + 2 * padding
    patches = np.empty((len(boxes), box_height, box_width, *image.shape[2:]), np.uint8)
    inner_x, inner_y = width - box_width, height - box_height
    for patch, (left, top, _, _) in zip(patches, boxes.tolist(), strict=True):
        x, y = left - padding, top - padding
        if 0 <= x <= inner_x and 0 <= y <= inner_y:
            patch[:] = image[y : y + box_height, x : x + box_width]
        else:
            rows = np.clip(np.arange(y, y + box_height), 0, height - 1)
            columns = np.clip(np.arange(x, x + box_width), 0, width - 1)
            patch[:] = image[rows[0] : rows[-1] + 1].take(rows - rows[0], axis=0).take(columns, axis=1)
    return patches


def crop_from_mask(mask: Mask, boxes: NDArray[np.int64], padding: int = 0) -> NDArray[np.uint8]:
    """`crop` of the mask's full frame, without making that frame. uint8 (N, h + 2 padding, w + 2 padding), 0 or 1."""
    if len(boxes) == 0:
        return crop(np.zeros((1, 1), np.uint8), boxes, padding)
    window = _window_around(mask, boxes, padding)
    return crop(window.pixels_HW, boxes - (window.x1, window.y1, window.x1, window.y1), padding)


def hann_weights(patch_size: int) -> NDArray[np.float32]:
    """Blending weights (P, P) float32 that trust the middle of a patch most: above 0, up to 1."""
    rise = np.sin(np.pi * (np.arange(patch_size) + 0.5) / patch_size) ** 2
    return np.outer(rise, rise).astype(np.float32)


def merge_patches(
    boxes: NDArray[np.int64],
    probabilities_NPP: NDArray[np.float32],
    mask_HW: NDArray[np.generic],
    weights: NDArray[np.float32] | None = None,
) -> NDArray[np.uint8]:
    """`merge_patches_in` for a mask given as a full frame; the result is a new frame, uint8, 0 or 1."""
    height, width = mask_HW.shape
    pixels = _as_binary(mask_HW).copy()
    _merge(_Window(pixels, 0, 0), (width, height), boxes, probabilities_NPP, weights)
    return pixels


def merge_patches_in(
    boxes: NDArray[np.int64],
    probabilities_NPP: NDArray[np.float32],
    mask: Mask,
    weights: NDArray[np.float32] | None = None,
) -> Mask:
    """Put refined patches back: covered pixels become foreground where the mean probability is above 0.5.

    Args:
        boxes: (N, 4) x1 y1 x2 y2, all of one size; what lies outside the image is ignored.
        probabilities_NPP: float32 (N, h, w), foreground probability 0..1. Patches larger than their boxes have a
            margin of context all around, which is dropped.
        mask: the coarse mask; kept where no box lies.
        weights: float32 of one patch's shape (margin included), above 0: the weight of each of its pixels in the mean.
            None is a plain mean.

    Returns:
        The new mask, cropped tight.
    """
    if len(boxes) == 0:
        return mask
    window = _window_around(mask, boxes, 0, with_mask=True)
    _merge(window, (mask.image_width, mask.image_height), boxes, probabilities_NPP, weights)
    return crop_mask(window.pixels_HW, window.x1, window.y1, mask.image_height, mask.image_width)


def _merge(
    window: _Window,
    image_size: tuple[int, int],
    boxes: NDArray[np.int64],
    probabilities_NPP: NDArray[np.float32],
    weights: NDArray[np.float32] | None,
) -> None:
    """Write the merged patches into the window, which holds every box's part of the image."""
    if len(boxes) == 0:
        return
    box_width, box_height = _box_size(boxes)
    margin = (probabilities_NPP.shape[1] - box_height) // 2
    if len(probabilities_NPP) != len(boxes) or probabilities_NPP.shape[1:] != (
        box_height + 2 * margin,
        box_width + 2 * margin,
    ):
        raise ValueError(f"{probabilities_NPP.shape} probabilities do not fit {boxes.shape} boxes")
    inner = np.s_[margin : margin + box_height, margin : margin + box_width]
    height, width = window.pixels_HW.shape
    balance = np.zeros((height, width), np.float32)
    places = []
    for patch, (x1, y1, x2, y2) in zip(probabilities_NPP, boxes.tolist(), strict=True):
        x, y = x1 - window.x1, y1 - window.y1
        left, top = max(0, -x), max(0, -y)
        right, bottom = min(x2 - x1, width - x), min(y2 - y1, height - y)
        if left >= right or top >= bottom:
            continue
        votes = patch[inner] - np.float32(0.5)
        if weights is not None:
            votes *= weights[inner]
        place = balance[y + top : y + bottom, x + left : x + right]
        place += votes[top:bottom, left:right]
        places.append((place, window.pixels_HW.view(np.bool_)[y + top : y + bottom, x + left : x + right]))
    for place, merged in places:
        np.greater(place, 0.0, out=merged)


def _window_around(mask: Mask, boxes: NDArray[np.int64], padding: int, with_mask: bool = False) -> _Window:
    """A new window holding the image's part of all boxes (and of the mask's own box, if asked)."""
    x1, y1 = (int(v) - padding for v in boxes[:, :2].min(axis=0))
    x2, y2 = (int(v) + padding for v in boxes[:, 2:].max(axis=0))
    mx1, my1, mx2, my2 = mask.box_xyxy
    if with_mask and mask.pixels_HW.size:
        x1, y1, x2, y2 = min(x1, mx1), min(y1, my1), max(x2, mx2), max(y2, my2)
    x1, x2 = max(0, min(x1, mask.image_width - 1)), min(mask.image_width, max(x2, 1))
    y1, y2 = max(0, min(y1, mask.image_height - 1)), min(mask.image_height, max(y2, 1))
    pixels = np.zeros((y2 - y1, x2 - x1), np.uint8)
    left, top, right, bottom = max(x1, mx1), max(y1, my1), min(x2, mx2), min(y2, my2)
    if left < right and top < bottom:
        part = mask.pixels_HW[top - my1 : bottom - my1, left - mx1 : right - mx1]
        pixels[top - y1 : bottom - y1, left - x1 : right - x1] = part
    return _Window(pixels, x1, y1)


def _box_size(boxes: NDArray[np.int64]) -> tuple[int, int]:
    """Width and height that all boxes share; 0, 0 without boxes."""
    if len(boxes) == 0:
        return 0, 0
    sizes = boxes[:, 2:] - boxes[:, :2]
    if (sizes != sizes[0]).any() or (sizes[0] < 1).any():
        raise ValueError("the boxes are not of one size")
    return int(sizes[0, 0]), int(sizes[0, 1])


def _as_binary(mask_HW: NDArray[np.generic]) -> NDArray[np.uint8]:
    """uint8, 0 or 1; a view where the input is bool, else a copy."""
    binary = mask_HW if mask_HW.dtype == np.bool_ else mask_HW != 0
    return np.ascontiguousarray(binary).view(np.uint8)


def resize_patches(patches: NDArray[np.generic], height: int, width: int, interpolation: int) -> NDArray[np.generic]:
    """Patches (N, h, w[, C]) at another size; `interpolation` is one of OpenCV's. For the "instance" scheme."""
    resized = [cv2.resize(patch, (width, height), interpolation=interpolation) for patch in patches]
    return np.stack(resized) if resized else np.empty((0, height, width, *patches.shape[3:]), patches.dtype)
