"""Segment Anything's masks of one image: SA-1B's object, and the list of the automatic mask generator.

The generator's script (`amg.py --convert-to-rle`) writes `photo.json` for `photo.jpg`: a list of records that name no
image.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bpr_cli.errors import InputError
from bpr_cli.formats.coco import with_mask
from bpr_cli.formats.fields import as_side, described, is_finite
from bpr_cli.formats.records import ImageInstances, ImageRecord, Instance
from bpr_cli.formats.rle import RLE

QUALITY = ("predicted_iou", "stability_score")
LOOKED_AT = 20  # records of a list that tell what it is


def _instances(records: list[Any], path: Path, image_id: str, first: int) -> tuple[Instance, ...]:
    """An instance a record; its score is `predicted_iou`."""
    instances = []
    for place, record in enumerate(records):
        if not isinstance(record, dict) or record.get("segmentation") is None:
            problem = "there is no segmentation" if isinstance(record, dict) else f"it is {described(record)}"
            raise InputError(problem, file=path, index=place, remedy="Write masks as RLE (output_mode='coco_rle')")
        score = record.get("predicted_iou")
        if score is not None and not is_finite(score):
            problem = f"its predicted_iou is {described(score)}"
            raise InputError(problem, file=path, index=place, remedy="Write a finite number")
        index = first + place
        instances.append(Instance(index, image_id, record["segmentation"], None, score, False, record, path))
    return tuple(instances)


def is_list(document: Any) -> bool:
    """Whether it is a list of records with a mask and what the model thinks of it, and no image."""
    if not isinstance(document, list):
        return False
    records = [record for record in document[:LOOKED_AT] if isinstance(record, dict)]
    if any("image_id" in record for record in records):
        return False
    return any("segmentation" in record and any(key in record for key in QUALITY) for record in records)


def read_list(document: Any, path: Path, image_id: str, first: int) -> ImageInstances:
    """See `per_image.Form`. The photo is the one of the file's name."""
    return ImageInstances(ImageRecord(image_id), _instances(document, path, image_id, first))


def updated_list(document: Any, _: Path, new: Mapping[int, RLE]) -> Any:
    """See `per_image.Form`. `bbox` and `area` follow the new mask."""
    return [with_mask(record, new[place], "same") if place in new else record for place, record in enumerate(document)]


def is_object(document: Any) -> bool:
    """Whether it has `image`, an object, and `annotations`, a list."""
    return (
        isinstance(document, dict)
        and isinstance(document.get("image"), dict)
        and isinstance(document.get("annotations"), list)
    )


def read_object(document: Any, path: Path, image_id: str, first: int) -> ImageInstances:
    """See `per_image.Form`. The photo lies beside the file."""
    image = document["image"]
    name = image.get("file_name")
    if not isinstance(name, str):
        raise InputError(f"its file_name is {described(name)}", file=path, remedy="Write the photo's name")
    record = ImageRecord(image_id, name, as_side(image.get("height")), as_side(image.get("width")), image)
    return ImageInstances(record, _instances(document["annotations"], path, image_id, first))


def updated_object(document: Any, path: Path, new: Mapping[int, RLE]) -> Any:
    """See `per_image.Form`. `bbox` and `area` follow the new mask."""
    return {**document, "annotations": updated_list(document["annotations"], path, new)}
