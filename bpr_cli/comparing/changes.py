"""What became of each mask between two files of the same detections: counts of pixels, no pixels."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from enum import IntEnum
from typing import NamedTuple

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


class Change(NamedTuple):
    """What became of one mask, in pixels.

    Attributes:
        fate: a `Fate`.
        before, after, common: of the mask before and after, and of both.
    """

    fate: int
    before: int
    after: int
    common: int


def change_between(before: Mask, after: Mask, if_same: Fate = Fate.UNCHANGED) -> Change:
    """Compare two masks of one image; `if_same` is the fate if no pixel differs."""
    common = common_pixels(before, after)
    is_same = before.area == after.area == common
    return Change(int(if_same if is_same else Fate.CHANGED), before.area, after.area, common)


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

    def put(self, index: int, change: Change) -> None:
        """Note one detection's."""
        self.fates_N[index], self.before_N[index], self.after_N[index], self.common_N[index] = change

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


class Refusal(NamedTuple):
    """A mask that was refused: its IoU with the one that was kept, and the index of the detection."""

    iou: float
    detection: int
    rle: RLE


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
        if self._is_among_most(iou):
            self._put(Refusal(iou, index, encode_rle(refused)))

    def extend(self, refusals: Iterable[Refusal]) -> None:
        """Those of another such list."""
        for refusal in refusals:
            if self._is_among_most(refusal.iou):
                self._put(refusal)

    def _is_among_most(self, iou: float) -> bool:
        return len(self._heap) < self._most or iou < -self._heap[0][0]

    def _put(self, refusal: Refusal) -> None:
        push = heapq.heappush if len(self._heap) < self._most else heapq.heapreplace
        push(self._heap, (-refusal.iou, refusal.detection, refusal.rle))

    @property
    def kept(self) -> list[Refusal]:
        """The one furthest from what was kept first."""
        ordered = sorted(self._heap, key=lambda item: (-item[0], item[1]))
        return [Refusal(-negative, index, rle) for negative, index, rle in ordered]

    @property
    def masks(self) -> dict[int, RLE]:
        """Index -> the refused mask, in that order."""
        return {refusal.detection: refusal.rle for refusal in self.kept}
