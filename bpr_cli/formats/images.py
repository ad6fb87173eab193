"""Photos: their size, and their pixels as 8-bit RGB, the right way up."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from bpr_cli.errors import InputError
from bpr_cli.formats.image_files import (
    BROKEN,
    Header,
    check_pixels,
    damage,
    foreign_kind,
    header_of,
    is_deep_png,
    open_image,
    read_bytes,
)
from bpr_cli.formats.orientation import ORIENTATIONS, is_meant_turned, turn, turned_size
from bpr_cli.formats.records import ImageRecord, Instance
from bpr_cli.limits import MAX_PIXELS, MOST_PIXELS
from bpr_cli.notices import warn_of_input
from bpr_cli.stores.ahead import photo_bytes

DEEP = {"PPM", "JPEG2000", "AVIF"}  # formats whose header, as Pillow reads it, does not tell the samples' bits
TURNED_BY_DECODER = {"TIFF"}  # formats that decoders turn by themselves, whatever they are asked
PLAIN = {"1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"}  # modes that Pillow converts to RGB as they look
ORIENTATION_NOTES = {
    "exif": "turned as its EXIF says, though no size tells that the results mean it so "
    "(--orientation stored leaves it as it is stored)",
    "stored": "left as it is stored, though its EXIF turns it and no size tells which of them the results mean "
    "(--orientation exif turns it)",
}


@dataclass(frozen=True, slots=True)
class PhotoReader:
    """Reads an input's photos, each the way up that its masks mean.

    Attributes:
        orientation, max_pixels: as in `read_image`.
    """

    orientation: str = "exif"
    max_pixels: int = MAX_PIXELS

    def __post_init__(self) -> None:
        if self.orientation not in ORIENTATIONS:
            raise InputError(f"no orientation {self.orientation!r}", remedy=f"Choose from {', '.join(ORIENTATIONS)}")
        if not 1 <= self.max_pixels <= MOST_PIXELS:
            raise InputError(f"{self.max_pixels:,} pixels are no limit", remedy=f"Use 1 to {MOST_PIXELS:,}")

    def read(self, path: Path, record: ImageRecord, instances: Sequence[Instance] = ()) -> NDArray[np.uint8]:
        """The pixels of one photo, (H, W, 3) uint8 RGB.

        Args:
            path: the file.
            record: what the input says of the image.
            instances: the masks on it; where the record states no size, they tell which way up the photo is meant.

        Raises:
            InputError: as in `read_image`.
        """
        size = (record.height, record.width) if record.height and record.width else None
        return read_image(path, size, instances, orientation=self.orientation, max_pixels=self.max_pixels)


def read_image(
    path: Path,
    size: tuple[int, int] | None = None,
    instances: Sequence[Instance] = (),
    *,
    orientation: str = "exif",
    max_pixels: int = MAX_PIXELS,
) -> NDArray[np.uint8]:
    """The pixels of a photo, decoded by OpenCV.

    Args:
        path: the file.
        size: (height, width) that the results state, if they do.
        instances: the masks on the photo, which tell its way up where no size is stated.
        orientation: where size and masks do not tell: "exif" turns the photo as its EXIF says, as most tools do;
            "stored" leaves it. An `InputWarning` says that it had to be chosen.
        max_pixels: more are refused, before anything is decoded.

    Returns:
        (H, W, 3) uint8 RGB. Grey, palette, CMYK and transparent images are converted; of 16 bits, those that are
        used are kept down to the eighth.

    Raises:
        InputError: a missing, damaged or too large file, a kind that cannot be read, or another size.
    """
    data = read_bytes(path)
    problem = damage(data)  # a damaged header first of all: what it states may be anything
    if problem is not None:
        raise InputError(f"the image is truncated or broken ({problem})", file=path, remedy="Copy or download it again")
    header = _header(data)
    if header is None:
        return _read_without_header(data, path, size, max_pixels)
    check_pixels(header.height, header.width, max_pixels, path)
    is_turned = is_meant_turned(header, size, instances)
    if is_turned is None:
        is_turned = orientation == "exif"
        warn_of_input(ORIENTATION_NOTES[orientation], path)
    _check_size(turned_size(header) if is_turned else (header.height, header.width), size, path)
    return _turned(_pixels(data, header, path), header, is_turned)


def image_size(path: Path) -> tuple[int, int]:
    """Height and width from the file's header, as it is stored; InputError if it cannot be read."""
    header = image_header(path)
    return header.height, header.width


