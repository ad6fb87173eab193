"""From a list of polygons to a `Mask`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pycocotools import mask as coco_mask

from bpr_cli.formats.fields import described, is_finite
from bpr_cli.formats.rle import BrokenSegmentationError, decode_rle
from bpr_cli.masks import Mask

REMEDY = "Write each polygon as [x1, y1, x2, y2, x3, y3, ...]"
RLE_REMEDY = 'Write {"size": [height, width], "counts": [...]} without a list around it'
LONGEST_OUTLINE = 2_000_000  # px, of all polygons of a mask; pycocotools takes 80 bytes a pixel
FARTHEST = 100_000_000  # px; pycocotools counts fifths of a pixel in 32 bits
# Coordinates up to this are taken for fractions of the photo: as pixels they would be a dot in its corner.
FRACTION = 1.5


def polygons_mask(polygons: Sequence[Any], height: int, width: int, left_out: list[str] | None = None) -> Mask:
    """The mask of polygons, filled as pycocotools does.

    Args:
        polygons: flat lists x, y, x, y, ... in pixels.
        height, width: the image's size.
        left_out: gains what is wrong with each bad polygon, which is then left out; None: a bad one is an error.

    Raises:
        BrokenSegmentationError: a bad polygon, or no good one.
    """
    _check_list(polygons, height, width)
    good: list[list[float]] = []
    problem = ""
    for number, polygon in enumerate(polygons):
        problem = _problem(polygon)
        if not problem:
            good.append(polygon)
        elif left_out is None:
            raise BrokenSegmentationError(f"polygon {number} {problem}", REMEDY)
        else:
            left_out.append(f"polygon {number} {problem}")
    if not good:
        raise BrokenSegmentationError(
            f"there is no polygon that can be used: polygon 0 {_problem(polygons[0])}", REMEDY
        )
    _refuse_fractions(good, height, width)
    return _filled(good, height, width)


def scaled_polygons_mask(polygons: Sequence[Any], height: int, width: int, side: float | None = None) -> Mask:
    """The mask of polygons of a format that says in which unit they are, filled as pycocotools does.

    Args:
        polygons: flat lists x, y, x, y, ...
        height, width: the image's size.
        side: what a whole side is in the unit (1 for fractions, 100 for percent); None: coordinates are pixels.

    Raises:
        BrokenSegmentationError: a bad polygon.
    """
    scaled = []
    for number, polygon in enumerate(polygons):
        if problem := _problem(polygon):
            raise BrokenSegmentationError(f"polygon {number} {problem}", REMEDY)
        if side is not None and not -side / 2 <= min(polygon) <= max(polygon) <= 1.5 * side:
            raise BrokenSegmentationError(
                f"polygon {number} reaches from {min(polygon):g} to {max(polygon):g}, its photo from 0 to {side:g}",
                "Check that coordinates are shares of the photo's width and height",
            )
        scaled.append(polygon if side is None else in_pixels(polygon, height / side, width / side))
    return _filled(scaled, height, width)


def in_pixels(polygon: Sequence[float], vertical: float, horizontal: float) -> list[float]:
    """Coordinates times the pixels that a unit has, to the thousandth: what was written in decimals comes out even."""
    return [round(value * (vertical if place % 2 else horizontal), 3) for place, value in enumerate(polygon)]


def _filled(polygons: Sequence[Sequence[float]], height: int, width: int) -> Mask:
    _refuse_long(polygons, height, width)
    return decode_rle(coco_mask.merge(coco_mask.frPyObjects(polygons, height, width)))


def is_without_polygons(segmentation: Any) -> bool:
    """Whether it is a list in which no polygon has three points: nothing at all is outlined."""
    return isinstance(segmentation, list) and all(isinstance(part, list) and len(part) < 6 for part in segmentation)


def _check_list(polygons: Sequence[Any], height: int, width: int) -> None:
    """Other things that are written as lists are called by their name."""
    if not polygons:
        raise BrokenSegmentationError("the list of polygons is empty", REMEDY)
    first = polygons[0]
    flat = first if isinstance(first, list) and len(polygons) == 1 else polygons
    if all(type(value) is int and value >= 0 for value in flat) and _are_runs(flat, height, width):
        raise BrokenSegmentationError("the list holds RLE counts, not polygons", RLE_REMEDY)
    if isinstance(first, dict) and "counts" in first:
        raise BrokenSegmentationError("the list holds RLE, not polygons", RLE_REMEDY)
    if isinstance(first, str):
        raise BrokenSegmentationError(f"the list holds {described(first)}, not polygons", RLE_REMEDY)
    if all(is_finite(value) for value in polygons):
        raise BrokenSegmentationError(
            "polygon 0 is not a flat list of three or more points: the segmentation is one itself",
            "Write it in a list: [[x1, y1, x2, y2, x3, y3, ...]]",
        )


def _are_runs(values: Sequence[int], height: int, width: int) -> bool:
    return sum(values) == height * width and max(values) > max(height, width)


def _problem(polygon: Any) -> str:
    """What is wrong with a polygon by itself; empty for a good one."""
    if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
        return "is not a flat list of three or more points"
    if not all(is_finite(value) for value in polygon):
        return "has a coordinate that is not a finite number"
    if max(polygon) > FARTHEST or min(polygon) < -FARTHEST:
        return "has a coordinate far outside any image"
    return ""


def _refuse_fractions(polygons: Sequence[Sequence[float]], height: int, width: int) -> None:
    lowest, highest = min(map(min, polygons)), max(map(max, polygons))
    if max(height, width) > 2 * FRACTION and highest <= FRACTION and lowest > -FRACTION:
        raise BrokenSegmentationError(
            "all coordinates are between 0 and 1, fractions of the photo",
            "Write pixels: x times the width, y times the height",
        )


def _refuse_long(polygons: Sequence[Sequence[float]], height: int, width: int) -> None:
    values = [value for polygon in polygons for value in polygon]
    lowest, highest = min(values), max(values)
    # Exactly only where it might be too long.
    if (highest - lowest) * len(values) / 2 > LONGEST_OUTLINE and sum(map(_outline, polygons)) > LONGEST_OUTLINE:
        raise BrokenSegmentationError(
            f"the polygons' outline is more than {LONGEST_OUTLINE} px long in an image of {width}x{height}",
            "Check that coordinates are pixels of this image",
        )


def _outline(polygon: Sequence[float]) -> float:
    """The outline's length in pixels, each edge by its longer side."""
    xs, ys = polygon[::2], polygon[1::2]
    edges = zip(xs, ys, [*xs[1:], xs[0]], [*ys[1:], ys[0]], strict=True)
    return sum(max(abs(x2 - x1), abs(y2 - y1)) for x1, y1, x2, y2 in edges)
