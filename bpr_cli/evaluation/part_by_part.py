"""Every image's detections against its objects, part by part of the results and block by block of their images."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from bpr_cli.evaluation.blocks import BlockComparer, ComparedBlock, ImageToCompare, block_sources, split_into_blocks
from bpr_cli.evaluation.checks import check_detections, check_same_detections
from bpr_cli.evaluation.comparisons import ImageComparison
from bpr_cli.evaluation.detections import Pair, pairs
from bpr_cli.evaluation.figures import ImageId
from bpr_cli.evaluation.reading import EvaluationInputs
from bpr_cli.evaluation.rules import evaluation_order
from bpr_cli.formats.records import ImageInstances, Instance, Results
from bpr_cli.notices import warn_of_input
from bpr_cli.progress import progress_bar
from bpr_cli.unfinished import Unfinished


def compare_images(
    inputs: EvaluationInputs,
    categories: Collection[int],
    work: BlockComparer,
    unfinished: Unfinished | None,
    quiet: bool,
) -> tuple[list[ImageComparison], int]:
    """Compare the images of the ground truth.

    An image whose detections are spread over several parts is compared at the end, with all of them.

    Args:
        inputs: of which parts are read one by one.
        categories: of the ground truth.
        work: compares a block.
        unfinished: keeps blocks; those that it has are not compared again.
        quiet: no progress bar.

    Returns:
        Each image's comparison, in the order in which images are counted, and the number of detections.

    Raises:
        InputError: detections that cannot be compared; a baseline with others.
    """
    truths = _by_id(inputs.gt)
    readers = pairs(inputs.after, inputs.before)
    with progress_bar(len(truths), "compare masks", "image", quiet=quiet) as bar:
        parts = _Parts(inputs, truths, _Blocks(work, unfinished, bar))
        for read in readers:
            parts.add(read, categories)
        spread = {image_id for image_id, numbers in parts.numbers.items() if len(numbers) > 1}
        bar.total += len(spread)
        parts.finish(readers, spread)
    return [parts.found[image_id] for image_id in truths], parts.detections


def is_one_block(inputs: EvaluationInputs) -> bool:
    """Whether all images are compared in one block, of which nothing need be kept."""
    readers = pairs(inputs.after, inputs.before)
    if len(readers) > 1:
        return False
    truths = _by_id(inputs.gt)
    images = _OnImages(inputs, truths)
    images.add(readers[0](), 0)
    return sum(1 for _ in split_into_blocks(images.of(truths))) < 2


def _by_id(truth: Results) -> dict[ImageId, ImageInstances]:
    """The ground truth's images in the order in which they are counted."""
    return {entry.image.id: entry for entry in sorted(truth.images, key=lambda entry: evaluation_order(entry.image))}


class _Blocks:
    """Compares images in blocks, whose numbers go on from call to call."""

    def __init__(self, work: BlockComparer, unfinished: Unfinished | None, bar: Any) -> None:
        self._work, self._unfinished, self._bar = work, unfinished, bar
        self._count = 0

    def compare(self, images: Sequence[ImageToCompare]) -> Iterable[tuple[ImageId, ImageComparison]]:
        """Each image's comparison, by its id."""
        for block in split_into_blocks(images):
            compared = self._compare(block)
            for text, file in compared.notices:
                warn_of_input(text, file)
            yield from zip((item.entry.image.id for item in block), compared.images, strict=True)

    def _compare(self, block: Sequence[ImageToCompare]) -> ComparedBlock:
        number, self._count = self._count, self._count + 1
        kept = None if self._unfinished is None else self._unfinished.read(number)
        if kept is not None and kept["sources"] == block_sources(block):
            self._bar.update(len(block))
            return ComparedBlock.from_json(kept)
        compared = self._work(block, self._bar.update)
        if self._unfinished is not None:
            self._unfinished.write(number, compared.as_json())
        return compared


class _Parts:
    """What is known of the images so far, part by part.

    Attributes:
        found: each image's comparison.
        numbers: image id -> the parts that have detections on it.
        detections: how many there are.
    """

    def __init__(self, inputs: EvaluationInputs, truths: Mapping[ImageId, ImageInstances], blocks: _Blocks) -> None:
        self._inputs, self._truths, self._blocks = inputs, truths, blocks
        self._ranks = {image_id: rank for rank, image_id in enumerate(truths)}
        self._places: list[int] = []  # of each part's first record among all
        self._records = 0
        self.found: dict[ImageId, ImageComparison] = {}
        self.numbers: dict[ImageId, list[int]] = {}
        self.detections = 0

    def add(self, read: Callable[[], Pair], categories: Collection[int]) -> None:
        """Read a part and compare the images that no part before it has."""
        pair, number = read(), len(self._places)
        _check(pair, self._inputs.gt, categories)
        self._places.append(self._records)
        ids = [entry.image.id for entry in pair.after.results.images]
        for image_id in ids:
            self.numbers.setdefault(image_id, []).append(number)
        images = _OnImages(self._inputs, self._truths)
        images.add(pair, self._records)
        self._compare(images, (image_id for image_id in ids if len(self.numbers[image_id]) == 1))
        self._records += pair.after.records
        self.detections += pair.after.results.count

    def finish(self, readers: Sequence[Callable[[], Pair]], spread: Collection[ImageId]) -> None:
        """Compare the images that are spread over several parts, which are read again, and those in none."""
        images = _OnImages(self._inputs, self._truths)
        for number in sorted({number for image_id in spread for number in self.numbers[image_id]}):
            images.add(readers[number](), self._places[number], spread)
        self._compare(images, [*spread, *(self._ranks.keys() - self.found.keys())])

    def _compare(self, images: _OnImages, ids: Iterable[ImageId]) -> None:
        self.found.update(self._blocks.compare(images.of(sorted(ids, key=self._ranks.__getitem__))))


class _OnImages:
    """Detections by image, beside the ground truth's images by id."""

    def __init__(self, inputs: EvaluationInputs, truths: Mapping[ImageId, ImageInstances]) -> None:
        self._truths, self._path = truths, inputs.gt.path
        self._after: dict[ImageId, list[Instance]] = defaultdict(list)
        self._before: dict[ImageId, list[Instance]] | None = None if inputs.before is None else defaultdict(list)

    def add(self, pair: Pair, first: int, ids: Collection[ImageId] | None = None) -> None:
        """Add those of a part.

        Args:
            pair: the part.
            first: the place of its first record among those of all parts.
            ids: images whose detections are wanted; None: all.
        """
        for kept, read in ((self._after, pair.after), (self._before, pair.before)):
            if kept is None or read is None:
                continue
            for entry in read.results.images:
                if ids is None or entry.image.id in ids:
                    kept[entry.image.id] += [_moved(instance, first) for instance in entry.instances]

    def of(self, ids: Iterable[ImageId]) -> list[ImageToCompare]:
        """What lies on images of the ground truth, in the order of the ids."""
        return [
            ImageToCompare(
                self._truths[image_id],
                self._after.get(image_id, ()),
                None if self._before is None else self._before.get(image_id, ()),
                self._path,
            )
            for image_id in ids
        ]


def _check(pair: Pair, truth: Results, categories: Collection[int]) -> None:
    check_detections(pair.after.results, truth, categories)
    if pair.before is not None:
        check_detections(pair.before.results, truth, categories)
        check_same_detections(pair.before.results, pair.after.results)


def _moved(instance: Instance, first: int) -> Instance:
    return replace(instance, index=first + instance.index) if first else instance
