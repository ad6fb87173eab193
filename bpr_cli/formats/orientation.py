"""Which way up a photo is meant: as it is stored, or turned as its EXIF says.

Cameras store photos lying and note how to turn them. OpenCV, Pillow's `exif_transpose`, detectron2 and mmdetection turn
them; COCO's annotations and torchvision do not. So the results' size decides, or else what of their masks would lie
outside. Where neither tells, an option does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from bpr_cli.formats.fields import is_finite
from bpr_cli.formats.image_files import Header
from bpr_cli.formats.records import Instance
from bpr_cli.formats.rle import rle_size

ORIENTATIONS = ("exif", "stored")
Size = tuple[int, int]  # height, width

OVERSHOOT = 0.02  # of a side: how far boxes of detectors reach beyond the image they were found in


def turn(image_HWC: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Stored pixels, upright: turned and mirrored as an EXIF orientation of 1 to 8 says."""
    if orientation in (5, 6, 7, 8):
        image_HWC = image_HWC.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        image_HWC = image_HWC[::-1]
    if orientation in (2, 3, 6, 7):
        image_HWC = image_HWC[:, ::-1]
    return np.ascontiguousarray(image_HWC)


def turned_size(header: Header) -> Size:
    """Height and width once turned."""
    if header.orientation in (5, 6, 7, 8):
        return header.width, header.height
    return header.height, header.width


def is_meant_turned(header: Header, size: Size | None, instances: Sequence[Instance]) -> bool | None:
    """Whether the results mean the turned photo; None if that cannot be told.

    Args:
        header: the photo's.
        size: (height, width) that the results state, if they do.
        instances: those of the photo; their masks' sizes count, and polygons and boxes beyond a border.
    """
    if header.orientation == 1:
        return False
    stored, turned = (header.height, header.width), turned_size(header)
    if stored == turned:
        return None
    sizes = {size} if size is not None else set(stated_sizes(instances))
    if (stored in sizes) != (turned in sizes):
        return turned in sizes
    if size is not None:
        return False
    extent = _extent(instances)
    fits_stored, fits_turned = _holds(stored, extent), _holds(turned, extent)
    return None if fits_stored == fits_turned else fits_turned


def stated_sizes(instances: Iterable[Instance]) -> Iterator[Size]:
    """Height and width of each RLE."""
    for instance in instances:
        size = rle_size(instance.segmentation)
        if size is not None:
            yield size


def _holds(size: Size, extent: tuple[float, float]) -> bool:
    return all(reach <= side + max(2, OVERSHOOT * side) for side, reach in zip(size, extent, strict=True))


def _extent(instances: Iterable[Instance]) -> tuple[float, float]:
    """How far down and right polygons and boxes reach, px."""
    bottom = right = 0.0
    for instance in instances:
        for x, y in _corners(instance):
            right, bottom = max(right, x), max(bottom, y)
    return bottom, right


def _corners(instance: Instance) -> Iterator[tuple[float, float]]:
    polygons = instance.segmentation
    for polygon in polygons if isinstance(polygons, list) else ():
        if isinstance(polygon, list) and polygon and all(map(is_finite, polygon)):
            yield max(polygon[::2]), max(polygon[1::2], default=0.0)
    box = instance.fields.get("bbox")
    if isinstance(box, list) and len(box) == 4 and all(map(is_finite, box)):
        yield box[0] + box[2], box[1] + box[3]
