"""Two files of the same detections, side by side; and what they come to, in all, by size and by class."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bpr_cli.comparing.changes import Changes, Fate
from bpr_cli.evaluation.breakdown import LARGE, SMALL
from bpr_cli.evaluation.figures import printable
from bpr_cli.formats.images import PhotoReader
from bpr_cli.formats.records import ImageRecord, Instance, Results
from bpr_cli.formats.rle import RLE

FindPhoto = Callable[[ImageRecord], Path]

MOST_CLASSES = 1500  # rows of a table by class; LVIS has 1,203


@dataclass(frozen=True, slots=True)
class Comparison:
    """The same detections before and after.

    Attributes:
        before: as read.
        after: what of a detection of `before` came after.
        changes: what became of each.
        find_photo: where an image's photo is, InputError where there is none; None without photos.
        reader: how photos are read.
        knows_refusals: whether REFUSED is told from UNCHANGED: two files do not say why a mask is as it was.
        refused: index -> what was refused, of some.
        facts: what else made the files, by name.
        skipped: what could not be compared, a line each.
    """

    before: Results
    after: Callable[[Instance], Instance]
    changes: Changes
    find_photo: FindPhoto | None
    reader: PhotoReader
    knows_refusals: bool
    refused: Mapping[int, RLE] = field(default_factory=dict)
    facts: Sequence[tuple[str, str]] = ()
    skipped: Sequence[str] = ()

    def category_name(self, category: int | None) -> str:
        """A class by its name where the file has one, else by its id."""
        return "no class" if category is None else printable(self.before.categories.get(category, category))


@dataclass(frozen=True, slots=True)
class ChangeRow:
    """One part of the detections.

    Attributes:
        label: "all", "small", a class's name, ...
        detections: those in it.
        fates: how many have which fate, by its words.
        pixels: of the masks before.
        pixels_changed: foreground in one of the two masks alone.
        mean_iou, median_iou: between before and after, of the changed ones; None for none.
    """

    label: str
    detections: int
    fates: Mapping[str, int]
    pixels: int
    pixels_changed: int
    mean_iou: float | None
    median_iou: float | None


def all_row(comparison: Comparison) -> ChangeRow:
    """All detections in one row."""
    return _row("all", comparison.changes, np.arange(len(comparison.changes.fates_N)))


def size_rows(comparison: Comparison) -> list[ChangeRow]:
    """By COCO's ranges of area, before; without detections that were not used, whose area is not known."""
    changes = comparison.changes
    is_used_N = changes.fates_N != Fate.NOT_USED
    edges = (("small", 0, SMALL), ("medium", SMALL, LARGE), ("large", LARGE, np.inf))
    parts = [
        (label, np.flatnonzero(is_used_N & (changes.before_N >= least) & (changes.before_N < most)))
        for label, least, most in edges
    ]
    return [_row(label, changes, members) for label, members in parts if members.size]


def category_rows(comparison: Comparison) -> list[ChangeRow]:
    """By class, those with most detections first; beyond MOST_CLASSES the others are one row."""
    members: dict[int | None, list[int]] = {}
    for entry in comparison.before.images:
        for instance in entry.instances:
            members.setdefault(instance.category_id, []).append(instance.index)
    ranked = sorted(members.items(), key=lambda item: -len(item[1]))
    rows = [
        _row(comparison.category_name(category), comparison.changes, np.array(indices))
        for category, indices in ranked[:MOST_CLASSES]
    ]
    rest = [index for _, indices in ranked[MOST_CLASSES:] for index in indices]
    if rest:
        rows.append(_row(f"{len(ranked) - MOST_CLASSES} other classes", comparison.changes, np.array(rest)))
    return rows


def _row(label: str, changes: Changes, members: NDArray[np.int64]) -> ChangeRow:
    fates_M = changes.fates_N[members]
    ious = changes.ious()[members][fates_M == Fate.CHANGED]
    return ChangeRow(
        label,
        len(members),
        {fate.words: int((fates_M == fate).sum()) for fate in Fate},
        int(changes.before_N[members].sum()),
        int(changes.pixels_changed()[members].sum()),
        float(ious.mean()) if ious.size else None,
        float(np.median(ious)) if ious.size else None,
    )
