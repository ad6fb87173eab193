"""A block of images, refined together: what is kept of unfinished work, and what one worker of several takes."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from bpr_cli.comparing.changes import Change, Refusal
from bpr_cli.errors import InputError
from bpr_cli.formats.images import PhotoReader, image_size
from bpr_cli.formats.plausibility import decode_masks
from bpr_cli.formats.records import ImageInstances, Layout, Skipped
from bpr_cli.formats.rle import RLE, encode_rle
from bpr_cli.formats.segmentation import OwnForm, decode_mask
from bpr_cli.masks import is_same
from bpr_cli.notices import collected_warnings
from bpr_cli.refining.exclusive import Contest, settled
from bpr_cli.refining.looks import Look, Refined
from bpr_cli.refining.refiner import Refiner
from bpr_cli.refining.stream import map_ahead
from bpr_cli.refining.watch import BlockWatch
from bpr_cli.stores.ahead import reading_ahead
from bpr_cli.stores.folders import file_state
from bpr_cli.unfinished import blocks_of

# A block ends at whichever comes first. Batches do not reach over its end, so that what becomes of it depends on it
# alone; of several hundred photos that costs less than one in a hundred.
MOST_IMAGES = 250
MOST_INSTANCES = 5000
# Threads beside the network's own. Two readers keep up with the network on two cores; a GPU takes as many as there are
# (without any network two cores bring 3,000 patches a second: examples/SPEED.md). Each image read ahead costs its own
# memory and its patches' (1024x2048 with 15 instances: 9 MB), so a few are enough.
READERS = min(8, max(2, (os.cpu_count() or 1) // 2))
IMAGES_AHEAD = 2 * READERS
MOST_BYTES_AHEAD = 512 << 20  # of photos
INSTANCES_BEHIND = 32


@dataclass(slots=True)
class RefinedBlock:
    """What became of a block's instances; small, and the same after a round trip through JSON.

    Attributes:
        masks: index -> the new mask; an instance that is to stay as it was written is not among them.
        changed: how many masks have other pixels than before.
        patches: that went through the network.
        skipped: what could not be used.
        notices: text and file of each `InputWarning`.
        changes: index -> counts of pixels, where these are wanted.
        refusals: the masks that were refused and most unlike those kept, where these are wanted.
        photos: the state of each photo when it was read (`photo_states`).
    """

    masks: dict[int, RLE] = field(default_factory=dict)
    changed: int = 0
    patches: int = 0
    skipped: Skipped = field(default_factory=Skipped)
    notices: list[tuple[str, str]] = field(default_factory=list)
    changes: dict[int, Change] = field(default_factory=dict)
    refusals: list[Refusal] = field(default_factory=list)
    photos: list[list[int]] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """As JSON takes it."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> RefinedBlock:
        """From what `as_json` gave, after a round trip."""
        skipped = value["skipped"]
        return cls(
            {int(index): rle for index, rle in value["masks"].items()},
            value["changed"],
            value["patches"],
            Skipped(**{**skipped, "lines": tuple(skipped["lines"])}),
            [(text, file) for text, file in value["notices"]],
            {int(index): Change(*counts) for index, counts in value["changes"].items()},
            [Refusal(*refusal) for refusal in value["refusals"]],
            value["photos"],
        )


def split_into_blocks(entries: Sequence[ImageInstances]) -> Iterator[list[ImageInstances]]:
    """Blocks of images in the order given, of MOST_IMAGES and MOST_INSTANCES at most, or of one image."""
    return blocks_of(entries, lambda entry: len(entry.instances), MOST_IMAGES, MOST_INSTANCES)


def photo_states(entries: Sequence[ImageInstances], paths: Mapping[int | str, Path]) -> list[list[int]]:
    """The state of each image's photo."""
    return [file_state(paths[entry.image.id]) for entry in entries]


@dataclass(frozen=True, slots=True)
class _Prepared:
    """What reading one image gave: looks for the network, what was wrong, and where its pixels will be settled."""

    looks: list[Look | Refined]
    skipped: Skipped
    contest: Contest | None = None


