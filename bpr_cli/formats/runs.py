"""Run lengths of an RLE, read from its counts and checked.

pycocotools reads whatever it is given: broken counts make it write beyond its buffers or return rubbish. So counts are
checked here first.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bpr_cli.formats.polygons import BrokenSegmentationError

# COCO's string form of a number: five bits a character from "0" on, the sixth bit says that more follow.
FIRST_CHARACTER = 48
BITS, MORE = 5, 0x20
LONGEST_NUMBER = 7  # characters; 35 bits hold any count

REWRITE = "Write the RLE again with pycocotools"

FEWEST_RUNS = 16  # from which on runs along rows are told from runs down columns
STRIPED = 2.0  # how much longer the boundary of stripes is than that of the mask they were made of


def plain_runs(counts: list[Any]) -> NDArray[np.int64]:
    """Run lengths of counts written as a list: (N,) int64."""
    if not all(type(count) is int for count in counts):
        raise BrokenSegmentationError("the RLE's counts are not all integers", "Write run lengths as integers")
    try:
        return np.array(counts, np.int64)
    except OverflowError:
        raise BrokenSegmentationError("the RLE has a run of absurd length", REWRITE) from None


def string_runs(counts: str | bytes) -> NDArray[np.int64]:
    """Run lengths of a compressed counts string: (N,) int64, possibly negative if the string is broken.

    A seventh of the time that pycocotools takes to decode the mask (480x854, 840 characters).
    """
    try:
        chars = counts.encode("ascii") if isinstance(counts, str) else counts
    except UnicodeEncodeError:
        raise BrokenSegmentationError("the RLE's counts string has characters outside ASCII", REWRITE) from None
    # Unsigned, so characters below the first one wrap to more than 63 as well.
    codes = np.frombuffer(chars, np.uint8) - np.uint8(FIRST_CHARACTER)
    if codes.size == 0:
        return np.zeros(0, np.int64)
    if codes.max() > 63 or codes[-1] & MORE:
        raise BrokenSegmentationError("the RLE's counts string is malformed", REWRITE)
    digits = (codes & (MORE - 1)).astype(np.int64)
    ends = np.flatnonzero(codes < MORE)
    further = np.diff(ends, prepend=-1) - 1  # characters before a number's last, which is its highest and has the sign
    if further.max() >= LONGEST_NUMBER:
        raise BrokenSegmentationError("the RLE's counts string is malformed", REWRITE)
    numbers = (digits[ends] ^ 16) - 16
    for step in range(1, int(further.max()) + 1):
        longer = np.flatnonzero(further >= step)
        numbers[longer] = (numbers[longer] << BITS) | digits[ends[longer] - step]
    # From the fourth on, a number is the difference to the run before the last.
    for parity in (1, 2):
        numbers[parity::2] = np.cumsum(numbers[parity::2])
    return numbers


def check_runs(runs: NDArray[np.int64], height: int, width: int) -> None:
    """Make sure that runs cover an image of this size, down its columns."""
    if runs.size and runs.min() < 0:
        raise BrokenSegmentationError("the RLE has a negative run", REWRITE)
    # One run alone first: the sum of absurd ones could overflow to the right number.
    if runs.size and runs.max() > height * width:
        raise BrokenSegmentationError(
            f"the RLE has a run of {runs.max()} pixels in an image of {height * width}", REWRITE
        )
    covered = int(runs.sum())
    if covered != height * width:
        raise BrokenSegmentationError(f"the RLE's runs cover {covered} pixels of {height * width}", REWRITE)
    if _are_along_rows(runs, height, width):
        raise BrokenSegmentationError(
            "the RLE runs along rows: its mask would be stripes",
            "Write runs down the columns, as pycocotools does of np.asfortranarray(mask)",
        )


def _are_along_rows(runs: NDArray[np.int64], height: int, width: int) -> bool:
    """Whether runs were written row after row, so that read down the columns they are stripes."""
    starts = np.cumsum(runs)[:-1:2]  # where each run of object begins
    if len(starts) < FEWEST_RUNS or height == width:
        return False
    if 2 * _misfit(starts, width) > _misfit(starts, height):
        return False
    pixels = np.repeat(np.arange(len(runs), dtype=np.uint8) & 1, runs)
    return _boundary(pixels.reshape(width, height)) > STRIPED * _boundary(pixels.reshape(height, width))


def _misfit(starts: NDArray[np.int64], period: int) -> int:
    """How far from one period after a run another one begins: the median over some runs, in pixels."""
    after = starts[:: len(starts) // FEWEST_RUNS] + period
    following = np.searchsorted(starts, after)
    before = after - starts[np.maximum(following - 1, 0)]
    behind = starts[np.minimum(following, len(starts) - 1)] - after
    distances = np.minimum(np.abs(before), np.abs(behind)).tolist()
    return sorted(distances)[len(distances) // 2]  # a tenth of np.median's time


def _boundary(mask_HW: NDArray[np.uint8]) -> int:
    """Number of neighbouring pixels that differ."""
    return int(np.count_nonzero(mask_HW[1:] != mask_HW[:-1]) + np.count_nonzero(mask_HW[:, 1:] != mask_HW[:, :-1]))
