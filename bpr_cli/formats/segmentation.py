"""From a segmentation as a file writes it to a `Mask`: compressed or plain RLE, polygons, a mask image.

pycocotools reads whatever it is given: broken counts make it write beyond its buffers or return rubbish. So counts are
checked here first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco_mask

from bpr_cli.errors import InputError
from bpr_cli.formats.records import Instance
from bpr_cli.masks import RLE, Mask, crop_mask, decode_rle

# COCO's string form of a number: five bits a character from "0" on, the sixth bit says that more follow.
FIRST_CHARACTER = 48
BITS, MORE = 5, 0x20
LONGEST_NUMBER = 7  # characters; 35 bits hold any count


def decode_mask(instance: Instance, height: int, width: int) -> Mask:
    """The mask of an instance on an image of this size, in pixels.

    Raises:
        InputError: the segmentation is broken or not of the image's size; names file, image id and index.
    """
    segmentation = instance.segmentation
    try:
        if isinstance(segmentation, Path):
            return _from_image(segmentation, height, width)
        if isinstance(segmentation, Mapping):
            return decode_rle(_checked_rle(segmentation, height, width))
        if isinstance(segmentation, list):
            return _from_polygons(segmentation, height, width)
    except _BrokenError as broken:
        raise InputError(
            broken.problem,
            file=instance.source,
            image_id=instance.image_id,
            index=instance.index,
            remedy=broken.remedy,
        ) from None
    raise InputError(
        f"the segmentation is a {type(segmentation).__name__}",
        file=instance.source,
        image_id=instance.image_id,
        index=instance.index,
        remedy="Give RLE (size and counts) or a list of polygons",
    )


class _BrokenError(Exception):
    """What is wrong with a segmentation; `decode_mask` adds where."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(problem)
        self.problem, self.remedy = problem, remedy


def rle_size(segmentation: Any) -> tuple[int, int] | None:
    """Height and width that an RLE states; None for other segmentations and for sizes that make no sense."""
    size = segmentation.get("size") if isinstance(segmentation, Mapping) else None
    if not isinstance(size, Sequence) or len(size) != 2 or not all(type(side) is int and side > 0 for side in size):
        return None
    return size[0], size[1]


def _checked_rle(segmentation: Mapping[str, Any], height: int, width: int) -> RLE:
    size = rle_size(segmentation)
    if size is None:
        raise _BrokenError(f"the RLE's size is {segmentation.get('size')!r}", "Write it as [height, width] in pixels")
    if size != (height, width):
        raise _BrokenError(
            f"the RLE's size {list(size)} is not the image's [{height}, {width}]",
            "Check that the results belong to these images, and that size is [height, width]",
        )
    counts = segmentation.get("counts")
    if isinstance(counts, list):
        runs = _plain_runs(counts)
        _check_runs(runs, height, width)
        return coco_mask.frPyObjects({"size": list(size), "counts": counts}, height, width)
    if isinstance(counts, bytes):
        counts = counts.decode("latin-1")
    if not isinstance(counts, str):
        raise _BrokenError(f"the RLE's counts are a {type(counts).__name__}", "Write a string or a list of integers")
    _check_runs(_string_runs(counts), height, width)
    return {"size": list(size), "counts": counts}


def _plain_runs(counts: list[Any]) -> NDArray[np.int64]:
    if not all(type(count) is int for count in counts):
        raise _BrokenError("the RLE's counts are not all integers", "Write run lengths as integers")
    return np.array(counts, np.int64)


def _string_runs(counts: str) -> NDArray[np.int64]:
    """Run lengths of a compressed counts string."""
    codes = np.frombuffer(counts.encode("latin-1", "replace"), np.uint8).astype(np.int64) - FIRST_CHARACTER
    broken = _BrokenError("the RLE's counts string is malformed", "Write the RLE again with pycocotools")
    if codes.size == 0:
        return codes
    if codes.min() < 0 or codes.max() > 63 or codes[-1] & MORE:
        raise broken
    ends = np.flatnonzero((codes & MORE) == 0)
    starts = np.concatenate(([0], ends[:-1] + 1))
    lengths = ends - starts + 1
    if lengths.max() > LONGEST_NUMBER:
        raise broken
    place = np.arange(codes.size) - np.repeat(starts, lengths)
    numbers = np.add.reduceat((codes & (MORE - 1)) << (BITS * place), starts)
    negative = (codes[ends] & 0x10) != 0
    numbers = np.where(negative, numbers - (np.int64(1) << (BITS * lengths)), numbers)
    # From the fourth on, a number is the difference to the run before the last.
    for parity in (1, 2):
        numbers[parity::2] = np.cumsum(numbers[parity::2])
    return numbers


def _check_runs(runs: NDArray[np.int64], height: int, width: int) -> None:
    if runs.size and runs.min() < 0:
        raise _BrokenError("the RLE has a negative run", "Write the RLE again with pycocotools")
    if int(runs.sum()) != height * width:
        raise _BrokenError(
            f"the RLE's runs cover {int(runs.sum())} pixels of {height * width}", "Write the RLE again with pycocotools"
        )


def _from_polygons(polygons: list[Any], height: int, width: int) -> Mask:
    remedy = "Write each polygon as [x1, y1, x2, y2, x3, y3, ...]"
    if not polygons:
        raise _BrokenError("the list of polygons is empty", remedy)
    for number, polygon in enumerate(polygons):
        if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
            raise _BrokenError(f"polygon {number} is not a flat list of three or more points", remedy)
        if not all(_is_finite(value) for value in polygon):
            raise _BrokenError(f"polygon {number} has a coordinate that is not a number", remedy)
    # Points far outside cost pycocotools memory without end; the image's surroundings are all that matters.
    reach = 2 * max(height, width)
    clipped = [[min(max(value, -reach), 2 * reach) for value in polygon] for polygon in polygons]
    return decode_rle(coco_mask.merge(coco_mask.frPyObjects(clipped, height, width)))


def _is_finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _from_image(path: Path, height: int, width: int) -> Mask:
    try:
        with Image.open(path) as image:
            image.load()
            pixels: NDArray[np.generic] = np.asarray(
                image.getchannel("A") if image.mode in ("LA", "PA") else _colours(image)
            )
    except (OSError, SyntaxError, ValueError) as error:
        raise _BrokenError(f"the mask image {path} cannot be read ({error})", "Give a PNG") from error
    if pixels.ndim == 3:
        pixels = np.any(pixels, axis=2)
    if pixels.shape != (height, width):
        raise _BrokenError(
            f"the mask image {path} is {pixels.shape[1]}x{pixels.shape[0]}, the photo {width}x{height}",
            "Give a mask of the photo's size",
        )
    return crop_mask(pixels, 0, 0, height, width)


def _colours(image: Image.Image) -> Image.Image:
    """Without transparency: black there is background whatever the alpha says. Palette indices stay indices."""
    return image.convert("RGB") if image.mode == "RGBA" else image
