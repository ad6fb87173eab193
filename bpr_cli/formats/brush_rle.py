"""Label Studio's run lengths of brush strokes: packed bits, as `thi.ng/rle-pack` defines them.

A head of 32 bits for the number of values, 5 for the bits of a value (less one) and four times 4 for the bits of the
four sizes of counts (less one). Then blocks: a bit that says whether one value follows that is repeated, 2 bits for the
size of the count, the count (less one), and that one value or as many as were counted. The values are a picture's,
red, green, blue and opacity of each pixel along the rows; what is opaque is the mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bpr_cli.formats.rle import BrokenSegmentationError
from bpr_cli.masks import Mask, crop_mask, to_frame

CHANNELS = 4
VALUE_BITS = 8
COUNT_BITS = (3, 4, 8, 16)  # of the counts that are written
LONGEST = 1 << COUNT_BITS[-1]
REMEDY = "Export the project from Label Studio again"


def decode_brush(packed: Sequence[Any], height: int, width: int) -> Mask:
    """The mask of packed run lengths.

    Args:
        packed: bytes as integers.
        height, width: the image's size.

    Raises:
        BrokenSegmentationError: they are broken, or are not of an image of this size.
    """
    try:
        bits = _Bits(bytes(packed))
    except (TypeError, ValueError):
        raise BrokenSegmentationError("the brush's rle is not a list of bytes", REMEDY) from None
    count, value_bits = bits.read(32), bits.read(5) + 1
    if count != CHANNELS * height * width:
        raise BrokenSegmentationError(
            f"the brush's rle is of {count} values, its photo of {width}x{height} has {CHANNELS} times as many pixels",
            "Check that the results belong to these photos",
        )
    if value_bits != VALUE_BITS:
        raise BrokenSegmentationError(f"the brush's rle has values of {value_bits} bits", REMEDY)
    sizes = [bits.read(4) + 1 for _ in range(4)]
    values = np.zeros(count, np.uint8)
    start = 0
    while start < count:
        is_repeated = bits.read(1)
        end = start + bits.read(sizes[bits.read(2)]) + 1
        if end > count:
            raise BrokenSegmentationError("the brush's rle has more values than it says", REMEDY)
        values[start:end] = bits.read(VALUE_BITS) if is_repeated else bits.read_bytes(end - start)
        start = end
    return crop_mask(values[CHANNELS - 1 :: CHANNELS].reshape(height, width) > 0, 0, 0, height, width)


def encode_brush(mask: Mask) -> list[int]:
    """The mask as packed run lengths, white and opaque on transparent black."""
    pixels = to_frame(mask).ravel()
    edges = np.flatnonzero(np.diff(pixels)) + 1
    starts = np.concatenate(([0], edges))
    lengths = np.diff(np.concatenate((starts, [len(pixels)]))) * CHANNELS
    head = [(len(pixels) * CHANNELS, 32), (VALUE_BITS - 1, 5), *((size - 1, 4) for size in COUNT_BITS)]
    words = head
    for is_object, length in zip(pixels[starts].tolist(), lengths.tolist(), strict=True):
        words += [word for part in _split(length) for word in _block(part, 255 * is_object)]
    number = bits = 0
    packed = bytearray()
    for word, size in words:
        number, bits = (number << size) | word, bits + size
        while bits >= 8:
            bits -= 8
            packed.append(number >> bits)
            number &= (1 << bits) - 1
    packed.append(number << (8 - bits))
    return list(packed)


def _split(length: int) -> list[int]:
    """A run as runs that a count can hold."""
    whole, rest = divmod(length, LONGEST)
    return [LONGEST] * whole + [rest] * (rest > 0)


def _block(length: int, value: int) -> list[tuple[int, int]]:
    """A run as words of bits: (number, size)."""
    size = next(number for number, bits in enumerate(COUNT_BITS) if length <= 1 << bits)
    return [(1, 1), (size, 2), (length - 1, COUNT_BITS[size]), (value, VALUE_BITS)]


class _Bits:
    """Reads numbers of so many bits, one after the other."""

    def __init__(self, data: bytes) -> None:
        self._data, self._position = data, 0

    def read(self, size: int) -> int:
        """The next number, of 32 bits at most."""
        end = self._position + size
        if end > 8 * len(self._data):
            raise BrokenSegmentationError("the brush's rle ends too early", REMEDY)
        first, last = self._position // 8, -(-end // 8)
        self._position = end
        window = int.from_bytes(self._data[first:last], "big") >> (8 * last - end)
        return window & ((1 << size) - 1)

    def read_bytes(self, count: int) -> NDArray[np.uint8]:
        """The next numbers of 8 bits each."""
        start, end = self._position, self._position + 8 * count
        if end > 8 * len(self._data):
            raise BrokenSegmentationError("the brush's rle ends too early", REMEDY)
        self._position = end
        whole = np.frombuffer(self._data, np.uint8)[start // 8 : -(-end // 8)]
        return np.packbits(np.unpackbits(whole)[start % 8 :][: 8 * count])