def image_header(path: Path) -> Header:
    """The file's header; InputError if it cannot be read."""
    in_store = photo_bytes(path, keep=True)
    try:
        with open_image(path if in_store is None else io.BytesIO(in_store)) as image:
            return header_of(image)
    except BROKEN as error:
        raise _undecodable(read_bytes(path) if in_store is None else in_store, path) from error


def _header(data: bytes) -> Header | None:
    """None for what Pillow does not know."""
    try:
        with open_image(io.BytesIO(data)) as image:
            return header_of(image)
    except BROKEN:
        return None


def _check_size(found: tuple[int, int], size: tuple[int, int] | None, path: Path) -> None:
    if size is not None and found != tuple(size):
        raise InputError(
            f"the image is {found[1]}x{found[0]}, the results say {size[1]}x{size[0]}",
            file=path,
            remedy="Check that the results belong to these images",
        )


def _read_without_header(data: bytes, path: Path, size: tuple[int, int] | None, max_pixels: int) -> NDArray[np.uint8]:
    """The pixels of a kind of image that OpenCV alone may know."""
    kind = foreign_kind(data)
    pixels = None if kind is not None else _decoded(data)
    if pixels is None:
        raise _undecodable(data, path)
    height, width = pixels.shape[:2]
    check_pixels(height, width, max_pixels, path)
    _check_size((height, width), size, path)
    return _as_rgb(pixels)


def _undecodable(data: bytes, path: Path) -> InputError:
    kind = foreign_kind(data)
    if kind is None:
        return InputError("the image cannot be decoded", file=path, remedy="Replace the file")
    return InputError(
        f"the file is of the kind {kind}, which cannot be read", file=path, remedy="Convert it to JPEG or PNG"
    )


def _pixels(data: bytes, header: Header, path: Path) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB, turned only if decoders cannot but do so."""
    if header.format == "TIFF":
        _check_tiff(data, path)
    pixels = _decoded(data)
    if pixels is not None:
        if header.is_deep or is_deep_png(data) or header.format in DEEP:
            pixels = _scaled(data, pixels, path)
        return _as_rgb(pixels)
    if header.mode not in PLAIN:
        raise InputError(
            f"the image's samples are not of 8 or 16 bits (mode {header.mode})", file=path, remedy="Convert it to these"
        )
    try:
        with open_image(io.BytesIO(data)) as image:
            return np.asarray(image.convert("RGB"), np.uint8)
    except BROKEN as error:
        raise _undecodable(data, path) from error


def _check_tiff(data: bytes, path: Path) -> None:
    """OpenCV goes on past damage in compressed strips, Pillow does not."""
    try:
        with open_image(io.BytesIO(data)) as image:
            if image.info.get("compression", "raw") != "raw":
                image.load()
    except BROKEN as error:
        raise InputError(
            f"the image is truncated or broken ({error})", file=path, remedy="Copy or download it again"
        ) from error


def _scaled(data: bytes, eight_bits_HWC: NDArray[np.uint8], path: Path) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 BGR of the bits that are used: cameras and microscopes write 10 to 14 bits into 16."""
    deep_HWC = _decoded(data, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION)
    if deep_HWC is None or deep_HWC.dtype != np.uint16:
        return eight_bits_HWC
    bits = int(deep_HWC.max()).bit_length()
    if bits == 16:
        return eight_bits_HWC
    warn_of_input(f"of its 16 bits {max(bits, 8)} are used; they were scaled to 8", path)
    return np.asarray(deep_HWC >> max(bits - 8, 0), np.uint8)


def _turned(image_HWC: NDArray[np.uint8], header: Header, is_turned: bool) -> NDArray[np.uint8]:
    if header.format not in TURNED_BY_DECODER:
        return turn(image_HWC, header.orientation) if is_turned else image_HWC
    if is_turned:
        return image_HWC
    back = {6: 8, 8: 6}.get(header.orientation, header.orientation)  # all others undo themselves
    return turn(image_HWC, back)


def _decoded(data: bytes, flags: int = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION) -> NDArray[Any] | None:
    """(H, W, 3) BGR; None for what OpenCV cannot decode."""
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)  # not imread: ASCII paths only on Windows
    except cv2.error:
        return None
    return pixels


def _as_rgb(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), np.uint8)
