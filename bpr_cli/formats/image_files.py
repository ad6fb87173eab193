"""Image files before they are decoded: their headers, and whether they are whole.

Decoders trust what a file says of itself: they fill what a damaged JPEG lacks with grey, and make room for whatever
length a PNG states. So both are looked at first.
"""

from __future__ import annotations

import io
import re
import struct
import threading
import zlib
from dataclasses import dataclass
from pathlib import Path

import simplejpeg
from PIL import Image

from bpr_cli.errors import InputError
from bpr_cli.limits import MOST_PIXELS
from bpr_cli.stores.ahead import photo_bytes

# Pillow tells of broken files in all of these ways.
BROKEN = (
    *(OSError, SyntaxError, ValueError, EOFError, struct.error, TypeError, KeyError, IndexError, OverflowError),
    RuntimeError,  # libavif
)

PNG_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # colour type -> samples of a pixel
MOST_DEFLATED = 1032  # bytes that one byte of deflated data can stand for, at most
PNG_START, JPEG_START = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"
ORIENTATION = 0x0112  # EXIF and TIFF
TIFF_WIDTH, TIFF_HEIGHT, TIFF_BITS = 256, 257, 258
# What libjpeg-turbo says of files that are whole: of oddities in the headers, and of kinds that it does not take.
HARMLESS = ("tj", "Unknown Adobe", "Warning:", "Inconsistent progression", "Invalid SOS")
EXTRANEOUS = re.compile(r"(\d+) extraneous bytes before marker 0xd9")

# The kind of a file by its first bytes, of the kinds that people have and that are not read.
FOREIGN = (
    (re.compile(rb"....ftyp(hei[cxms]|hev[cx]|mif1|msf1)", re.DOTALL), "HEIC"),
    (re.compile(rb"\xff\x0a|\x00\x00\x00\x0cJXL "), "JPEG XL"),
    (re.compile(rb"8BPS"), "Photoshop"),
    (re.compile(rb"%PDF"), "PDF"),
    (re.compile(rb"\s*<(svg|\?xml)"), "SVG"),
    (re.compile(rb"\x76\x2f\x31\x01"), "OpenEXR"),
    (re.compile(rb"\x93NUMPY"), "NumPy"),
    (re.compile(rb".{128}DICM", re.DOTALL), "DICOM"),
    (re.compile(rb"version https://git-lfs"), "Git LFS pointer"),
)

_opening = threading.Lock()


@dataclass(frozen=True, slots=True)
class Header:
    """What an image file says of itself.

    Attributes:
        format: Pillow's name of it.
        mode: of the pixels, as Pillow names it.
        height, width: of the pixels as they are stored, before any turning.
        orientation: EXIF's, 1 to 8; 1 is upright.
        is_deep: whether its samples have more than 8 bits.
    """

    format: str
    mode: str
    height: int
    width: int
    orientation: int
    is_deep: bool


def read_bytes(path: Path) -> bytes:
    """All of a file, which may be in a store; InputError if it cannot be read."""
    try:
        in_store = photo_bytes(path)
        return path.read_bytes() if in_store is None else in_store
    except OSError as error:
        raise InputError(
            f"the image cannot be read ({error.strerror})", file=path, remedy="Replace the file"
        ) from error


def open_image(source: Path | io.BytesIO) -> Image.Image:
    """Open an image of any size, with Pillow: its header alone. Its own limit is the process's, ours is the caller's.

    Raises:
        Any of BROKEN.
    """
    with _opening:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(source)
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def header_of(image: Image.Image) -> Header:
    """The header of an open image."""
    width, height = image.size
    try:
        # Not image.getexif(), which decodes a whole PNG to look behind its pixels.
        orientation = Image.Image.getexif(image).get(ORIENTATION, 1)
    except BROKEN:  # EXIF that cannot be read tells nothing
        orientation = 1
    bits: tuple[int, ...] = (8,)
    if tags := getattr(image, "tag_v2", None):  # TIFF: Pillow gives the size once turned
        width, height = tags.get(TIFF_WIDTH, width), tags.get(TIFF_HEIGHT, height)
        bits = tags.get(TIFF_BITS, bits)
    is_deep = image.mode.startswith(("I", "F")) or max(bits) > 8
    if orientation not in range(1, 9):
        orientation = 1
    return Header(image.format or "", image.mode, height, width, orientation, is_deep)


