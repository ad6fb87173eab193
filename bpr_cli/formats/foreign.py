"""Files of other tools, told by their content: what they are called, and the way from them to COCO JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

READ_BYTES = 65_536  # bytes of a text, and
RECORDS = 20  # records of a list, that tell what it is
FILES = 20  # files of a folder that are looked into

SEGMENTATIONS = "Give a COCO results list or dataset with segmentations (examples/FORMATS.md)"
UNPACK = "Unpack it and give the file inside"
FROM_PYTHON = "Write its masks as a COCO results list: RLE by pycocotools, saved with json.dump"
# COCO results that someone pickled; what else a pickle may hold stands in examples/FORMATS.md.
FROM_PICKLE = (
    'If you trust it, turn it into JSON: python -c "import json, pickle; '
    "json.dump(pickle.load(open('results.pkl', 'rb')), open('results.json', 'w'), default=bytes.decode)\""
)
FOLDER = "Give the folder that it lies in"
EXPORT = "Export it as COCO JSON (COCO 1.0, instances)"


class Foreign(NamedTuple):
    """What a file is, as in "this is ...", and what to do about it."""

    name: str
    remedy: str


SIGNATURES = [
    (b"BZh", "a bzip2 archive", UNPACK),
    (b"\xfd7zXZ", "an xz archive", UNPACK),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive", UNPACK),
    (b"7z\xbc\xaf", "a 7-Zip archive", UNPACK),
    (b"Rar!", "a RAR archive", UNPACK),
    (b"\x93NUMPY", "a NumPy array (.npy)", FROM_PYTHON),
    (b"\x89HDF", "an HDF5 file", FROM_PYTHON),
    (b"PAR1", "a Parquet table", FROM_PYTHON),
    (b"SQLite format 3", "an SQLite database", FROM_PYTHON),
    (b"MATLAB 5.0", "a MATLAB file", FROM_PYTHON),
    (b"%PDF", "a PDF document", SEGMENTATIONS),
    (b"\x89PNG", "a PNG image", "Give masks with --mask"),
    (b"\xff\xd8\xff", "a JPEG image", "Give masks with --mask"),
    (b"II*\x00", "a TIFF image", "Give masks with --mask"),
    (b"MM\x00*", "a TIFF image", "Give masks with --mask"),
    (b"GIF8", "a GIF image", "Give masks with --mask"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself", "Fetch the file with git lfs pull"),
]


def foreign_bytes(data: bytes) -> Foreign | None:
    """What a file that is not JSON is; None if it is not known."""
    for signature, name, remedy in SIGNATURES:
        if data.startswith(signature):
            return Foreign(name, remedy)
    if data.startswith(b"PK\x03\x04"):
        return _zip(data[:READ_BYTES])
    if re.match(rb"\x80[\x02-\x05]|\(dp?[01]|\(lp?[01]", data):
        return Foreign("a Python pickle", FROM_PICKLE)
    if re.match(rb".{7}\x00\{\"", data, re.DOTALL):
        return Foreign("a safetensors file: weights of a model", SEGMENTATIONS)
    head = data[:READ_BYTES]
    if b"\x00" in head:
        return None
    text = head.decode("utf-8-sig", "replace").lstrip()
    return _markup(text) or _table(text)


def _zip(head: bytes) -> Foreign:
    if b".npy" in head:
        return Foreign("an archive of NumPy arrays (.npz)", FROM_PYTHON)
    if b"data.pkl" in head:
        return Foreign("a PyTorch file", FROM_PYTHON)
    if b"xl/" in head:
        return Foreign("an Excel table", FROM_PYTHON)
    return Foreign("a ZIP archive", UNPACK)


def _markup(text: str) -> Foreign | None:
    start = text[:2000].lower()
    if start.startswith(("<!doctype html", "<html")) or "<html" in start[:500]:
        return Foreign("a web page (HTML), not the file itself", "Download the file again")
    if not start.startswith("<"):
        return None
    if "<annotations" in start:
        return Foreign("CVAT XML", "Give that file itself")
    if "<annotation" in start:
        return Foreign("a Pascal VOC XML file: boxes, no masks", "Give the folder SegmentationObject")
    return Foreign("an XML file", EXPORT)


def _table(text: str) -> Foreign | None:
    """Lines of numbers and words; the last line may be cut."""
    lines = [line.strip() for line in text.splitlines()[:RECORDS] if line.strip()]
    if not lines:
        return None
    if all(re.fullmatch(r"\d+( +[-+.\de]+)+", line) for line in lines[: max(1, len(lines) - 1)]):
        numbers = len(lines[0].split())
        if numbers in (5, 6):
            return Foreign("YOLO's text form of boxes, which has no masks", "Give results of a segmentation model")
        return Foreign("one text file of YOLO's segmentations", FOLDER)
    if re.fullmatch(r"\S+\.png +\d+ +\S+", lines[0]):
        return Foreign("one text file of Cityscapes results", FOLDER)
    if re.match(r"[\[{]\s*'|\[\{'|\{\d+:", lines[0]):
        return Foreign("a printed Python object, not JSON", "Write it with json.dump")
    if lines[0][0] not in "{[" and len(re.split(r"[,;\t]", lines[0])) > 1:
        return Foreign("a table (CSV)", FROM_PYTHON)
    if re.match(r"(%YAML|---|[\w-]+:(\s|$))", lines[0]):
        return Foreign("a YAML file", "Of a YOLO data set give the folder; else give results as COCO JSON")
    return None


# Keys that tell a JSON object, each set whole; the first that fits counts.
OBJECTS: list[tuple[set[str], str, str]] = [
    ({"data", "annotations"}, "one task of Label Studio", "Put it in a list: [{...}]"),
    ({"videos", "annotations"}, "a YouTube-VIS file: videos", "Write a COCO dataset with a record for each frame"),
    ({"_via_img_metadata"}, "a VGG Image Annotator project", EXPORT),
    ({"imgHeight", "imgWidth", "objects"}, "a Cityscapes polygon file", "Give gtFine's folder (*_instanceIds.png)"),
    ({"objects", "size", "tags"}, "a Supervisely file", EXPORT),
    ({"items", "categories"}, "a Datumaro file", EXPORT),
    ({"image_id", "segmentation"}, "one result by itself", "Put it in a list: [{...}]"),
    ({"labels", "scores", "masks"}, "the predictions of one image, without an id", FROM_PYTHON),
    ({"predictions", "image"}, "the answer of an inference server for one image", FROM_PYTHON),
]


def foreign_object(document: Mapping[str, Any]) -> Foreign | None:
    """What a JSON object that is no COCO dataset is; None if it is not known."""
    if document.get("type") in ("FeatureCollection", "Feature", "GeometryCollection"):
        return Foreign("GeoJSON", "Turn its polygons into pixels and write a COCO dataset")
    for keys, name, remedy in OBJECTS:
        if keys <= document.keys():
            return Foreign(name, remedy)
    values = list(document.values())[:RECORDS]
    if values and all(isinstance(value, Mapping) and "regions" in value for value in values):
        return Foreign("VGG Image Annotator JSON", EXPORT)
    for key in ("annotations", "results", "predictions", "detections"):
        records = document.get(key)
        if isinstance(records, list) and records and _are_results(records):
            return Foreign(f"a list of results within an object ({key})", f"Give the list {key} alone, as [...]")
    return None


def foreign_records(records: Sequence[Any]) -> Foreign | None:
    """What a list without any image's segmentation is; None for COCO's, and if it is not known."""
    if _are_results(records):
        return None
    first = [record for record in records[:RECORDS] if isinstance(record, Mapping)]
    keys = {key for record in first for key, value in record.items() if value is not None}
    if "segments_info" in keys:
        return Foreign("a list of COCO panoptic annotations", 'Put it in an object: {"annotations": [...]}')
    if keys & {"segmentations", "video_id"}:
        return Foreign("YouTube-VIS results: videos", "Write a COCO results list with a record for each frame's mask")
    if {"annotation_id", "annotator"} <= keys:
        return Foreign("Label Studio's short form, JSON-MIN", "Export the project as JSON")
    if "labels" in keys and "name" in keys:
        return Foreign("a BDD100K file", EXPORT)
    if "segmentation" in keys:
        return None
    if "keypoints" in keys:
        return Foreign("COCO keypoints, which have no masks", SEGMENTATIONS)
    if "caption" in keys:
        return Foreign("COCO captions, which have no masks", SEGMENTATIONS)
    if keys & {"bbox", "box", "boxes", "bboxes"}:
        return Foreign(
            "boxes without masks",
            "Give instance segmentation results, not boxes alone (mmdetection writes them to *.segm.json)",
        )
    return None


def _are_results(records: Sequence[Any]) -> bool:
    return any(
        isinstance(record, Mapping) and "image_id" in record and record.get("segmentation") is not None
        for record in records
    )


def foreign_folder(folder: Path) -> Foreign | None:
    """What a folder that is not Cityscapes' holds; None if it is not known."""
    for pattern in ("*.txt", "*.json", "*.xml", "*.npy", "*.npz", "*.pkl"):
        for path in sorted(folder.rglob(pattern))[:FILES]:
            if found := _foreign_file(path):
                return found
    return None


def _foreign_file(path: Path) -> Foreign | None:
    try:
        data = path.read_bytes()
        document = json.loads(data) if path.suffix == ".json" else None
    except (OSError, ValueError, RecursionError):  # of no help here; the folder is refused in any case
        return None
    if isinstance(document, list) or (isinstance(document, dict) and "images" in document):
        return Foreign(f"a folder with the JSON file {path.name}", "Give that file itself")
    found = foreign_object(document) if isinstance(document, dict) else foreign_bytes(data)
    if found is None or found.name.startswith("a table"):  # notes and lists of files
        return None
    return Foreign(f"a folder with {found.name} ({path.name})", found.remedy)
