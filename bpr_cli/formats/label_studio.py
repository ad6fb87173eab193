"""Label Studio's JSON export: tasks, of whose annotations and predictions brush strokes and polygons are refined."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from bpr_cli.errors import InputError
from bpr_cli.formats import json_files
from bpr_cli.formats.brush_rle import decode_brush, encode_brush
from bpr_cli.formats.classes import LABEL, with_class_ids
from bpr_cli.formats.fields import as_side, is_finite
from bpr_cli.formats.finding import SUFFIXES
from bpr_cli.formats.folders import files_below
from bpr_cli.formats.outlines import mask_outline
from bpr_cli.formats.polygons import scaled_polygons_mask
from bpr_cli.formats.records import ImageInstances, ImageRecord, Instance, ReadOptions, Results, Skipped
from bpr_cli.formats.rle import RLE, BrokenSegmentationError, decode_rle
from bpr_cli.formats.segmentation import OwnForm
from bpr_cli.masks import Mask
from bpr_cli.notices import warn_of_input

KIND = "label-studio"
GROUPS = ("annotations", "predictions", "completions")  # completions: as version 0.x calls annotations
UPLOADED = re.compile(r"[0-9a-f]{8}-(.+)")  # as Label Studio names what was uploaded
DIGITS = 9  # of a percentage: a thousandth of a pixel of any photo
WHOLE = 100.0
TURNED = "results on a photo that was turned in Label Studio (image_rotation) stay as they were"
EMPTY = "a mask became empty, for which there is no polygon: it stays as it was"


@dataclass(frozen=True, slots=True)
class Brush(OwnForm):
    """Packed run lengths."""

    packed: Sequence[Any]

    def to_mask(self, height: int, width: int) -> Mask:
        """See `OwnForm`."""
        return decode_brush(self.packed, height, width)


@dataclass(frozen=True, slots=True)
class Polygon(OwnForm):
    """Points in percent of the photo."""

    points: Any

    def to_mask(self, height: int, width: int) -> Mask:
        """See `OwnForm`."""
        points = self.points
        if not isinstance(points, list) or not all(isinstance(p, list) and len(p) == 2 for p in points):
            raise BrokenSegmentationError("the polygon's points are not [[x, y], ...]", "Export the project again")
        return scaled_polygons_mask([[value for point in points for value in point]], height, width, side=WHOLE)


class Place(NamedTuple):
    """Where a result stands in the document."""

    task: int
    group: str
    annotation: int
    result: int


@dataclass(frozen=True, slots=True)
class LabelStudioFile:
    """The parsed file, and where its instances stand, by index."""

    path: Path
    document: list[Any]
    places: list[Place]

    def check_output(self, out: Path) -> None:
        """See `json_files.check_output`."""
        json_files.check_output(self.path, out, self.document)

    def write(self, segmentations: Sequence[RLE | None], out: Path) -> None:
        """See `records.Source`. Parts and holes of a polygon are joined by lines without area."""
        self.check_output(out)
        new: dict[tuple[int, str, int], dict[int, RLE]] = defaultdict(dict)
        for place, rle in zip(self.places, segmentations, strict=True):
            if rle is not None:
                new[place[:3]][place.result] = rle
        json_files.dump([self._task(number, new) for number in range(len(self.document))], out)

    def _task(self, number: int, new: Mapping[tuple[int, str, int], Mapping[int, RLE]]) -> Any:
        task = dict(self.document[number])
        for group in GROUPS:
            if isinstance(task.get(group), list):
                task[group] = [
                    self._annotation(annotation, new.get((number, group, place), {}))
                    for place, annotation in enumerate(task[group])
                ]
        return task

    def _annotation(self, annotation: Any, new: Mapping[int, RLE]) -> Any:
        if not new:
            return annotation
        results = [
            _with_mask(result, new[n], self.path) if n in new else result
            for n, result in enumerate(annotation["result"])
        ]
        return {**annotation, "result": results}


def is_export(document: Any) -> bool:
    """Whether it is a list of tasks with annotations or predictions."""
    return (
        isinstance(document, list)
        and bool(document)
        and all(isinstance(task, dict) and isinstance(task.get("data"), dict) for task in document)
        and any(isinstance(task.get(group), list) for task in document for group in GROUPS)
    )


def read(document: Any, path: Path, options: ReadOptions) -> Results:
    """Read the brush strokes and polygons of all tasks; an image's id is its photo's name.

    Raises:
        InputError: a task without a photo, or with that of another.
    """
    folders = [folder for folder in options.images if folder.is_dir()] or [path.parent]
    names: set[str] | None = None
    entries: list[ImageInstances] = []
    places: list[Place] = []
    seen: set[str] = set()
    skipped: list[Skipped] = []
    for number, task in enumerate(document):
        try:
            name = _photo_name(task["data"], path, number)
            if (uploaded := UPLOADED.fullmatch(name)) is not None:
                if names is None:
                    names = {photo.name for folder in folders for photo in files_below(folder, SUFFIXES)}
                name = name if name in names else uploaded[1]
            if name in seen:
                raise InputError(f"two tasks have the photo {name}", file=path, remedy="Keep one of them")
            seen.add(name)
            entry, found = _task(task, number, path, ImageRecord(name, name), len(places))
        except InputError as error:
            if not options.skip_bad:
                raise
            skipped.append(Skipped(images=1, lines=(str(error),)))
            continue
        entries.append(entry)
        places += found
    images, categories = with_class_ids(entries)
    source = LabelStudioFile(path, document, places)
    return Results(path, KIND, images, len(places), categories, source, skipped=Skipped.joined(skipped))


def _photo_name(data: Mapping[str, Any], path: Path, number: int) -> str:
    """The photo's path, of whatever Label Studio was given: a path, an URL, a file of local storage, an upload."""
    values = [data["image"], *data.values()] if isinstance(data.get("image"), str) else list(data.values())
    for value in values:
        if not isinstance(value, str):
            continue
        parts = urlsplit(value)
        named = parse_qs(parts.query).get("d", [unquote(parts.path)])[0].lstrip("/")
        if named.lower().endswith(tuple(SUFFIXES)):
            return named.rpartition("/")[2] if "upload/" in named else named
    raise InputError(f"the data of task {number} name no photo", file=path, remedy="Give a project of images")