def check_pixels(height: int, width: int, max_pixels: int, file: Path, image_id: int | str | None = None) -> None:
    """InputError for an image of more pixels than allowed."""
    if height * width > max_pixels:
        raise InputError(
            f"the image has {height} x {width} pixels, more than {max_pixels:,}",
            file=file,
            image_id=image_id,
            remedy=f"Reduce it, or raise --max-pixels (up to {MOST_PIXELS:,})"
            if max_pixels < MOST_PIXELS
            else "Reduce it",
        )


def foreign_kind(data: bytes) -> str | None:
    """The kind of a file that is no image that can be read; None if it is not known."""
    return next((kind for pattern, kind in FOREIGN if pattern.match(data)), None)


def damage(data: bytes) -> str | None:
    """What is wrong with a JPEG's or PNG's bytes; None if nothing is, or for other kinds."""
    if data.startswith(JPEG_START):
        return _jpeg_damage(data)
    return png_damage(data)


def png_damage(data: bytes) -> str | None:
    """What is wrong with a PNG's chunks; None for a whole PNG and for other files."""
    if not data.startswith(PNG_START):
        return None
    position, deflated = len(PNG_START), 0
    while position + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if end > len(data):
            return f"its chunk {kind.decode('latin-1')!r} states {length} bytes, {len(data) - position - 12} are left"
        is_critical = not kind[0] & 0x20
        (checksum,) = struct.unpack_from(">I", data, end - 4)
        if is_critical and zlib.crc32(memoryview(data)[position + 4 : end - 4]) != checksum:
            return f"the checksum of its chunk {kind.decode('latin-1')!r} is wrong"
        if kind == b"IDAT":
            deflated += length
        if kind == b"IEND":
            return _png_shortage(data, deflated)
        position = end
    return "it ends too early"


def _png_shortage(data: bytes, deflated: int) -> str | None:
    """What is wrong with a PNG whose header states more pixels than this many bytes can hold."""
    if data[12:16] != b"IHDR" or len(data) < 26:
        return None  # decoders refuse it
    width, height, bits, colours = struct.unpack_from(">IIBB", data, 16)
    stated = height * -(-width * bits * PNG_SAMPLES.get(colours, 1) // 8)
    if stated <= deflated * MOST_DEFLATED:
        return None
    return f"its header states {width}x{height} pixels, more than its {deflated} bytes of data can hold"


def is_deep_png(data: bytes) -> bool:
    """Whether the samples of a PNG have 16 bits; False for other files."""
    return data.startswith(PNG_START) and len(data) > 24 and data[24] == 16


def _jpeg_damage(data: bytes) -> str | None:
    """libjpeg-turbo's first complaint of a JPEG, whose decoders fill what they cannot make out and go on.

    An eighth of the size is decoded, which takes all of the data but little time. A flaw after which the data happen to
    come out even is not found: a JPEG has no checksum.
    """
    try:
        simplejpeg.decode_jpeg(data, "GRAY", min_height=1, min_width=1, min_factor=8, strict=True)
    except ValueError as error:
        problem = str(error)
        extraneous = EXTRANEOUS.search(problem)
        if extraneous and int(extraneous[1]) <= _zeros_before_end(data):
            return None  # as some cameras write them
        return None if problem.startswith(HARMLESS) else problem
    return None


def _zeros_before_end(data: bytes) -> int:
    """How many bytes of zero stand between a JPEG's pixels and its end mark."""
    whole = data[: data.rfind(b"\xff\xd9")]
    pixels = whole.rstrip(b"\0")
    return len(whole) - len(pixels) - pixels.endswith(b"\xff")  # FF 00 is how pixels write an FF
