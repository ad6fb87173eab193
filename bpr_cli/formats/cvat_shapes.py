"""CVAT's shapes as its XML writes them: points of polygons, and masks as runs along the rows of a box."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bpr_cli.formats.polygons import scaled_polygons_mask
from bpr_cli.formats.rle import BrokenSegmentationError
from bpr_cli.formats.segmentation import OwnForm
from bpr_cli.masks import Mask, crop_mask, union

POLYGON, MASK = "polygon", "mask"
REMEDY = "Export it again"
INTEGER = re.compile(r"\d{1,9}")


@dataclass(frozen=True, slots=True)
class Shapes(OwnForm):
    """The shapes of one object: tag and attributes of each."""

    shapes: tuple[tuple[str, Mapping[str, str]], ...]

    def to_mask(self, height: int, width: int) -> Mask:
        """See `OwnForm`."""
        polygons = [_coordinates(attributes) for tag, attributes in self.shapes if tag == POLYGON]
        masks = [_pasted(attributes, height, width) for tag, attributes in self.shapes if tag == MASK]
        if polygons:
            masks.append(scaled_polygons_mask(polygons, height, width))
        return union(masks)


def polygon_points(polygon: Sequence[float]) -> str:
    """A flat polygon as CVAT writes it: x,y;x,y;..."""
    return ";".join(f"{x:.2f},{y:.2f}" for x, y in zip(polygon[::2], polygon[1::2], strict=True))


def mask_attributes(mask: Mask) -> dict[str, str]:
    """The attributes that hold a mask: its box, and runs along the rows there, background first."""
    x1, y1, x2, y2 = mask.box_xyxy
    values = np.concatenate(([0], mask.pixels_HW.ravel()))
    ends = [*np.flatnonzero(np.diff(values)).tolist(), len(values) - 1]
    runs = np.diff([0, *ends]).tolist()
    box = {"left": x1, "top": y1, "width": x2 - x1, "height": y2 - y1}
    return {"rle": ", ".join(map(str, runs)), **{name: str(value) for name, value in box.items()}}


def _coordinates(attributes: Mapping[str, str]) -> list[float]:
    points = attributes.get("points", "")
    try:
        return [float(value) for point in points.split(";") for value in _pair(point)]
    except ValueError:
        raise BrokenSegmentationError(f"the points {points[:40]!r} are not x,y;x,y;...", REMEDY) from None


def _pair(point: str) -> tuple[str, str]:
    x, y = point.split(",")
    return x, y


def _pasted(attributes: Mapping[str, str], height: int, width: int) -> Mask:
    words = [attributes.get(name, "") for name in ("left", "top", "width", "height")]
    if not all(map(INTEGER.fullmatch, words)):
        raise BrokenSegmentationError(f"the mask's left, top, width and height are {words}", REMEDY)
    left, top, columns, rows = map(int, words)
    if left + columns > width or top + rows > height:
        raise BrokenSegmentationError(
            f"the mask of {columns}x{rows} at {left}, {top} does not lie in the photo of {width}x{height}",
            "Check that it is of this photo",
        )
    counts = [word.strip() for word in attributes.get("rle", "").split(",")]
    if not all(map(INTEGER.fullmatch, counts)):
        raise BrokenSegmentationError("the mask's rle is not a list of runs", REMEDY)
    runs = np.array(counts, np.int64)
    if int(runs.sum()) != columns * rows:
        raise BrokenSegmentationError(f"the mask's runs cover {runs.sum()} pixels of {columns * rows}", REMEDY)
    pixels = np.repeat(np.arange(len(runs)) % 2, runs).astype(np.uint8)
    return crop_mask(pixels.reshape(rows, columns), left, top, height, width)
