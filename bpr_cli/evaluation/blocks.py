"""A block of images, compared together: what is kept of unfinished work, and what one worker of several takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bpr_cli.evaluation.checks import frame_size
from bpr_cli.evaluation.compare import CompareSettings, compare_image
from bpr_cli.evaluation.comparisons import ImageComparison
from bpr_cli.formats.label_pixels import LabelPixels
from bpr_cli.formats.records import ImageInstances, Instance
from bpr_cli.notices import collected_warnings
from bpr_cli.unfinished import blocks_of

# A block ends at whichever comes first: some seconds of work.
MOST_IMAGES = 100
MOST_INSTANCES = 10_000


@dataclass(frozen=True, slots=True)
class ImageToCompare:
    """An image with all that lies on it.

    Attributes:
        entry: the ground truth's.
        after, before: detections in one order; None without a baseline.
        truth: the file of the ground truth.
    """

    entry: ImageInstances
    after: Sequence[Instance]
    before: Sequence[Instance] | None
    truth: Path

    @property
    def instances(self) -> Sequence[Instance]:
        """Its objects and detections."""
        return (*self.entry.instances, *self.after, *(self.before or ()))

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels; InputError if nothing tells them."""
        return frame_size(self.entry, self.truth)


@dataclass(slots=True)
class ComparedBlock:
    """What became of a block; small, and the same after a round trip through JSON.

    Attributes:
        images: in the block's order.
        notices: text and file of each `InputWarning`.
        sources: the state of what the block was read from beside the input files (`block_sources`).
    """

    images: list[ImageComparison] = field(default_factory=list)
    notices: list[tuple[str, str]] = field(default_factory=list)
    sources: list[list[int]] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """As JSON takes it."""
        return {
            "images": [image.as_json() for image in self.images],
            "notices": self.notices,
            "sources": self.sources,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ComparedBlock:
        """From what `as_json` gave, after a round trip."""
        return cls(
            [ImageComparison.from_json(image) for image in value["images"]],
            [(text, file) for text, file in value["notices"]],
            value["sources"],
        )


@dataclass(frozen=True, slots=True)
class BlockComparer:
    """Compares the images of a block; what it answers depends on the block alone."""

    settings: CompareSettings

    def __call__(
        self, block: Sequence[ImageToCompare], done: Callable[[int], object] = lambda count: None
    ) -> ComparedBlock:
        """Compare a block.

        Args:
            block: its images.
            done: told of images that are done, for progress.

        Raises:
            InputError: a broken segmentation, or one of another size.
        """
        compared = ComparedBlock(sources=block_sources(block))
        with collected_warnings() as warned:
            for item in block:
                image, truths = item.entry.image, item.entry.instances
                compared.images.append(compare_image(image, truths, item.after, item.before, item.size, self.settings))
                done(1)
        compared.notices = [(warning.text, warning.file) for warning in warned]
        return compared


def split_into_blocks(images: Sequence[ImageToCompare]) -> Iterator[list[ImageToCompare]]:
    """Blocks of images in the order given, of MOST_IMAGES and MOST_INSTANCES at most, or of one image."""
    return blocks_of(images, lambda item: len(item.instances), MOST_IMAGES, MOST_INSTANCES)


def block_sources(block: Sequence[ImageToCompare]) -> list[list[int]]:
    """The size of each image in pixels (YOLO's is that of a photo), and size and time of change (ns) of the files that
    its masks are in; nothing of a file that is gone, which reading it will say."""
    states = []
    for item in block:
        state = list(item.size)
        for path in dict.fromkeys(map(_mask_file, item.instances)):
            try:
                found = path.stat() if path is not None else None
            except OSError:
                found = None
            state += [] if found is None else [found.st_size, found.st_mtime_ns]
        states.append(state)
    return states


def _mask_file(instance: Instance) -> Path | None:
    segmentation = instance.segmentation
    if isinstance(segmentation, LabelPixels):
        return segmentation.path
    return segmentation if isinstance(segmentation, Path) else None
