"""COCO JSON: a results list, or a dataset dict with images and annotations."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bpr_cli.errors import InputError
from bpr_cli.files import ensure_folder, replacing
from bpr_cli.formats.records import ImageInstances, ImageRecord, Instance, Results
from bpr_cli.formats.segmentation import rle_size
from bpr_cli.masks import RLE, bbox_xywh, decode_rle

RESULTS, DATASET = "coco-results", "coco-dataset"
WRITE_AGAIN = "Write the file again"
NAMED = 5  # keys of an unknown object named in an error


def read(path: Path) -> Results:
    """Read a COCO results list or dataset dict; which of them is seen from the content.

    Raises:
        InputError: not JSON, neither of the two, or a record that cannot be used; names file, image id, index.
    """
    document = _parse(path)
    if isinstance(document, list):
        images = _images_of_results(document, path)
        return Results(path, RESULTS, _group(images, document, path), len(document), {}, document)
    if isinstance(document, dict) and isinstance(document.get("images"), list):
        annotations = document.get("annotations")
        if not isinstance(annotations, list):
            problem = "there are no annotations" if annotations is None else "annotations is not a list"
            raise InputError(problem, file=path, remedy="Give a dataset with annotations, or a list of results")
        images = _images_of_dataset(document["images"], path)
        categories = _categories(document, path)
        grouped = _group(images, annotations, path)
        return Results(path, DATASET, grouped, len(annotations), categories, document, _frequencies(document, path))
    found = f"a {type(document).__name__}"
    if isinstance(document, dict):
        found = f"an object with {', '.join(list(document)[:NAMED]) or 'nothing in it'}"
    raise InputError(
        f"neither a list of results nor a dataset with the lists images and annotations (found {found})",
        file=path,
        remedy="See examples/FORMATS.md for what the input looks like",
    )


def _parse(path: Path) -> Any:
    try:
        data = path.read_bytes()
        if not data or data.isspace():
            raise InputError("not valid JSON (line 1, column 1: the file is empty)", file=path, remedy=WRITE_AGAIN)
        return json.loads(data)  # bytes: a byte order mark and UTF-16, as PowerShell writes it, are understood
    except InputError:
        raise
    except json.JSONDecodeError as error:
        raise InputError(
            f"not valid JSON (line {error.lineno}, column {error.colno}: {error.msg})",
            file=path,
            remedy=WRITE_AGAIN,
        ) from error
    except UnicodeDecodeError as error:
        raise InputError("not a text file in UTF-8", file=path, remedy="Give a COCO JSON file") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits; lists in lists without end
        raise InputError(f"not JSON that can be read ({error})", file=path, remedy=WRITE_AGAIN) from error
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", file=path, remedy="Check the path") from error


def _group(images: Mapping[int | str, ImageRecord], records: list[Any], path: Path) -> tuple[ImageInstances, ...]:
    """The images with their instances, each in the file's order."""
    instances: dict[int | str, list[Instance]] = {image_id: [] for image_id in images}
    for index, record in enumerate(records):
        instance = _instance(record, index, path)
        if instance.image_id not in instances:
            raise InputError(
                "its image id is not among the images",
                file=path,
                image_id=instance.image_id,
                index=index,
                remedy="Add the image or remove the annotation",
            )
        instances[instance.image_id].append(instance)
    return tuple(ImageInstances(images[image_id], tuple(found)) for image_id, found in instances.items())


def _instance(record: Any, index: int, path: Path) -> Instance:
    image_id = _image_id(record, index, path, "image_id")
    if record.get("segmentation") is None:
        raise InputError(
            "there is no segmentation",
            file=path,
            image_id=image_id,
            index=index,
            remedy="Give instance segmentation results, not boxes alone",
        )
    score = record.get("score")
    if score is not None and not _is_number(score):
        raise InputError(
            f"the score is {score!r}", file=path, image_id=image_id, index=index, remedy="Write a finite number"
        )
    category = record.get("category_id")
    if category is not None and type(category) is not int:
        raise InputError(
            f"the category id is {category!r}", file=path, image_id=image_id, index=index, remedy="Write an integer"
        )
    iscrowd = record.get("iscrowd") or 0
    if iscrowd not in (0, 1):
        raise InputError(f"iscrowd is {iscrowd!r}", file=path, image_id=image_id, index=index, remedy="Write 0 or 1")
    return Instance(index, image_id, record["segmentation"], category, score, bool(iscrowd), record, path)


def _image_id(record: Any, index: int, path: Path, key: str) -> int | str:
    if not isinstance(record, dict):
        raise InputError(
            f"it is a {type(record).__name__}, not an object", file=path, index=index, remedy="See examples/FORMATS.md"
        )
    if record.get(key) is None:
        raise InputError(f"its {key} is None or missing", file=path, index=index, remedy="Write an integer or a string")
    image_id = _as_id(record[key])
    if image_id is None:
        raise InputError(f"its {key} is {record[key]!r}", file=path, index=index, remedy="Write an integer or a string")
    return image_id


def _as_id(value: Any) -> int | str | None:
    """An image's id; None if it cannot be one. 139.0 is 139: tables with gaps turn integers into floats."""
    if type(value) is float and value.is_integer():
        return int(value)
    return value if type(value) is int or type(value) is str else None


def _is_number(value: Any) -> bool:
    # Integers are compared, not converted: JSON knows some that no float holds.
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -math.inf < value < math.inf


