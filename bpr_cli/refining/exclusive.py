"""One pixel, one object: refined masks of an image that are settled among each other.

A pixel that several masks claim is the one's whose network is surest of it, if all of them have looked at it; where one
has not, it is the one's with the highest score, so that an object on another is not parted in an inside and a rim.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bpr_cli.formats.records import Layout
from bpr_cli.formats.rle import RLE, decode_rle, encode_rle
from bpr_cli.masks import Mask, crop_mask
from bpr_cli.patches import Probabilities
from bpr_cli.refining.looks import Refined

NOBODY = -1
UNSEEN = np.float32(-2)  # no claim and no look; a look without a claim weighs its probability less 1, a claim above 0
Box = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class _Entry:
    """An instance that has claimed its pixels: small, as all of an image's are kept.

    Attributes:
        refined: without masks' pixels or probabilities.
        coarse, own, refused: RLE of its coarse mask, of what it gets back if it would vanish, of `Refined.refused`.
        reach: x1 y1 x2 y2 around all pixels that may become its own.
    """

    refined: Refined
    coarse: RLE
    own: RLE
    refused: RLE | None
    reach: Box


class Contest:
    """The instances of one image, each of which claims its pixels; memory follows the image's size, not their number.

    Args:
        scores: of the instances, in the order in which they will be added; None for those that are certain.
        layout: of "masks" and "objects" each keeps what it claims and wins. Where all is "segments", a pixel that
            nobody claims any more is given to the surest of those that looked at it, or else back to whom it was.
            Answers that were refused count too: a segment that may not change by itself still takes up what others
            leave.
        void: pixels that nobody may have.
    """

    def __init__(self, scores: Sequence[float | None], layout: Layout, void: Mask | None = None) -> None:
        self._layout, self._void = layout, void
        self._count = len(scores)
        known = [1.0 if score is None else score for score in scores]
        self._ranks = np.unique(known, return_inverse=True)[1].tolist()
        self._entries: list[_Entry] = []

    @property
    def is_full(self) -> bool:
        """Whether all instances have been added."""
        return len(self._entries) == self._count

    def add(self, refined: Refined) -> None:
        """The next instance claims the pixels of its refined mask."""
        if not self._entries:
            self._make_frames(refined.mask.image_height, refined.mask.image_width)
        place = len(self._entries)
        windows = _window_box(refined.probabilities), _window_box(refined.unused)
        reach = _joined(*windows, refined.mask.box_xyxy, refined.coarse.box_xyxy)
        here = np.s_[reach[1] : reach[3], reach[0] : reach[2]]
        claims_HW, coarse_HW = _within(refined.mask, reach), _within(refined.coarse, reach)
        seen_HW, probabilities_HW = _looked_at(refined.probabilities, reach)
        # Among equals: the higher score, then whose it was, then the first.
        keys_HW = (2 * self._ranks[place] + coarse_HW.astype(self._keys_HW.dtype)) * self._count
        keys_HW += self._count - 1 - place
        weights_HW = np.where(claims_HW, np.where(seen_HW, probabilities_HW, 1), np.float32(UNSEEN))
        for found in (refined.unused, refined.probabilities):
            asked_HW, answers_HW = _looked_at(found, reach)
            np.copyto(weights_HW, answers_HW - 1, where=asked_HW & ~claims_HW)
        best_HW, best_keys_HW = self._weights_HW[here], self._keys_HW[here]
        wins_HW = (weights_HW > best_HW) | ((weights_HW == best_HW) & (keys_HW > best_keys_HW) & (weights_HW > UNSEEN))
        np.copyto(best_HW, weights_HW, where=wins_HW)
        np.copyto(best_keys_HW, keys_HW, where=wins_HW)
        by_score_HW = self._keys_by_score_HW[here]
        np.maximum(by_score_HW, keys_HW, out=by_score_HW, where=claims_HW)
        self._blind_HW[here] |= claims_HW & ~seen_HW
        own = refined.mask
        if self._layout != "masks":
            own = _surer_half(refined.coarse, coarse_HW, np.where(seen_HW, probabilities_HW, 1), reach)
        refused = None if refined.refused is None else encode_rle(refined.refused)
        empty = replace(refined, coarse=_EMPTY, mask=_EMPTY, probabilities=None, refused=None, unused=None)
        self._entries.append(_Entry(empty, encode_rle(refined.coarse), encode_rle(own), refused, reach))

    def settle(self) -> Iterator[Refined]:
        """All instances in the order added, with masks of which no two share a pixel.

        Of "masks" the union is what it was. Of "segments" and "objects" none vanishes that had a pixel: it keeps that
        half of its coarse mask of which it is surer. Of "masks" one that would vanish keeps all of its mask, if that
        costs no other more than half of what it has; else it is empty (another try at the same object).
        """
        owners_HW = self._owners()
        self._save_vanishing(owners_HW)
        height, width = owners_HW.shape
        for place, entry in enumerate(self._entries):
            x1, y1, x2, y2 = entry.reach
            mask = crop_mask(owners_HW[y1:y2, x1:x2] == place, x1, y1, height, width)
            refused = None if entry.refused is None else decode_rle(entry.refused)
            yield replace(entry.refined, coarse=decode_rle(entry.coarse), mask=mask, refused=refused)

    def _make_frames(self, height: int, width: int) -> None:
        largest = 2 * (max(self._ranks) + 1) * self._count
        keys = np.int32 if largest < 2**31 else np.int64
        self._weights_HW = np.full((height, width), UNSEEN, np.float32)
        self._keys_HW: NDArray[Any] = np.full((height, width), NOBODY, keys)
        self._keys_by_score_HW: NDArray[Any] = np.full((height, width), NOBODY, keys)
        self._blind_HW = np.zeros((height, width), np.bool_)

    def _owners(self) -> NDArray[Any]:
        """(H, W) whose each pixel is: a place, or NOBODY."""
        keys_HW = np.where(self._blind_HW, self._keys_by_score_HW, self._keys_HW)
        owners_HW = self._count - 1 - keys_HW % self._count
        is_segments = self._layout == "segments"
        owners_HW[self._weights_HW <= (UNSEEN if is_segments else 0)] = NOBODY
        if is_segments:
            outside_HW = np.ones(owners_HW.shape, np.bool_)
            for place, entry in enumerate(self._entries):
                coarse = decode_rle(entry.coarse)
                x1, y1, x2, y2 = coarse.box_xyxy
                pixels_HW = coarse.pixels_HW.view(np.bool_)
                outside_HW[y1:y2, x1:x2] &= ~pixels_HW
                part_HW = owners_HW[y1:y2, x1:x2]
                part_HW[pixels_HW & (part_HW == NOBODY)] = place
            owners_HW[outside_HW] = NOBODY
        if self._void is not None:
            x1, y1, x2, y2 = self._void.box_xyxy
            owners_HW[y1:y2, x1:x2][self._void.pixels_HW.view(np.bool_)] = NOBODY
        return owners_HW

    def _save_vanishing(self, owners_HW: NDArray[Any]) -> None:
        counts = np.bincount(owners_HW[owners_HW != NOBODY], minlength=self._count)
        tried: list[int] = []
        by_score = sorted(range(self._count), key=lambda place: -self._ranks[place])
        # One that is saved may take the last pixel of another one, which is then saved in its turn.
        while vanishing := [place for place in by_score if not counts[place] and place not in tried]:
            place = vanishing[0]
            own = decode_rle(self._entries[place].own)
            x1, y1, x2, y2 = own.box_xyxy
            part_HW = owners_HW[y1:y2, x1:x2]
            takes_HW = own.pixels_HW.view(np.bool_) & ~np.isin(part_HW, tried)
            tried.append(place)
            losses = np.bincount(part_HW[takes_HW & (part_HW != NOBODY)], minlength=self._count)
            if self._layout == "masks" and (2 * losses > counts).any():
                continue
            part_HW[takes_HW] = place
            counts -= losses
            counts[place] = np.count_nonzero(takes_HW)


_EMPTY = Mask(np.zeros((0, 0), np.uint8), 0, 0, 0, 0)


def settled(items: Iterable[Refined], contests: deque[Contest]) -> Iterator[Refined]:
    """Refined instances in the order given, those of each image with masks that share no pixel.

    Args:
        items: image after image, as `Refiner.run` gives them, with probabilities where they are wanted.
        contests: the images', in the same order; each is taken out when its last instance has come.
    """
    for refined in items:
        contests[0].add(refined)
        if contests[0].is_full:
            yield from contests.popleft().settle()


def _window_box(probabilities: Probabilities | None) -> Box:
    if probabilities is None:
        return 0, 0, 0, 0
    height, width = probabilities.values_HW.shape
    return probabilities.x1, probabilities.y1, probabilities.x1 + width, probabilities.y1 + height


def _joined(*boxes: Box) -> Box:
    """The box around all boxes that hold a pixel."""
    sides = np.array([box for box in boxes if box[2] > box[0]] or [(0, 0, 0, 0)])
    (x1, y1), (x2, y2) = sides[:, :2].min(axis=0).tolist(), sides[:, 2:].max(axis=0).tolist()
    return x1, y1, x2, y2


def _within(mask: Mask, box: Box) -> NDArray[np.bool_]:
    """The mask's pixels in a box that holds all of it."""
    pixels_HW = np.zeros((box[3] - box[1], box[2] - box[0]), np.bool_)
    x1, y1, x2, y2 = mask.box_xyxy
    pixels_HW[y1 - box[1] : y2 - box[1], x1 - box[0] : x2 - box[0]] = mask.pixels_HW
    return pixels_HW


def _looked_at(probabilities: Probabilities | None, box: Box) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """In a box that holds all of them: where there are answers of the network, and what they are."""
    size = box[3] - box[1], box[2] - box[0]
    seen_HW, values_HW = np.zeros(size, np.bool_), np.zeros(size, np.float32)
    if probabilities is not None:
        x1, y1, x2, y2 = _window_box(probabilities)
        here = np.s_[y1 - box[1] : y2 - box[1], x1 - box[0] : x2 - box[0]]
        seen_HW[here], values_HW[here] = probabilities.seen_HW, probabilities.values_HW
    return seen_HW, values_HW


def _surer_half(coarse: Mask, coarse_HW: NDArray[np.bool_], sureness_HW: NDArray[np.float32], box: Box) -> Mask:
    """The half of a coarse mask's pixels that are likeliest its own, and those that are as likely."""
    if not coarse.area:
        return coarse
    least = np.median(sureness_HW[coarse_HW])
    return crop_mask(coarse_HW & (sureness_HW >= least), box[0], box[1], coarse.image_height, coarse.image_width)
