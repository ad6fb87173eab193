"""The one in-memory form that every reader makes and every writer takes.

A `Results` is a list of images, each with its instances. Masks stay in the form in which the file wrote them
until `segmentation.decode_mask` is asked, one at a time, so that memory follows the file, not the pixels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from bpr_cli.formats.rle import RLE
from bpr_cli.limits import MAX_PIXELS

# How masks are written: as the input's record has its own, all as RLE, or all as polygons.
MaskForm = Literal["same", "rle", "polygons"]
# Whose a pixel may be: "masks" may overlap; of "objects" it is at most one's, the rest is background; where all is
# "segments", a pixel that is one's now is one's ever after.
Layout = Literal["masks", "objects", "segments"]


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """What a reader may need to know beside the path.

    Attributes:
        skip_bad: leave out what cannot be used, and name it in `Results.skipped`.
        max_pixels: larger images are refused.
        images: what the user named: the folders of the photos, or the one photo; empty: nothing.
    """

    skip_bad: bool = False
    max_pixels: int = MAX_PIXELS
    images: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """What the input says of one image.

    Attributes:
        id: as the input writes it.
        file_name: as the input writes it, or None (a results list names no files).
        height, width: in pixels where the input says so, else None.
        fields: the input's own record of the image (a field such as `sequence` is found here).
    """

    id: int | str
    file_name: str | None = None
    height: int | None = None
    width: int | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Instance:
    """One detection or annotation.

    Attributes:
        index: 0-based position in the input's list: what keeps the output in the input's order.
        segmentation: as the input wrote it: RLE dict, list of polygons, the path of a mask PNG,
            `label_pixels.LabelPixels`, or a `segmentation.OwnForm`.
        category_id, score, iscrowd: None / None / False where the input has none.
        fields: the input's own record, kept for the output.
        source: the file it was read from, for error messages.
    """

    index: int
    image_id: int | str
    segmentation: Any
    category_id: int | None
    score: float | None
    iscrowd: bool
    fields: Mapping[str, Any]
    source: Path


@dataclass(frozen=True, slots=True)
class ImageInstances:
    """One image with its instances, in the input's order.

    Attributes:
        void: whose mask is of pixels that no instance may claim; None: there are none.
    """

    image: ImageRecord
    instances: tuple[Instance, ...]
    void: Instance | None = None


@dataclass(frozen=True, slots=True)
class Skipped:
    """What could not be used.

    Attributes:
        images: how many.
        instances: those left as they were, the ones on these images too.
        polygons: those left out of masks whose other polygons were used.
        lines: what was wrong with each image, instance and polygon.
    """

    images: int = 0
    instances: int = 0
    polygons: int = 0
    lines: tuple[str, ...] = ()

    @classmethod
    def joined(cls, parts: Iterable[Skipped]) -> Skipped:
        """All parts as one."""
        parts = list(parts)
        return cls(
            sum(part.images for part in parts),
            sum(part.instances for part in parts),
            sum(part.polygons for part in parts),
            tuple(line for part in parts for line in part.lines),
        )

    def __str__(self) -> str:
        parts = [
            (self.images, "image", "cannot be used"),
            (self.instances, "instance", "left as it was" if self.instances == 1 else "left as they were"),
            (self.polygons, "polygon", "left out"),
        ]
        return ", ".join(f"{count} {name}{'s' * (count != 1)} {what}" for count, name, what in parts if count)


class Source(Protocol):
    """An input as its format read it, which writes itself again with other masks."""

    def check_output(self, out: Path) -> None:
        """Make sure, before the work, that `write` could write there; InputError if not."""
        ...

    def write(self, segmentations: Sequence[RLE | None], out: Path) -> None:
        """Write the input again: same form, same order, all fields but the masks' as they were.

        Args:
            segmentations: one for each instance, by index; None leaves it as it was.
            out: file or folder; each file in it appears whole or not at all.

        Raises:
            InputError: see `check_output`.
        """
        ...


@dataclass(frozen=True, slots=True)
class Results:
    """A whole input: detections or annotations.

    Attributes:
        path: the file it was read from.
        kind: "coco-results" (a list), "coco-dataset" (a dict), "mask-images" (one image and mask PNGs),
            "cityscapes-results" or "cityscapes-gt", "object-maps", "class-maps",
            "mask-folder" or "coco-panoptic", or the name of a tool ("yolo", "labelme").
        images: in order of first appearance.
        count: number of instances over all images.
        categories: id -> name where the input says so.
        source: writes the input again with other masks.
        frequencies: LVIS: category id -> "r", "c" or "f"; empty for other files.
        synsets: LVIS: category id -> WordNet synset; empty for other files.
        skipped: images and records that could not be used, and are not among the images; none unless bad ones are
            to be skipped.
        photos: the folder in which the input's own photos lie; None: the folder of the input.
        layout: whose a pixel may be.
    """

    path: Path
    kind: str
    images: tuple[ImageInstances, ...]
    count: int
    categories: Mapping[int, str]
    source: Source
    frequencies: Mapping[int, str] = field(default_factory=dict)
    synsets: Mapping[int, str] = field(default_factory=dict)
    skipped: Skipped = Skipped()
    photos: Path | None = None
    layout: Layout = "masks"
