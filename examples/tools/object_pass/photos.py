"""The photos to learn from: their truths, what detectors found in them, and which of them are held out.

A list of data sets is a JSON file: an array of objects with the keys of `DataSet` (`data_sets.json` is the one that
crowds-lite0 was trained with).
Photos are kept in memory.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from bpr_cli.masks import Mask, crop_mask, intersection_over_union

# A rider is a category of its own in the truths of some data sets; detectors of COCO's categories call it a person.
DETECTED_AS = {91: 1}
SMALLEST_TRUTH, SMALLEST_DETECTION = 60, 40  # px of area
MATCHING_IOU = 0.4  # above it a detection is of the truth that it overlaps most


@dataclass(frozen=True, slots=True)
class DataSet:
    """Photos with annotations, and what detectors found in them.

    Attributes:
        name: to tell it from the others.
        images: folder of the photos.
        gt: annotations, a COCO JSON file.
        results: detections, COCO results files, each of one form of detector.
        share: of the samples, beside the other sets' shares.
        polygons: whether the annotations are polygons, whose boundaries are not to be trusted to the pixel.
        group: key of the image records that says which photos belong together; without it each stands alone.
        held_groups: groups that are held out.
        held_every: of the photos in the order of their names, each so-manieth is held out; 0: none.
    """

    name: str
    images: Path
    gt: Path
    results: tuple[Path, ...] = ()
    share: float = 1.0
    polygons: bool = False
    group: str = "file_name"
    held_groups: tuple[str, ...] = ()
    held_every: int = 0


class Object(NamedTuple):
    """An annotated or detected object of a photo; an annotation's score is 1."""

    mask: Mask
    category: int
    score: float = 1.0


class Match(NamedTuple):
    """A detection (position in its form's list) and the truth (position) that it is of."""

    form: int
    detection: int
    truth: int


@dataclass(slots=True)
class Photo:
    """A photo, uint8 RGB, with its objects; `forms` holds the detections of each results file."""

    image_HWC: NDArray[np.uint8]
    group: str
    has_polygons: bool
    truths: list[Object] = field(default_factory=list)
    forms: list[list[Object]] = field(default_factory=list)
    matches: list[Match] = field(default_factory=list)


def read_list(path: Path, folder: Path) -> list[DataSet]:
    """The data sets of a list, whose paths begin at a folder."""
    found = []
    for entry in json.loads(path.read_text(encoding="utf-8")):
        paths = {key: folder / entry[key] for key in ("images", "gt")}
        results = tuple(folder / name for name in entry.get("results", ()))
        found.append(DataSet(**{**entry, **paths, "results": results}))
    return found


def read_photos(data_sets: list[DataSet], held: bool) -> dict[str, list[Photo]]:
    """The photos of each set, by its name: those held out, or those to train on; sets without any are left out."""
    photos = {data_set.name: _read(data_set, held) for data_set in data_sets}
    return {name: found for name, found in photos.items() if found}


def _read(data_set: DataSet, held: bool) -> list[Photo]:
    document = json.loads(data_set.gt.read_text(encoding="utf-8"))
    annotations = _by_image([record for record in document["annotations"] if not record.get("iscrowd", 0)])
    detections = [_by_image(json.loads(path.read_text(encoding="utf-8"))) for path in data_set.results]
    held_ids = _held_ids(data_set, document["images"])
    photos = []
    for record in document["images"]:
        number = record["id"]
        if (number in held_ids) != held:
            continue
        pixels = cv2.imread(str(data_set.images / record["file_name"]))
        if pixels is None:
            raise FileNotFoundError(f"no readable photo: {data_set.images / record['file_name']}")
        image_HWC = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), np.uint8)
        photo = Photo(image_HWC, str(record[data_set.group]), data_set.polygons)
        truths = _objects(annotations[number], image_HWC)
        photo.truths = [truth for truth in truths if truth.mask.area >= SMALLEST_TRUTH]
        for form, found in enumerate(detections):
            objects = _objects(found[number], image_HWC)
            photo.forms.append(objects)
            photo.matches += _matches(form, objects, photo.truths)
        photos.append(photo)
    return photos


def _by_image(records: list[dict[str, Any]]) -> dict[int, list[dict[str, Any]]]:
    found = defaultdict(list)
    for record in records:
        found[record["image_id"]].append(record)
    return found


def _held_ids(data_set: DataSet, records: list[dict[str, Any]]) -> set[int]:
    held = {record["id"] for record in records if str(record[data_set.group]) in data_set.held_groups}
    if data_set.held_every:
        by_name = sorted(records, key=lambda record: record["file_name"])
        held |= {record["id"] for record in by_name[:: data_set.held_every]}
    return held


def _objects(records: list[dict[str, Any]], image_HWC: NDArray[np.uint8]) -> list[Object]:
    """The objects of annotations or detections, without empty ones."""
    height, width = image_HWC.shape[:2]
    objects = []
    for record in records:
        frame_HW = coco_mask.decode(_rle(record["segmentation"], height, width))
        mask = crop_mask(frame_HW, 0, 0, height, width)
        if mask.pixels_HW.size:
            objects.append(Object(mask, record["category_id"], record.get("score", 1.0)))
    return objects


def _rle(segmentation: list[Any] | Mapping[str, Any], height: int, width: int) -> Any:
    if isinstance(segmentation, list):
        return coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
    if isinstance(segmentation["counts"], list):
        return coco_mask.frPyObjects(segmentation, height, width)
    return segmentation


def _matches(form: int, detections: list[Object], truths: list[Object]) -> list[Match]:
    """Of each detection the truth of its category that it overlaps most, if it does so enough."""
    matches = []
    for index, detection in enumerate(detections):
        category = DETECTED_AS.get(detection.category, detection.category)
        overlaps = [
            intersection_over_union(detection.mask, truth.mask)
            if DETECTED_AS.get(truth.category, truth.category) == category
            else 0.0
            for truth in truths
        ]
        best = max(overlaps, default=0.0)
        if best > MATCHING_IOU and detection.mask.area >= SMALLEST_DETECTION:
            matches.append(Match(form, index, overlaps.index(best)))
    return matches
