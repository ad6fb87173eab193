"""What became of each mask between two files of the same detections: counts of pixels, no pixels."""

from __future__ import annotations

import heapq
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from bpr_cli.formats.rle import RLE, encode_rle
from bpr_cli.masks import Mask, common_pixels


class Fate(IntEnum):
    """What became of a mask."""

    NOT_USED = 0  # it was skipped, or its photo was
    NOT_LOOKED_AT = 1  # below the least score, or without a boundary
    UNCHANGED = 2  # the same pixels
    REFUSED = 3  # the same pixels, as the photo did not bear its refinement out
    CHANGED = 4

    @property
    def words(self) -> str:
        """How people call it."""
        return self.name.lower().replace("_", " ")


class Changes:
    """Counts of each detection, by its index in the input: 25 bytes each.

    Args:
        count: detections of the input.

    Attributes:
        fates_N: uint8, a `Fate` each.
        before_N, after_N, common_N: int64, pixels of the mask before and after, and of both; 0 where NOT_USED.
    """

    def __init__(self, count: int) -> None:
        self.fates_N = np.full(count, Fate.NOT_USED, np.uint8)
        self.before_N, self.after_N, self.common_N = (np.zeros(count, np.int64) for _ in range(3))

    def add(self, index: int, before: Mask, after: Mask, if_same: Fate = Fate.UNCHANGED) -> None:
        """Count one detection, of which both masks are of one image; `if_same` is its fate if no pixel differs."""
        self.before_N[index], self.after_N[index] = before.area, after.area
        self.common_N[index] = common_pixels(before, after)
        is_same = before.area == after.area == self.common_N[index]
        self.fates_N[index] = if_same if is_same else Fate.CHANGED

    def pixels_changed(self) -> NDArray[np.int64]:
        """(N,) pixels that are foreground in one of the two masks alone."""
        return self.before_N + self.after_N - 2 * self.common_N

    def ious(self) -> NDArray[np.float64]:
        """(N,) IoU of the masks before and after, 0..1; 1 where neither has a pixel."""
        union_N = self.before_N + self.after_N - self.common_N
        return np.divide(self.common_N, union_N, out=np.ones(len(union_N)), where=union_N > 0)

    def of(self, fate: Fate) -> NDArray[np.int64]:
        """Indices of the detections with this fate."""
        return np.flatnonzero(self.fates_N == fate)


class Refusals:
    """What was refused, of those detections of which most was refused.

    Args:
        most: how many are kept.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._heap: list[tuple[float, int, RLE]] = []

    def add(self, index: int, kept: Mask, refused: Mask) -> None:
        """A detection's mask, and the one that was refused for it."""
        common = common_pixels(kept, refused)
        iou = common / max(1, kept.area + refused.area - common)
        if len(self._heap) < self._most or iou < -self._heap[0][0]:
            push = heapq.heappush if len(self._heap) < self._most else heapq.heapreplace
            push(self._heap, (-iou, index, encode_rle(refused)))

    @property
    def masks(self) -> dict[int, RLE]:
        """Index -> the refused mask, the one furthest from what was kept first."""
        return {index: rle for _, index, rle in sorted(self._heap, key=lambda item: (-item[0], item[1]))}
