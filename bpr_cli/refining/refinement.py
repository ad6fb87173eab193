"""One input refined: read with its photos, taken block by block, written again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bpr_cli import __version__
from bpr_cli.comparing.comparison import Comparison
from bpr_cli.files import fingerprint
from bpr_cli.formats import coco, mask_images, read_results, with_masks_as, write_results
from bpr_cli.formats.images import PhotoReader
from bpr_cli.formats.records import MaskForm, Results, Skipped
from bpr_cli.formats.rle import RLE
from bpr_cli.limits import MAX_PIXELS
from bpr_cli.notices import warn_of_input
from bpr_cli.progress import progress_bar
from bpr_cli.refining.blocks import BlockRefiner, RefinedBlock, photo_states, split_into_blocks
from bpr_cli.refining.photos import Photos
from bpr_cli.refining.refiner import Refiner
from bpr_cli.refining.watch import Watch
from bpr_cli.unfinished import Unfinished


@dataclass(frozen=True, slots=True)
class RefineSummary:
    """What a refinement did.

    Attributes:
        instances: detections in the output.
        changed: detections whose mask is another than before.
        patches: patches that went through the network.
        skipped: what was left as it was, because it could not be used (`skip_bad`) or because there is doubt that
            mask and record belong together (`formats.plausibility`).
        engine: what computed, in which precision and where (`Refiner.engine`).
    """

    instances: int
    changed: int
    patches: int
    skipped: Skipped
    engine: str


@dataclass(frozen=True, slots=True)
class Input:
    """An input with its photos.

    Attributes:
        results: as read.
        paths: image id -> photo, of the images that have instances.
        missing: what was skipped as it has no photo.
    """

    results: Results
    paths: Mapping[int | str, Path]
    missing: Skipped


@dataclass(frozen=True, slots=True)
class InputReader:
    """Reads inputs that are refined alike.

    Attributes:
        photos: finds their photos.
        image_info: file names of the photos; None: the inputs know them.
        mask_form, skip_bad, max_pixels: as in `refine`.
    """

    photos: Photos
    image_info: coco.ImageInfo | None = None
    mask_form: MaskForm = "same"
    skip_bad: bool = False
    max_pixels: int = MAX_PIXELS

    def __call__(self, path: Path, masks: Sequence[Path] = ()) -> Results:
        """Read an input; with masks, a photo.

        Raises:
            InputError: it cannot be used.
        """
        results = (
            mask_images.read(path, masks, self.max_pixels)
            if masks
            else read_results(path, self.max_pixels, skip_bad=self.skip_bad, images=self.photos.folders)
        )
        results = with_masks_as(results, self.mask_form)
        return results if self.image_info is None else coco.with_image_info(results, self.image_info)

    def with_photos(self, results: Results) -> Input:
        """The input and the photos of it.

        Raises:
            InputError: one is missing, unless that is to be skipped.
        """
        return Input(results, *self.photos.find(results, self.skip_bad))


@dataclass(frozen=True, slots=True)
class Refinement:
    """Refines inputs alike, one by one.

    Attributes:
        refiner: models and settings.
        reader: reads the photos.
        image_info: SHA-256 of the file with their names; None: there is none.
        mask_form, exclusive, skip_bad: as in `refine`.
        look: takes what changed, once the output is there; None: that is not noted.
        quiet: no progress bar.
        title: of the progress bar.
    """

    refiner: Refiner
    reader: PhotoReader
    image_info: str | None = None
    mask_form: MaskForm = "same"
    exclusive: bool = False
    skip_bad: bool = False
    look: Callable[[Comparison], None] | None = None
    quiet: bool = False
    title: str = "refine"

    def __call__(self, input: Input, output: Path) -> RefineSummary:
        """Refine an input and write it; goes on where it was stopped.

        Raises:
            InputError: bad input, unless that is to be skipped, or unfinished work of another kind at the output.
        """
        results = input.results
        work = BlockRefiner(
            self.refiner,
            self.reader,
            layout=results.layout if self.exclusive or results.layout != "masks" else None,
            keeps_drawn=not self.skip_bad and self.mask_form == "same",
            skip_bad=self.skip_bad,
            watches=self.look is not None,
        )
        segmentations: list[RLE | None] = [None] * results.count
        watch, skipped = Watch(results.count), [results.skipped, input.missing]
        changed = patches = 0
        with self._unfinished(results, output) as unfinished:
            for block in self._blocks(work, input, unfinished):
                for index, rle in block.masks.items():
                    segmentations[index] = rle
                watch.add(block.changes, block.refusals)
                skipped.append(block.skipped)
                changed, patches = changed + block.changed, patches + block.patches
                for text, file in block.notices:
                    warn_of_input(text, file)
            with self.refiner.timing("write"):
                write_results(results, segmentations, output)
            if self.look is not None:
                facts = _facts(results.path, output, self.refiner)
                self.look(watch.comparison(results, segmentations, input.paths, self.reader, facts))
        return RefineSummary(results.count, changed, patches, Skipped.joined(skipped), self.refiner.engine)

    def made_from(self) -> dict[str, Any] | None:
        """All but the input that the outcome depends on, by name; None if the models are not known by their files."""
        keys = [network.key for network in self.refiner.networks]
        if not all(keys):
            return None
        return {
            "version": __version__,
            "image info": self.image_info,
            **{f"model of pass {number}": key for number, key in enumerate(keys, 1)},
            "engine": self.refiner.engine,
            **asdict(self.refiner.settings),
            "batch_size": self.refiner.batch_size,
            **asdict(self.reader),
            "mask_form": self.mask_form,
            "exclusive": self.exclusive,
            "skip_bad": self.skip_bad,
            "report": self.look is not None,
        }

    def _unfinished(self, results: Results, output: Path) -> AbstractContextManager[Unfinished | None]:
        """Where finished blocks are kept; None where there is but one, or the models are not known by their files."""
        made_from = self.made_from()
        if made_from is None or sum(1 for _ in split_into_blocks(results.images)) < 2:
            return nullcontext()
        return Unfinished(output, {"input": fingerprint(results.path).sha256, **made_from})

    def _blocks(self, work: BlockRefiner, input: Input, unfinished: Unfinished | None) -> Iterator[RefinedBlock]:
        """What became of each block of images, in order; those that `unfinished` keeps are not refined again."""
        entries = [entry for entry in input.results.images if entry.image.id in input.paths]
        total = sum(len(entry.instances) for entry in entries)
        with progress_bar(total, self.title, "instance", quiet=self.quiet) as bar:
            for number, block in enumerate(split_into_blocks(entries)):
                kept = None if unfinished is None else unfinished.read(number)
                if kept is not None and kept["photos"] == photo_states(block, input.paths):
                    bar.update(sum(len(entry.instances) for entry in block))
                    yield RefinedBlock.from_json(kept)
                    continue
                refined = work(block, input.paths, bar.update)
                if unfinished is not None:
                    unfinished.write(number, refined.as_json())
                yield refined


def _facts(path: Path, output: Path, refiner: Refiner) -> list[tuple[str, str]]:
    """What made the output, for those who look at it."""
    settings = refiner.settings
    return [
        ("before", path.name),
        ("after", output.name),
        ("engine", refiner.engine),
        ("passes", str(settings.passes)),
        ("caution", f"{settings.caution:g}"),
        ("least score", f"{settings.min_score:g}"),
    ]