@dataclass(frozen=True, slots=True)
class BlockRefiner:
    """Refines the instances of a block of images; what it answers depends on the block alone.

    Attributes:
        refiner: models and settings.
        reader: reads the photos.
        layout: whose a pixel may be; None: masks are not settled among each other.
        keeps_drawn: instances whose points say more than their masks (polygons) stay as written if no pixel changes.
        skip_bad: leave what cannot be used as it was instead of stopping.
        watches: also count what changed.
    """

    refiner: Refiner
    reader: PhotoReader
    layout: Layout | None = None
    keeps_drawn: bool = False
    skip_bad: bool = False
    watches: bool = False

    def __call__(
        self,
        entries: Sequence[ImageInstances],
        paths: Mapping[int | str, Path],
        done: Callable[[int], object] = lambda count: None,
    ) -> RefinedBlock:
        """Refine a block.

        Args:
            entries: its images.
            paths: image id -> photo.
            done: told of instances that are done, for progress.

        Raises:
            InputError: bad input, unless that is to be skipped.
        """
        block = RefinedBlock(photos=photo_states(entries, paths))
        watch = BlockWatch() if self.watches else None
        drawn = self._drawn(entries)
        with collected_warnings() as warned:
            for refined, rle in self._refined(entries, paths, block, done):
                is_changed = not is_same(refined.mask, refined.coarse)
                if is_changed or refined.index not in drawn:
                    block.masks[refined.index] = rle
                block.changed += is_changed
                block.patches += refined.patch_count
                if watch is not None:
                    watch.add(refined)
                done(1)
        block.notices = [(warning.text, warning.file) for warning in warned]
        if watch is not None:
            block.changes, block.refusals = watch.changes, watch.refusals.kept
        return block

    def _refined(
        self,
        entries: Sequence[ImageInstances],
        paths: Mapping[int | str, Path],
        block: RefinedBlock,
        done: Callable[[int], object],
    ) -> Iterator[tuple[Refined, RLE]]:
        """Refined instances in order; what was skipped is noted in the block."""
        skipped: list[Skipped] = []
        contests: deque[Contest] = deque()
        with (
            ThreadPoolExecutor(READERS, "bpr-read") as readers,
            ThreadPoolExecutor(1, "bpr-encode") as encoder,
            reading_ahead([paths[entry.image.id] for entry in entries]),
        ):

            def looks() -> Iterator[Look | Refined]:
                prepare, weigh = partial(self._prepare, paths), partial(_photo_bytes, paths)
                for prepared in map_ahead(readers, prepare, entries, IMAGES_AHEAD, weigh, MOST_BYTES_AHEAD):
                    skipped.append(prepared.skipped)
                    done(prepared.skipped.instances)
                    contests.extend([] if prepared.contest is None else [prepared.contest])
                    yield from prepared.looks

            outcome = self.refiner.run(looks())
            if self.layout is not None:
                outcome = settled(outcome, contests)
            yield from map_ahead(encoder, self._encode, outcome, INSTANCES_BEHIND)
        block.skipped = Skipped.joined(skipped)

    def _prepare(self, paths: Mapping[int | str, Path], entry: ImageInstances) -> _Prepared:
        """Read one image and cut its instances into patches."""
        try:
            with self.refiner.timing("read photo"):
                image_HWC = self.reader.read(paths[entry.image.id], entry.image, entry.instances)
        except InputError as error:
            if not self.skip_bad:
                raise
            return _Prepared([], Skipped(images=1, instances=len(entry.instances), lines=(str(error),)))
        height, width = image_HWC.shape[:2]
        with self.refiner.timing("decode"):
            masks, skipped = decode_masks(entry.instances, height, width, self.skip_bad)
        used = [entry.instances[place] for place in masks]
        indices, scores = [instance.index for instance in used], [instance.score for instance in used]
        settles = self.layout is not None
        looks = list(self.refiner.first_looks(indices, image_HWC, list(masks.values()), scores, settles))
        if self.layout is None or not looks:
            return _Prepared(looks, skipped)
        void = None if entry.void is None else decode_mask(entry.void, height, width)
        return _Prepared(looks, skipped, Contest(scores, self.layout, void))

    def _encode(self, refined: Refined) -> tuple[Refined, RLE]:
        with self.refiner.timing("encode"):
            return refined, encode_rle(refined.mask)

    def _drawn(self, entries: Sequence[ImageInstances]) -> frozenset[int]:
        """Indices of the instances that stay as written if no pixel changes."""
        if not self.keeps_drawn:
            return frozenset()
        return frozenset(
            instance.index
            for entry in entries
            for instance in entry.instances
            if isinstance(instance.segmentation, (list, OwnForm))
        )


def _photo_bytes(paths: Mapping[int | str, Path], entry: ImageInstances) -> int:
    """What the photo will take in memory, by the file's header; 0 if it has none, which reading it will say."""
    try:
        height, width = image_size(paths[entry.image.id])
    except InputError:
        return 0
    return 3 * height * width
