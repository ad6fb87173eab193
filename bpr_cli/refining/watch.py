"""What a refinement did to each mask, noted while it runs: counts of pixels, and what the gate refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from bpr_cli.comparing.changes import Change, Changes, Fate, Refusal, Refusals, change_between
from bpr_cli.comparing.comparison import Comparison
from bpr_cli.errors import InputError
from bpr_cli.formats.images import PhotoReader
from bpr_cli.formats.records import ImageRecord, Instance, Results
from bpr_cli.formats.rle import RLE
from bpr_cli.refining.looks import Refined

MOST_REFUSED = 12  # masks kept of those that were refused: a page shows no more


class BlockWatch:
    """Notes of each refined mask of a block of images.

    Attributes:
        changes: by index.
        refusals: the masks that were refused and most unlike those kept.
    """

    def __init__(self) -> None:
        self.changes: dict[int, Change] = {}
        self.refusals = Refusals(MOST_REFUSED)

    def add(self, refined: Refined) -> None:
        """Note one."""
        if_same = Fate.UNCHANGED if refined.patch_count else Fate.NOT_LOOKED_AT
        if refined.refused is not None:
            if_same = Fate.REFUSED
        change = change_between(refined.coarse, refined.mask, if_same)
        self.changes[refined.index] = change
        if refined.refused is not None and change.fate == Fate.REFUSED:
            self.refusals.add(refined.index, refined.coarse, refined.refused)


class Watch:
    """Notes of all blocks.

    Args:
        count: detections of the input.
    """

    def __init__(self, count: int) -> None:
        self._changes = Changes(count)
        self._refusals = Refusals(MOST_REFUSED)

    def add(self, changes: Mapping[int, Change], refusals: Iterable[Refusal]) -> None:
        """Those of one block."""
        for index, change in changes.items():
            self._changes.put(index, change)
        self._refusals.extend(refusals)

    def comparison(
        self,
        results: Results,
        segmentations: Sequence[RLE | None],
        paths: Mapping[int | str, Path],
        reader: PhotoReader,
        facts: Sequence[tuple[str, str]],
    ) -> Comparison:
        """The input beside what came of it.

        Args:
            results: the input.
            segmentations: new masks by index; None: as it was.
            paths: image id -> photo.
            reader: how photos were read.
            facts: what else made the output, by name.
        """

        def after(instance: Instance) -> Instance:
            rle = segmentations[instance.index]
            return instance if rle is None else replace(instance, segmentation=rle)

        def find_photo(image: ImageRecord) -> Path:
            if image.id not in paths:
                raise InputError("the photo was skipped", image_id=image.id)
            return paths[image.id]

        return Comparison(
            results,
            after,
            self._changes,
            find_photo,
            reader,
            knows_refusals=True,
            refused=self._refusals.masks,
            facts=facts,
        )
