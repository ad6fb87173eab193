"""From a segmentation as a file writes it to a `Mask`: compressed or plain RLE, polygons, a mask image.

pycocotools reads whatever it is given: broken counts make it write beyond its buffers or return rubbish. So counts are
checked here first.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from bpr_cli.errors import InputError
from bpr_cli.formats.mask_pixels import MaskImageError, read_foreground
from bpr_cli.formats.records import Instance
from bpr_cli.masks import RLE, Mask, crop_mask, decode_rle, encode_rle

# COCO's string form of a number: five bits a character from "0" on, the sixth bit says that more follow.
FIRST_CHARACTER = 48
BITS, MORE = 5, 0x20
LONGEST_NUMBER = 7  # characters; 35 bits hold any count

MAX_PIXELS = 2**31 - 1  # pycocotools counts pixels in 32 bits
REWRITE = "Write the RLE again with pycocotools"


def decode_mask(instance: Instance, height: int, width: int) -> Mask:
    """The mask of an instance on an image of this size, in pixels.

    Args:
        instance: its segmentation is RLE (counts compressed, str or bytes, or a list), a list of polygons, or the
            path of a mask image (`mask_pixels.read_foreground`).
        height, width: the image's size.

    Raises:
        InputError: the segmentation is broken or not of the image's size; names file, image id and index.
    """
    with _located(instance):
        _check_frame(height, width)
        segmentation = instance.segmentation
        if isinstance(segmentation, Path):
            return _from_image(segmentation, height, width)
        if isinstance(segmentation, Mapping):
            return _from_rle(segmentation, height, width)
        if isinstance(segmentation, list):
            return _from_polygons(segmentation, height, width)
        raise _BrokenError(
            f"the segmentation is a {type(segmentation).__name__}", "Give RLE (size and counts) or a list of polygons"
        )


def compress_mask(instance: Instance, height: int, width: int) -> RLE:
    """The mask of an instance as compressed RLE; one that came as such is checked and passed on, not decoded.

    Args, Raises: as in `decode_mask`.
    """
    segmentation = instance.segmentation
    if isinstance(segmentation, Mapping) and isinstance(segmentation.get("counts"), str):
        with _located(instance):
            _check_frame(height, width)
            rle, runs = _checked_rle(segmentation, height, width)
        if runs[1:].all():
            return rle
    return encode_rle(decode_mask(instance, height, width))


@contextmanager
def _located(instance: Instance) -> Iterator[None]:
    """Turns what is wrong with a segmentation into an error that says where."""
    try:
        yield
    except _BrokenError as broken:
        raise InputError(
            broken.problem,
            file=instance.source,
            image_id=instance.image_id,
            index=instance.index,
            remedy=broken.remedy,
        ) from None


def _check_frame(height: int, width: int) -> None:
    if height * width > MAX_PIXELS:
        raise _BrokenError(f"an image of {height} x {width} pixels is too large", "Check the image's size")


class _BrokenError(Exception):
    """What is wrong with a segmentation; `_located` adds where."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(problem)
        self.problem, self.remedy = problem, remedy


def rle_size(segmentation: Any) -> tuple[int, int] | None:
    """Height and width that an RLE states; None for other segmentations and for sizes that make no sense."""
    size = segmentation.get("size") if isinstance(segmentation, Mapping) else None
    if not isinstance(size, Sequence) or len(size) != 2 or not all(type(side) is int and side > 0 for side in size):
        return None
    return size[0], size[1]


def _from_rle(segmentation: Mapping[str, Any], height: int, width: int) -> Mask:
    rle, runs = _checked_rle(segmentation, height, width)
    mask = decode_rle(rle)
    if runs[1:].all():
        return mask
    # Runs of length zero are legal, but pycocotools' box then takes in a pixel that is none of the mask's.
    return crop_mask(mask.pixels_HW, mask.x1, mask.y1, height, width)


def _checked_rle(segmentation: Mapping[str, Any], height: int, width: int) -> tuple[RLE, NDArray[np.int64]]:
    """The RLE, compressed, and its run lengths, once both are known to make sense."""
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
        return coco_mask.frPyObjects({"size": list(size), "counts": counts}, height, width), runs
    if isinstance(counts, (str, bytes)):
        runs = _string_runs(counts)
        _check_runs(runs, height, width)
        return {"size": list(size), "counts": counts if isinstance(counts, str) else counts.decode("ascii")}, runs
    raise _BrokenError(f"the RLE's counts are a {type(counts).__name__}", "Write a string or a list of integers")


