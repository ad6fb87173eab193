"""From a segmentation as a file writes it to a `Mask`: compressed or plain RLE, polygons, a mask image."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from bpr_cli.errors import InputError
from bpr_cli.formats.fields import described
from bpr_cli.formats.label_pixels import LabelPixels
from bpr_cli.formats.mask_pixels import MaskImageError, read_foreground
from bpr_cli.formats.polygons import polygons_mask
from bpr_cli.formats.records import Instance
from bpr_cli.formats.rle import RLE, BrokenSegmentationError, check_rle, encode_rle, read_rle
from bpr_cli.masks import Mask, crop_mask

MAX_PIXELS = 2**31 - 1  # pycocotools counts pixels in 32 bits


class OwnForm(ABC):
    """A segmentation in a form that one format alone has."""

    @abstractmethod
    def to_mask(self, height: int, width: int) -> Mask:
        """The mask on an image of this size, in pixels; BrokenSegmentationError if it cannot be."""


def decode_mask(instance: Instance, height: int, width: int, left_out: list[str] | None = None) -> Mask:
    """The mask of an instance on an image of this size, in pixels.

    Args:
        instance: its segmentation is RLE (counts compressed, str or bytes, or a list), a list of polygons, the
            path of a mask image (`mask_pixels.read_foreground`), the pixels of a number in a map, or an `OwnForm`.
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
        if isinstance(segmentation, OwnForm):
            return segmentation.to_mask(height, width)
        if isinstance(segmentation, LabelPixels):
            return _from_map(segmentation, height, width)
        if isinstance(segmentation, Mapping):
            return read_rle(segmentation, height, width)
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
            rle, runs = check_rle(segmentation, height, width)
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


def _from_image(path: Path, height: int, width: int) -> Mask:
    try:
        mask_HW = read_foreground(path, height, width)
    except MaskImageError as error:
        raise BrokenSegmentationError(error.problem, error.remedy) from error
    return crop_mask(mask_HW, 0, 0, height, width)


def _from_map(segmentation: LabelPixels, height: int, width: int) -> Mask:
    mask_HW = segmentation.read()
    if mask_HW.shape != (height, width):
        raise BrokenSegmentationError(
            f"the map {segmentation.path.name} is {mask_HW.shape[1]}x{mask_HW.shape[0]}, the photo {width}x{height}",
            "Give a map of the photo's size",
        )
    return crop_mask(mask_HW, 0, 0, height, width)