def _images_of_results(records: Iterable[Any], path: Path) -> dict[int | str, ImageRecord]:
    """A results list has no list of images: id, size and (rarely) file_name come from its records.

    Where masks of one image differ in size, the size stays open: the photo or the ground truth tells which is wrong.
    """
    sizes: dict[int | str, set[tuple[int, int]]] = {}
    names: dict[int | str, str] = {}
    for index, record in enumerate(records):
        image_id = _image_id(record, index, path, "image_id")
        name = record.get("file_name")
        if isinstance(name, str) and names.setdefault(image_id, name) != name:
            raise InputError(
                f"its file_name is {name}, that of the same image was {names[image_id]} before",
                file=path,
                image_id=image_id,
                index=index,
                remedy="Give each image an id of its own",
            )
        size = rle_size(record.get("segmentation"))
        sizes.setdefault(image_id, set()).update([size] if size else [])
    records_by_id = {}
    for image_id, found in sizes.items():
        height, width = found.pop() if len(found) == 1 else (None, None)
        records_by_id[image_id] = ImageRecord(image_id, names.get(image_id), height, width)
    return records_by_id


def _images_of_dataset(images: Sequence[Any], path: Path) -> dict[int | str, ImageRecord]:
    records: dict[int | str, ImageRecord] = {}
    for index, image in enumerate(images):
        if not isinstance(image, dict):
            raise InputError(f"images[{index}] is not an object", file=path, remedy="See examples/FORMATS.md")
        image_id = _as_id(image.get("id"))
        if image_id is None:
            raise InputError(
                f"images[{index}] has the id {image.get('id')!r}", file=path, remedy="Write an integer or a string"
            )
        if image_id in records:
            raise InputError("the image is listed twice", file=path, image_id=image_id, remedy="Keep one of them")
        height, width = image.get("height"), image.get("width")
        for name, side in (("height", height), ("width", width)):
            if side is not None and (type(side) is not int or side <= 0):
                raise InputError(f"its {name} is {side!r}", file=path, image_id=image_id, remedy="Write it in pixels")
        file_name = image.get("file_name")
        if file_name is not None and not isinstance(file_name, str):
            raise InputError(f"its file_name is {file_name!r}", file=path, image_id=image_id, remedy="Write a string")
        records[image_id] = ImageRecord(image_id, file_name, height, width, image)
    return records


def _categories(document: Mapping[str, Any], path: Path) -> dict[int, str]:
    names: dict[int, str] = {}
    try:
        for category in document.get("categories", []):
            number = category["id"]
            if number in names:
                raise InputError(
                    f"category {number} is listed twice", file=path, remedy="Keep one of them in categories"
                )
            names[number] = str(category.get("name", number))
    except (TypeError, KeyError, AttributeError) as error:
        raise InputError("a category has no id", file=path, remedy="Write categories as [{id, name}, ...]") from error
    return names


def _frequencies(document: Mapping[str, Any], path: Path) -> dict[int, str]:
    """LVIS's frequency groups: a file is LVIS's if each of its categories has one."""
    categories = document.get("categories", [])
    found = {category["id"]: category.get("frequency") for category in categories}
    if not categories or None in found.values():
        return {}
    for number, frequency in found.items():
        if frequency not in ("r", "c", "f"):
            raise InputError(
                f"category {number} has the frequency {frequency!r}", file=path, remedy="LVIS knows r, c and f"
            )
    return found


def with_image_info(results: Results, info: Path) -> Results:
    """Results whose images take file name, size and other fields, and classes their names, from a dataset.

    Args:
        results: as read.
        info: a COCO JSON file with `images`; its annotations, if it has any, are not looked at.

    Raises:
        InputError: it has no list of images, or lacks one of the results' images.
    """
    document = _parse(info)
    if not isinstance(document, dict) or not isinstance(document.get("images"), list):
        raise InputError("there is no list of images", file=info, remedy="Give a COCO JSON file with images")
    images = _images_of_dataset(document["images"], info)
    entries = []
    for entry in results.images:
        if entry.image.id not in images:
            raise InputError(
                "the image is not listed", file=info, image_id=entry.image.id, remedy="Give the list of these images"
            )
        entries.append(replace(entry, image=images[entry.image.id]))
    return replace(results, images=tuple(entries), categories=results.categories or _categories(document, info))


def check_output(results: Results, out: Path) -> None:
    """Make sure that `write` could write there.

    Raises:
        InputError: `out` is the input itself or a folder, or its folder cannot be made or written to.
    """
    if out.exists() and out.samefile(results.path):
        raise InputError("the output is the input itself", file=out, remedy="Choose another -o")
    if out.is_dir():
        raise InputError("the output is a folder", file=out, remedy="Name a JSON file with -o")
    ensure_folder(out.parent)


def write(results: Results, segmentations: Sequence[RLE | None], out: Path) -> None:
    """Write the input again with new masks: same form, same order, all other fields as they were.

    `bbox` and `area`, where a record has them, follow the new mask.

    Args:
        results: what `read` gave.
        segmentations: one for each instance, by index; None leaves that record as it was.
        out: the file to write; it appears whole or not at all.

    Raises:
        InputError: see `check_output`.
    """
    check_output(results, out)
    records = results.document if results.kind == RESULTS else results.document["annotations"]
    updated = [
        record if rle is None else _with_mask(record, rle) for record, rle in zip(records, segmentations, strict=True)
    ]
    document = updated if results.kind == RESULTS else {**results.document, "annotations": updated}
    with replacing(out) as temporary, temporary.open("w", encoding="utf-8") as stream:
        stream.write(json.dumps(document))  # many times as fast as json.dump, which writes in Python


def _with_mask(record: Mapping[str, Any], rle: RLE) -> dict[str, Any]:
    changed = {**record, "segmentation": rle}
    if "bbox" in record or "area" in record:
        mask = decode_rle(rle)
        if "bbox" in record:
            changed["bbox"] = bbox_xywh(mask)
        if "area" in record:
            changed["area"] = mask.area
    return changed