def _plain_runs(counts: list[Any]) -> NDArray[np.int64]:
    if not all(type(count) is int for count in counts):
        raise _BrokenError("the RLE's counts are not all integers", "Write run lengths as integers")
    try:
        return np.array(counts, np.int64)
    except OverflowError:
        raise _BrokenError("the RLE has a run of absurd length", REWRITE) from None


def _string_runs(counts: str | bytes) -> NDArray[np.int64]:
    """Run lengths of a compressed counts string: (N,) int64, possibly negative if the string is broken.

    A seventh of the time that pycocotools takes to decode the mask (480x854, 840 characters).
    """
    try:
        chars = counts.encode("ascii") if isinstance(counts, str) else counts
    except UnicodeEncodeError:
        raise _BrokenError("the RLE's counts string has characters outside ASCII", REWRITE) from None
    # Unsigned, so characters below the first one wrap to more than 63 as well.
    codes = np.frombuffer(chars, np.uint8) - np.uint8(FIRST_CHARACTER)
    if codes.size == 0:
        return np.zeros(0, np.int64)
    if codes.max() > 63 or codes[-1] & MORE:
        raise _BrokenError("the RLE's counts string is malformed", REWRITE)
    digits = (codes & (MORE - 1)).astype(np.int64)
    ends = np.flatnonzero(codes < MORE)
    further = np.diff(ends, prepend=-1) - 1  # characters before a number's last, which is its highest and has the sign
    if further.max() >= LONGEST_NUMBER:
        raise _BrokenError("the RLE's counts string is malformed", REWRITE)
    numbers = (digits[ends] ^ 16) - 16
    for step in range(1, int(further.max()) + 1):
        longer = np.flatnonzero(further >= step)
        numbers[longer] = (numbers[longer] << BITS) | digits[ends[longer] - step]
    # From the fourth on, a number is the difference to the run before the last.
    for parity in (1, 2):
        numbers[parity::2] = np.cumsum(numbers[parity::2])
    return numbers


def _check_runs(runs: NDArray[np.int64], height: int, width: int) -> None:
    if runs.size and runs.min() < 0:
        raise _BrokenError("the RLE has a negative run", REWRITE)
    # One run alone first: the sum of absurd ones could overflow to the right number.
    if runs.size and runs.max() > height * width:
        raise _BrokenError(f"the RLE has a run of {runs.max()} pixels in an image of {height * width}", REWRITE)
    covered = int(runs.sum())
    if covered != height * width:
        raise _BrokenError(f"the RLE's runs cover {covered} pixels of {height * width}", REWRITE)


def _from_polygons(polygons: list[Any], height: int, width: int) -> Mask:
    remedy = "Write each polygon as [x1, y1, x2, y2, x3, y3, ...]"
    if not polygons:
        raise _BrokenError("the list of polygons is empty", remedy)
    for number, polygon in enumerate(polygons):
        if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
            raise _BrokenError(f"polygon {number} is not a flat list of three or more points", remedy)
        if not all(is_finite(value) for value in polygon):
            raise _BrokenError(f"polygon {number} has a coordinate that is not a finite number", remedy)
    # Points far outside cost pycocotools memory without end; the image's surroundings are all that matters.
    reach = 2 * max(height, width)
    clipped = [[min(max(value, -reach), 2 * reach) for value in polygon] for polygon in polygons]
    return decode_rle(coco_mask.merge(coco_mask.frPyObjects(clipped, height, width)))


def is_finite(value: Any) -> bool:
    """Whether it is a number, neither infinite nor NaN, and not a bool."""
    # Integers are compared, not converted: JSON knows some that no float holds.
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -math.inf < value < math.inf


def _from_image(path: Path, height: int, width: int) -> Mask:
    try:
        mask_HW = read_foreground(path, height, width)
    except MaskImageError as error:
        raise _BrokenError(error.problem, error.remedy) from error
    return crop_mask(mask_HW, 0, 0, height, width)