def _task(
    task: Mapping[str, Any], number: int, path: Path, record: ImageRecord, first: int
) -> tuple[ImageInstances, list[Place]]:
    instances: list[Instance] = []
    places: list[Place] = []
    sides: tuple[int | None, int | None] = (None, None)
    for group, place, annotation, n, result in _results(task):
        segmentation = _segmentation(result)
        if segmentation is None:
            continue
        if result.get("image_rotation"):
            warn_of_input(TURNED, path)
            continue
        sides = as_side(result.get("original_height")), as_side(result.get("original_width"))
        scores = [score for score in (result.get("score"), annotation.get("score")) if is_finite(score)]
        index = first + len(instances)
        fields = {LABEL: _label(result)}
        score = scores[0] if scores and group == "predictions" else None
        instances.append(Instance(index, record.id, segmentation, None, score, False, fields, path))
        places.append(Place(number, group, place, n))
    sized = ImageRecord(record.id, record.file_name, *sides, task["data"])
    return ImageInstances(sized, tuple(instances)), places


def _results(task: Mapping[str, Any]) -> Iterator[tuple[str, int, Mapping[str, Any], int, Mapping[str, Any]]]:
    """Group, place and annotation, then place and result of each result of a task."""
    for group in GROUPS:
        annotations = task.get(group)
        for place, annotation in enumerate(annotations if isinstance(annotations, list) else ()):
            results = annotation.get("result") if isinstance(annotation, dict) else None
            for number, result in enumerate(results if isinstance(results, list) else ()):
                if isinstance(result, dict) and isinstance(result.get("value"), dict):
                    yield group, place, annotation, number, result


def _segmentation(result: Mapping[str, Any]) -> OwnForm | None:
    """None for results that are no masks: choices, boxes, texts."""
    value = result["value"]
    kind = str(result.get("type"))
    if kind.startswith("brush") and isinstance(value.get("rle"), list):
        return Brush(value["rle"])
    return Polygon(value.get("points")) if kind.startswith("polygon") else None


def _label(result: Mapping[str, Any]) -> str:
    value = result["value"]
    found = value.get(result["type"], value.get("labels"))
    return str(found[0]) if isinstance(found, list) and found else ""


def _with_mask(result: Mapping[str, Any], rle: RLE, path: Path) -> Any:
    mask, value = decode_rle(rle), result["value"]
    if "rle" in value:
        return {**result, "value": {**value, "rle": encode_brush(mask)}}
    outline = mask_outline(mask)
    if not outline:
        warn_of_input(EMPTY, path)
        return result
    height, width = rle["size"]
    points = [
        [round(WHOLE * x / width, DIGITS), round(WHOLE * y / height, DIGITS)]
        for x, y in zip(outline[::2], outline[1::2], strict=True)
    ]
    return {**result, "value": {**value, "points": points}}
