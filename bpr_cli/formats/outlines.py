"""From a mask to polygons: each connected part one, its holes cut open."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from bpr_cli.formats.rle import decode_rle
from bpr_cli.masks import Mask, intersection_over_union

Floats = TypeVar("Floats", np.float32, np.float64)

# OpenCV follows a border from pixel to pixel in these steps (dx, dy), anticlockwise as the image is seen.
STEPS = ((1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1))
# How far points may lie from the line that replaces them. Lines through the middles of pixel sides pass the centres of
# pixels at .35 px or more, so that hardly any changes sides.
TOLERANCE = 0.25  # px
LEAST_IOU = 0.995  # with the mask, once filled again; below it no point is left out


def mask_polygons(mask: Mask) -> list[list[float]]:
    """The mask as polygons: for each connected part one flat list x, y, x, y, ... in pixels.

    Points are middles of pixel sides, thinned out along straight lines: never farther than half a pixel from the
    mask's edge. A hole is cut open: the polygon goes to it and back along one line, which has no area. Parts that
    touch at a corner are one. Filled again as pycocotools does, they are the mask with an IoU of LEAST_IOU or more.
    """
    if mask.pixels_HW.size == 0:
        return []
    rings = _rings(mask)
    polygons = [_flat(parts, TOLERANCE) for parts in rings]
    return polygons if _iou(polygons, mask) >= LEAST_IOU else [_flat(parts, 0.0) for parts in rings]


def mask_outline(mask: Mask) -> list[float]:
    """The mask as one polygon, flat as in `mask_polygons`: its parts are joined by lines that have no area."""
    first, *others = [np.reshape(polygon, (-1, 2)) for polygon in mask_polygons(mask)] or [np.zeros((0, 2))]
    for part in others:
        first = _cut_open(first, part)
    return first.ravel().tolist()


def _rings(mask: Mask) -> list[list[NDArray[np.float32]]]:
    """For each part its outer ring and those of its holes, each (N, 2) x y, in pixels of the image."""
    borders, hierarchy = cv2.findContours(mask.pixels_HW, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    corner = np.array([mask.x1, mask.y1], np.float32)
    rings = [_through_sides(border[:, 0].astype(np.float32)) + corner for border in borders]
    parents = [int(entry[3]) for entry in hierarchy[0]]
    parts = {number: [ring] for number, (ring, parent) in enumerate(zip(rings, parents, strict=True)) if parent < 0}
    for ring, parent in zip(rings, parents, strict=True):
        if parent >= 0:
            parts[parent].append(ring)
    return list(parts.values())


def _sides_between(back: int, onward: int) -> list[tuple[float, float]]:
    """Middles of a pixel's sides, from its centre, that a border passes which came by `back` and leaves by `onward`.

    Between the two, in the sense of rotation in which the border is followed, all neighbours are background.
    """
    turns = (onward - back) % 8 or 8
    passed = [(back + turn) % 8 for turn in range(1, turns)]
    return [(STEPS[direction][0] / 2, STEPS[direction][1] / 2) for direction in passed if direction % 2 == 0]


def _side_table() -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """`_sides_between` for all pairs: (8, 8, 4, 2) offsets, and (8, 8) how many of the four there are."""
    offsets, counts = np.zeros((8, 8, 4, 2), np.float32), np.zeros((8, 8), np.intp)
    for back in range(8):
        for onward in range(8):
            sides = _sides_between(back, onward)
            counts[back, onward] = len(sides)
            offsets[back, onward, : len(sides)] = np.reshape(sides, (-1, 2))
    return offsets, counts


SIDES, SIDE_COUNTS = _side_table()
DIRECTIONS = np.zeros((3, 3), np.intp)  # by dy + 1, dx + 1
for _number, (_dx, _dy) in enumerate(STEPS):
    DIRECTIONS[_dy + 1, _dx + 1] = _number


def _through_sides(border_N2: NDArray[np.float32]) -> NDArray[np.float32]:
    """A border of pixels, as a ring through the middles of their sides towards the background."""
    if len(border_N2) == 1:
        return border_N2 + np.float32(0.5) + np.array(STEPS[::2], np.float32) / 2
    onward_N2 = (np.roll(border_N2, -1, axis=0) - border_N2).astype(np.intp)
    onward_N = DIRECTIONS[onward_N2[:, 1] + 1, onward_N2[:, 0] + 1]
    back_N = (np.roll(onward_N, 1) + 4) % 8
    points_N42 = border_N2[:, None] + np.float32(0.5) + SIDES[back_N, onward_N]
    used_N4 = np.arange(4) < SIDE_COUNTS[back_N, onward_N][:, None]
    return points_N42[used_N4]


def _flat(rings: Sequence[NDArray[np.float32]], tolerance: float) -> list[float]:
    """A part's rings as one polygon."""
    outer, *holes = [_thinned(ring, tolerance) for ring in rings]
    for hole in holes:
        outer = _cut_open(outer, hole)
    return [round(value, 2) for value in outer.ravel().tolist()]


def _thinned(ring_N2: NDArray[np.float32], tolerance: float) -> NDArray[np.float32]:
    thin_N2 = cv2.approxPolyDP(ring_N2, tolerance, closed=True)[:, 0].astype(np.float32)
    return ring_N2 if len(thin_N2) < 3 else thin_N2


def _cut_open(outer_N2: NDArray[Floats], hole_M2: NDArray[Floats]) -> NDArray[Floats]:
    """The outer ring with a way to the hole (or to another part), around it and back, where both are nearest."""
    nearest_M = np.array([((outer_N2 - point) ** 2).sum(axis=1).argmin() for point in hole_M2])
    distances_M = ((outer_N2[nearest_M] - hole_M2) ** 2).sum(axis=1)
    start = int(distances_M.argmin())
    gate = int(nearest_M[start])
    around = np.roll(hole_M2, -start, axis=0)
    return np.concatenate((outer_N2[: gate + 1], around, around[:1], outer_N2[gate:]))


def _iou(polygons: Sequence[Sequence[float]], mask: Mask) -> float:
    encoded = coco_mask.frPyObjects(polygons, mask.image_height, mask.image_width)
    return intersection_over_union(decode_rle(coco_mask.merge(encoded)), mask)
