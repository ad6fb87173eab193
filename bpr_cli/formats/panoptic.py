"""COCO panoptic: a JSON file of segments, and a folder of PNGs whose pixels are their ids.

As panopticapi has it: a pixel's id is red + 256 green + 65536 blue, 0 is void, and the PNGs of `x.json` lie in `x/`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Final

from bpr_cli.errors import InputError
from bpr_cli.formats import json_files
from bpr_cli.formats.coco import categories_of, images_of_dataset
from bpr_cli.formats.fields import as_category, as_id, as_integer, described
from bpr_cli.formats.folders import write_file
from bpr_cli.formats.images import image_size
from bpr_cli.formats.label_maps import painted
from bpr_cli.formats.label_pixels import LabelPixels, read_labels, write_ids
from bpr_cli.formats.records import ImageInstances, ImageRecord, Instance, ReadOptions, Results, Skipped
from bpr_cli.formats.rle import RLE, decode_rle
from bpr_cli.masks import bbox_xywh

KIND: Final = "coco-panoptic"
MOST_IDS = 1 << 24
SEE = "See examples/FORMATS.md"


@dataclass(frozen=True, slots=True)
class PanopticFile:
    """The parsed file and its PNGs.

    Attributes:
        path: where it was read.
        document: `annotations` and whatever else it has.
        maps: the PNG of each annotation; None for one that cannot be used.
        first: index of each annotation's first segment among all instances.
    """

    path: Path
    document: dict[str, Any]
    maps: tuple[Path | None, ...]
    first: tuple[int, ...]

    def check_output(self, out: Path) -> None:
        """Make sure that file and folder can be written; InputError if not, or if an input would be replaced."""
        json_files.check_output(self.path, out, self.document)
        folder = map_folder(out)
        if folder.exists() and not folder.is_dir():
            raise InputError("the PNGs' folder is a file", file=folder, remedy="Choose another -o")
        if folder.exists() and any(path is not None and path.parent.samefile(folder) for path in self.maps):
            raise InputError("the PNGs would replace the input's", file=folder, remedy="Choose another -o")

    def write(self, segmentations: Sequence[RLE | None], out: Path) -> None:
        """See `records.Source`: PNGs first. `area` and `bbox`, where a segment has them, follow its new mask."""
        self.check_output(out)
        annotations = []
        for annotation, path, first in zip(self.document["annotations"], self.maps, self.first, strict=True):
            if path is None:
                annotations.append(annotation)
                continue
            target = map_folder(out) / annotation["file_name"]
            segments = annotation["segments_info"]
            masks = {
                place: decode_rle(rle)
                for place, rle in enumerate(segmentations[first : first + len(segments)])
                if rle is not None
            }
            if masks:
                numbers = [(int(segments[place]["id"]), mask) for place, mask in masks.items()]
                target.parent.mkdir(parents=True, exist_ok=True)
                write_ids(painted(read_labels(path, "rgb"), numbers, None), target)
            else:
                write_file(target, path.read_bytes())
            updated = [
                _with_extent(segment, masks[place].area, bbox_xywh(masks[place])) if place in masks else segment
                for place, segment in enumerate(segments)
            ]
            annotations.append({**annotation, "segments_info": updated})
        json_files.dump({**self.document, "annotations": annotations}, out)


def matches(document: Any) -> bool:
    """Whether a document is of panoptic annotations or results."""
    annotations = document.get("annotations") if isinstance(document, dict) else None
    return isinstance(annotations, list) and any(
        isinstance(annotation, dict) and "segments_info" in annotation for annotation in annotations[:1]
    )


def read(document: dict[str, Any], path: Path, options: ReadOptions) -> Results:
    """Read panoptic annotations or results; each segment is an instance, whether thing or stuff.

    Stuff (`isthing` of its category is 0) has a score of 0: it crowds no thing, and yields to things.

    Raises:
        InputError: a record that cannot be used, a PNG that is missing or larger than `options.max_pixels`.
    """
    categories = categories_of(document, path)[0]
    stuff = _stuff(document)
    images = images_of_dataset(document["images"], path) if isinstance(document.get("images"), list) else {}
    folder = map_folder(path)
    entries: list[ImageInstances] = []
    maps: list[Path | None] = []
    first: list[int] = []
    skipped: list[Skipped] = []
    seen: set[int | str] = set()
    count = 0
    for index, annotation in enumerate(document["annotations"]):
        first.append(count)
        segments = annotation.get("segments_info") if isinstance(annotation, dict) else None
        count += len(segments) if isinstance(segments, list) else 0
        try:
            entry, map_path = _entry(annotation, index, first[-1], path, folder, images, stuff)
            if entry.image.id in seen:
                raise InputError("the image has two annotations", file=path, image_id=entry.image.id, index=index)
        except InputError as error:
            if not options.skip_bad:
                raise
            skipped.append(Skipped(images=1, instances=count - first[-1], lines=(str(error),)))
            maps.append(None)
            continue
        seen.add(entry.image.id)
        entries.append(entry)
        maps.append(map_path)
    return Results(
        path,
        KIND,
        tuple(entries),
        count,
        categories,
        PanopticFile(path, document, tuple(maps), tuple(first)),
        skipped=Skipped.joined(skipped),
        layout="segments",
    )


def things_only(results: Results) -> Results:
    """Panoptic results without stuff, which has no instances to be compared with; others as they are."""
    if results.kind != KIND:
        return results
    images = tuple(
        replace(entry, instances=tuple(instance for instance in entry.instances if instance.score is None))
        for entry in results.images
    )
    known = {instance.category_id for entry in images for instance in entry.instances}
    names = {number: name for number, name in results.categories.items() if number in known}
    return replace(results, images=images, categories=names)


def map_folder(path: Path) -> Path:
    """The folder of a JSON file's PNGs: its path without the ending (.json, .json.gz)."""
    name = path.name.removesuffix(".gz")
    return path.with_name(name.removesuffix(".json") if name.endswith(".json") else f"{name}_png")


