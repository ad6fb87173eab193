"""Where the patches lie: boundary scores and the schemes of boxes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from bpr_cli.masks import Mask, crop_mask
from bpr_cli.patches.suppression import contour_order, keep_best
from bpr_cli.patches.window import window_with_ring

SCHEMES = ("dense", "grid", "instance")
OBJECT = "object"  # the scheme of models that look at whole objects; theirs alone, so not one to choose
WHOLE = ("instance", OBJECT)  # schemes of one box that holds the whole mask, resized to what the network takes
# The object scheme's box: the mask's own, widened on each side by a share of its length and some pixels more, and then
# so far that no side is shorter than half of the other, or than a few cells of a coarse mask head's grid.
WIDENED, RIM = 0.2, 3
SHORTEST_OBJECT = 48  # px
TIE_ORDERS = ("contour", "raster")


def boundary_scores(mask_HW: NDArray[np.generic]) -> NDArray[np.float32]:
    """How evenly each pixel's 3x3 neighbourhood is split between object and background.

    Args:
        mask_HW: any integer or bool array, foreground nonzero; a full frame, its edges are replicated.

    Returns:
        float32 HW: min(c, 9 - c) / 4.5 with c the number of foreground pixels among the nine: 0 to 4 / 4.5.
    """
    return _levels(np.ascontiguousarray(mask_HW != 0).view(np.uint8)).astype(np.float32) / np.float32(4.5)


def propose_boxes(
    mask: Mask,
    patch_size: int = 64,
    nms_threshold: float = 0.25,
    scheme: str = "dense",
    tie_order: str = "contour",
) -> NDArray[np.int64]:
    """Boxes of the patches that cover a mask's boundary.

    Args:
        mask: the coarse mask.
        patch_size: side of the boxes in pixels, at least 1.
        nms_threshold: 0..1; of two boxes whose IoU (before shifting) is above it, only the better one stays.
        scheme: "dense": squares centred on boundary pixels, thinned out by greedy NMS on their score, best
            first; "grid": the cells of a regular grid that hold both classes, row by row; "instance":
            the mask's own bounding box, whatever its size; "object": that box widened, so that the object is seen
            with what lies around it, part of the box perhaps outside the image.
        tie_order: which of equal scores "dense" takes first. "contour" walks along the contour in even
            steps and needs about 20 % fewer patches than "raster", which takes rows from the top.

    Returns:
        (N, 4) int64 x1 y1 x2 y2 in image coordinates, shifted inside the image. An image smaller than a patch
        counts as padded at its right and bottom: there boxes start at 0 and end outside. (0, 4) for a
        mask without boundary: empty, or the whole image.

    Raises:
        ValueError: an argument is out of its range.
    """
    if patch_size < 1 or not 0.0 <= nms_threshold <= 1.0:
        raise ValueError(f"patch size {patch_size} or NMS threshold {nms_threshold} is out of range")
    if scheme not in (*SCHEMES, OBJECT) or tie_order not in TIE_ORDERS:
        raise ValueError(f"scheme {scheme!r}, tie order {tie_order!r}: choose from {(*SCHEMES, OBJECT)}, {TIE_ORDERS}")
    if mask.pixels_HW.size == 0:
        return np.zeros((0, 4), np.int64)
    if scheme in WHOLE:
        box = _instance_box(mask)
        return _widened(box) if scheme == OBJECT else box
    if scheme == "grid":
        return _boxes_at(_grid_corners(mask, patch_size).tolist(), mask, patch_size)
    return _boxes_at(_dense_corners(mask, patch_size, nms_threshold, tie_order), mask, patch_size)


def _levels(mask_HW: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Boundary scores times 4.5: uint8, 0 to 4, a new array."""
    if mask_HW.size == 0:
        return np.zeros(mask_HW.shape, np.uint8)
    counts = cv2.boxFilter(mask_HW, -1, (3, 3), normalize=False, borderType=cv2.BORDER_REPLICATE)
    return np.minimum(counts, 9 - counts, dtype=np.uint8)


def _dense_corners(mask: Mask, patch_size: int, nms_threshold: float, tie_order: str) -> list[tuple[int, int]]:
    """x y of the top left corners of squares around the boundary pixels that greedy NMS keeps, best first."""
    window = window_with_ring(mask)
    levels = _levels(window.pixels_HW)
    width = levels.shape[1]
    planned = []
    if tie_order == "contour":
        planned = contour_order(window.pixels_HW, levels, patch_size, nms_threshold)
    places = keep_best(levels, planned, patch_size, nms_threshold)
    left, top = window.x1 - patch_size // 2, window.y1 - patch_size // 2
    return [(place % width + left, place // width + top) for place in places]


def _grid_corners(mask: Mask, patch_size: int) -> NDArray[np.int64]:
    """(N, 2) int64 x y: top left corners of the cells that hold both classes, the image's rim cut off."""
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
    return np.stack([lefts[columns], tops[rows]], axis=1)


def _instance_box(mask: Mask) -> NDArray[np.int64]:
    tight = crop_mask(mask.pixels_HW, mask.x1, mask.y1, mask.image_height, mask.image_width)
    has_boundary = 0 < tight.area < mask.image_height * mask.image_width
    return np.array([tight.box_xyxy] if has_boundary else [], np.int64).reshape(-1, 4)


def _widened(boxes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Boxes of the object scheme around boxes of the instance scheme."""
    sides = boxes[:, 2:] - boxes[:, :2]
    wide = sides * (1 + 2 * WIDENED) + 2 * RIM
    wide = np.maximum(wide, np.maximum(wide[:, ::-1] / 2, SHORTEST_OBJECT))
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    return np.concatenate((np.floor(middle - wide / 2), np.ceil(middle + wide / 2)), axis=1).astype(np.int64)


def _boxes_at(corners_xy: Iterable[Sequence[int]], mask: Mask, patch_size: int) -> NDArray[np.int64]:
    """Boxes with these top left corners, shifted inside the image padded to at least one patch."""
    last_x, last_y = max(0, mask.image_width - patch_size), max(0, mask.image_height - patch_size)
    boxes = []
    for x, y in corners_xy:
        x1 = 0 if x < 0 else min(x, last_x)
        y1 = 0 if y < 0 else min(y, last_y)
        boxes.append((x1, y1, x1 + patch_size, y1 + patch_size))
    return np.array(boxes, np.int64).reshape(-1, 4)
