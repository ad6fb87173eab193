"""labelme's JSON: shapes on one photo, of which polygons and masks are refined.

Shapes of one label and one `group_id` are parts of one object.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from bpr_cli.errors import InputError
from bpr_cli.formats.classes import LABEL
from bpr_cli.formats.fields import as_side, described, is_finite
from bpr_cli.formats.image_files import BROKEN, damage, open_image
from bpr_cli.formats.outlines import mask_polygons
from bpr_cli.formats.polygons import scaled_polygons_mask
from bpr_cli.formats.records import ImageInstances, ImageRecord, Instance
from bpr_cli.formats.rle import RLE, BrokenSegmentationError, decode_rle
from bpr_cli.formats.segmentation import OwnForm
from bpr_cli.formats.shapes import objects, with_parts
from bpr_cli.masks import Mask, crop_mask, union
from bpr_cli.notices import warn_of_input

POLYGON, MASK = "polygon", "mask"
OTHER_SHAPES = "shapes that are neither polygons nor masks (rectangles, circles, lines, points) stay as they were"
EMPTY = "a mask became empty, for which there is no shape: it stays as it was"
REMEDY = "Open and save it with labelme"


@dataclass(frozen=True, slots=True)
class Shapes(OwnForm):
    """The shapes of one object, as the file has them."""

    shapes: tuple[Mapping[str, Any], ...]

    def to_mask(self, height: int, width: int) -> Mask:
        """See `OwnForm`."""
        polygons = [_flat(shape) for shape in self.shapes if _type(shape) == POLYGON]
        masks = [_pasted(shape, height, width) for shape in self.shapes if _type(shape) == MASK]
        if polygons:
            masks.append(scaled_polygons_mask(polygons, height, width))
        return union(masks)


def matches(document: Any) -> bool:
    """See `per_image.Form`."""
    return (
        isinstance(document, dict)
        and isinstance(document.get("shapes"), list)
        and ("imagePath" in document or "imageData" in document)
    )


def read(document: Any, path: Path, image_id: str, first: int) -> ImageInstances:
    """See `per_image.Form`. The photo is named relative to the file."""
    name = document.get("imagePath")
    if not isinstance(name, str):
        raise InputError(f"its imagePath is {described(name)}", file=path, remedy="Write the photo's path")
    for number, shape in enumerate(document["shapes"]):
        if not isinstance(shape, dict) or not isinstance(shape.get("label"), str):
            raise InputError(f"shape {number} has no label", file=path, remedy=REMEDY)
        if _type(shape) not in (POLYGON, MASK):
            warn_of_input(OTHER_SHAPES, path)
    instances = []
    for index, places in enumerate(_objects(document["shapes"]), first):
        shapes = tuple(document["shapes"][place] for place in places)
        fields = {LABEL: shapes[0]["label"]}
        instances.append(Instance(index, image_id, Shapes(shapes), None, None, False, fields, path))
    record = ImageRecord(image_id, name, as_side(document.get("imageHeight")), as_side(document.get("imageWidth")))
    return ImageInstances(record, tuple(instances))


def updated(document: Any, path: Path, new: Mapping[int, RLE]) -> Any:
    """See `per_image.Form`. Each part of a new mask is a shape, with all but its points from the object's old ones.

    Of more parts than before the further ones take after the first shape, and all get a `group_id` in common.
    """
    shapes = document["shapes"]
    places_of = _objects(shapes)
    parts_of: dict[int, list[Any]] = {}
    group = max((shape["group_id"] for shape in shapes if type(shape.get("group_id")) is int), default=0)
    for number, rle in new.items():
        mask = decode_rle(rle)
        if mask.area == 0:
            warn_of_input(EMPTY, path)
            continue
        old = [shapes[place] for place in places_of[number]]
        parts = [_with_mask(old[0], mask)] if _type(old[0]) == MASK else _with_polygons(old, mask)
        if len(parts) > 1 and old[0].get("group_id") is None:
            group += 1
            parts = [{**part, "group_id": group} for part in parts]
        parts_of[number] = parts
    return {**document, "shapes": with_parts(shapes, places_of, parts_of)}


def _type(shape: Mapping[str, Any]) -> Any:
    """Old versions name none for polygons."""
    return shape.get("shape_type") or POLYGON


def _objects(shapes: list[Any]) -> list[list[int]]:
    """The places of each object's shapes."""
    used = {place: shape for place, shape in enumerate(shapes) if _type(shape) in (POLYGON, MASK)}
    groups = {place: shape.get("group_id") for place, shape in used.items()}
    return objects({p: None if group is None else (used[p]["label"], str(group)) for p, group in groups.items()})


def _points(shape: Mapping[str, Any]) -> list[list[float]]:
    points = shape.get("points")
    if not isinstance(points, list) or not all(
        isinstance(point, list) and len(point) == 2 and all(map(is_finite, point)) for point in points
    ):
        raise BrokenSegmentationError(f"the points of a shape {shape['label']!r} are none", "Write [[x, y], ...]")
    return points


def _flat(shape: Mapping[str, Any]) -> list[float]:
    return [value for point in _points(shape) for value in point]


def _with_polygons(old: list[Any], mask: Mask) -> list[dict[str, Any]]:
    parts = []
    for number, polygon in enumerate(mask_polygons(mask)):
        shape = old[number] if number < len(old) else old[0]
        part = {**shape, "points": np.reshape(polygon, (-1, 2)).tolist()}
        parts.append({**part, "shape_type": POLYGON, "mask": None} if _type(shape) == MASK else part)
    return parts


def _pasted(shape: Mapping[str, Any], height: int, width: int) -> Mask:
    """The mask of a shape that holds the PNG of a box, whose corners (both inside) are its points."""
    points = _points(shape)
    if len(points) != 2:
        raise BrokenSegmentationError("a mask's points are not two corners", REMEDY)
    (x1, y1), (x2, y2) = ((round(x), round(y)) for x, y in points)
    if not (0 <= x1 <= x2 < width and 0 <= y1 <= y2 < height):
        raise BrokenSegmentationError(
            f"a mask's corners {points} do not lie in the photo of {width}x{height}", "Check that it is of this photo"
        )
    pixels_HW = _decoded(shape.get("mask"), (x2 - x1 + 1, y2 - y1 + 1))
    return crop_mask(pixels_HW, x1, y1, height, width)


def _decoded(text: Any, size: tuple[int, int]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """(H, W) bool of a PNG in base64 that must have a size (width, height)."""
    try:
        data = base64.b64decode(text, validate=True)
        with open_image(io.BytesIO(data)) as image:
            if image.size != size:
                raise BrokenSegmentationError(
                    f"a mask is {image.size[0]}x{image.size[1]}, its corners {size[0]}x{size[1]} apart", REMEDY
                )
            if problem := damage(data):
                raise BrokenSegmentationError(f"a mask cannot be read ({problem})", REMEDY)
            return np.asarray(image.convert("L")) > 0
    except BROKEN as error:
        raise BrokenSegmentationError(f"a mask cannot be read ({error})", REMEDY) from error


def _with_mask(shape: Mapping[str, Any], mask: Mask) -> dict[str, Any]:
    x1, y1, x2, y2 = mask.box_xyxy
    png = cv2.imencode(".png", mask.pixels_HW)[1].tobytes()
    corners = [[float(x1), float(y1)], [float(x2 - 1), float(y2 - 1)]]
    return {**shape, "points": corners, "mask": base64.b64encode(png).decode("ascii")}