def _entry(
    annotation: Any,
    index: int,
    first: int,
    path: Path,
    folder: Path,
    images: Mapping[int | str, ImageRecord],
    stuff: frozenset[int],
) -> tuple[ImageInstances, Path]:
    """One image's segments and its PNG."""
    if not isinstance(annotation, dict):
        raise InputError(f"it is {described(annotation)}, not an object", file=path, index=index, remedy=SEE)
    image_id = as_id(annotation.get("image_id"))
    if image_id is None:
        problem = f"its image_id is {described(annotation.get('image_id'))}"
        raise InputError(problem, file=path, index=index, remedy="Write an integer or a string")

    def fault(problem: str, remedy: str) -> InputError:
        return InputError(problem, file=path, image_id=image_id, index=index, remedy=remedy)

    name, segments = annotation.get("file_name"), annotation.get("segments_info")
    if not isinstance(name, str) or not isinstance(segments, list):
        raise fault("it lacks a file_name or segments_info", SEE)
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        raise fault(f"its file_name {name} leads out of the PNGs' folder", "Write a name relative to it")
    map_path = folder / name
    if not map_path.is_file():
        raise fault(f"there is no {map_path}", f"Put the PNGs beside {path.name}, into the folder {folder.name}")
    if images and image_id not in images:
        raise fault("its image id is not among the images", "Add the image or remove the annotation")
    ids = [_segment_id(segment) for segment in segments]
    if len(set(ids)) < len(ids):
        raise fault("two of its segments have one id", "Give each segment of an image an id of its own")
    instances = []
    for place, (segment, number) in enumerate(zip(segments, ids, strict=True)):
        category = as_category(segment.get("category_id")) if isinstance(segment, dict) else None
        if number is None or category is None:
            raise fault(
                f"segment {place} of it has no id between 1 and {MOST_IDS - 1:,} or no category_id",
                "Write both as integers",
            )
        # Ids are unique in an image alone, and so no field of an annotation here.
        fields = {key: value for key, value in segment.items() if key != "id"}
        pixels = LabelPixels(map_path, number, "rgb")
        score = 0.0 if category in stuff else None
        is_crowd = bool(segment.get("iscrowd"))
        instances.append(Instance(first + place, image_id, pixels, category, score, is_crowd, fields, path))
    height, width = image_size(map_path)
    known = images.get(image_id, ImageRecord(image_id))
    return ImageInstances(replace(known, height=height, width=width), tuple(instances)), map_path


def _segment_id(segment: Any) -> int | None:
    number = as_integer(segment.get("id")) if isinstance(segment, dict) else None
    return number if number is not None and 0 < number < MOST_IDS else None


def _stuff(document: Mapping[str, Any]) -> frozenset[int]:
    """The categories that are stuff; those that do not say are things."""
    numbers = (as_category(category["id"]) for category in document.get("categories") or () if _is_stuff(category))
    return frozenset(number for number in numbers if number is not None)


def _is_stuff(category: Mapping[str, Any]) -> bool:
    return "isthing" in category and not category["isthing"]


def _with_extent(segment: Mapping[str, Any], area: int, bbox: Sequence[float]) -> dict[str, Any]:
    extent = {"area": area, "bbox": [int(side) for side in bbox]}
    return {**segment, **{key: value for key, value in extent.items() if key in segment}}
