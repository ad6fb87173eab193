"""From a segmentation as a file writes it to a `Mask`: compressed or plain RLE, polygons, a mask image.

pycocotools reads whatever it is given: broken counts make it write beyond its buffers or return rubbish. So counts are
checked here first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from bpr_cli.errors import InputError
from bpr_cli.formats.fields import as_side, described
from bpr_cli.formats.mask_pixels import MaskImageError, read_foreground
from bpr_cli.formats.polygons import BrokenSegmentationError, polygons_mask
from bpr_cli.formats.records import Instance
from bpr_cli.formats.runs import check_runs, plain_runs, string_runs
from bpr_cli.masks import RLE, Mask, crop_mask, decode_rle, encode_rle

MAX_PIXELS = 2**31 - 1  # pycocotools counts pixels in 32 bits


def decode_mask(instance: Instance, height: int, width: int, left_out: list[str] | None = None) -> Mask:
    """The mask of an instance on an image of this size, in pixels.

    Args:
        instance: its segmentation is RLE (counts compressed, str or bytes, or a list), a list of polygons, or the
            path of a mask image (`mask_pixels.read_foreground`).
        height, width: the image's size.
        left_out: gains a line for each bad polygon among good ones, which is then left out; None: that is an error.

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
            bad: list[str] | None = None if left_out is None else []
            mask = polygons_mask(segmentation, height, width, bad)
            if left_out is not None:
                left_out.extend(str(_error(instance, f"{line}; the others are used")) for line in bad or ())
            return mask
        raise BrokenSegmentationError(
            f"the segmentation is {described(segmentation)}", "Give RLE (size and counts) or a list of polygons"
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
    except BrokenSegmentationError as broken:
        raise _error(instance, broken.problem, broken.remedy) from None


def _error(instance: Instance, problem: str, remedy: str | None = None) -> InputError:
    return InputError(problem, file=instance.source, image_id=instance.image_id, index=instance.index, remedy=remedy)


def _check_frame(height: int, width: int) -> None:
    if height * width > MAX_PIXELS:
        raise BrokenSegmentationError(f"an image of {height} x {width} pixels is too large", "Check the image's size")


def rle_size(segmentation: Any) -> tuple[int, int] | None:
    """Height and width that an RLE states; None for other segmentations and for sizes that make no sense."""
    size = segmentation.get("size") if isinstance(segmentation, Mapping) else None
    if not isinstance(size, (list, tuple)) or len(size) != 2:
        return None
    height, width = map(as_side, size)
    return None if height is None or width is None else (height, width)


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
        raise BrokenSegmentationError(
            f"the RLE's size is {described(segmentation.get('size'))}", "Write it as [height, width] in pixels"
        )
    if size != (height, width):
        raise BrokenSegmentationError(
            f"the RLE's size {list(size)} is not the image's [{height}, {width}]",
            "Check that the results belong to these images, and that size is [height, width]",
        )
    counts = segmentation.get("counts")
    if isinstance(counts, list):
        runs = plain_runs(counts)
    elif isinstance(counts, (str, bytes)):
        runs = string_runs(counts)
    else:
        raise BrokenSegmentationError(
            f"the RLE's counts are {described(counts)}", "Write a string or a list of integers"
        )
    check_runs(runs, height, width)
    if isinstance(counts, list):
        return coco_mask.frPyObjects({"size": list(size), "counts": counts}, height, width), runs
    return {"size": list(size), "counts": counts if isinstance(counts, str) else counts.decode("ascii")}, runs


def _from_image(path: Path, height: int, width: int) -> Mask:
    try:
        mask_HW = read_foreground(path, height, width)
    except MaskImageError as error:
        raise BrokenSegmentationError(error.problem, error.remedy) from error
    return crop_mask(mask_HW, 0, 0, height, width)
