"""Files of annotation tools and label maps for the fuzz trial: two objects on each of the sound photos."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.trials.common import Box

CVAT = """\
<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <image id="0" name="{name}" width="{width}" height="{height}">
    <polygon label="person" source="manual" occluded="0" points="{points}" z_order="0"></polygon>
    <mask label="car" source="manual" rle="{runs}" left="{left}" top="{top}" width="{w}" height="{h}"></mask>
  </image>
</annotations>
"""


def write(folder: Path, photos: Sequence[str], size: tuple[int, int], boxes: Sequence[tuple[int, Box]]) -> None:
    """Write the folders `yolo`, `labelme`, `maps` and `panoptic`, and `cvat.xml` and `label_studio.json`.

    Args:
        folder: where.
        photos: their names.
        size: width and height of each.
        boxes: category and place of each object.
    """
    width, height = size
    for name in ("yolo", "labelme", "maps", "panoptic"):
        (folder / name).mkdir()
    annotations = []
    for number, photo in enumerate(photos, 7):
        stem = Path(photo).stem
        lines = [" ".join(map(str, [category, *_fractions(box, size)])) for category, box in boxes]
        (folder / "yolo" / f"{stem}.txt").write_text("\n".join(lines))
        shapes = [_shape(f"class {category}", box) for category, box in boxes]
        document = {"version": "6.3.1", "flags": {}, "shapes": shapes, "imagePath": photo, "imageData": None}
        document |= {"imageHeight": height, "imageWidth": width}
        (folder / "labelme" / f"{stem}.json").write_text(json.dumps(document))
        ids_HW = np.zeros((height, width), np.uint8)
        for value, (_, (x1, y1, x2, y2)) in enumerate(boxes, 1):
            ids_HW[y1:y2, x1:x2] = value
        palette = Image.fromarray(ids_HW, "P")
        palette.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
        palette.save(folder / "maps" / f"{stem}.png")
        Image.fromarray(np.stack((ids_HW, 0 * ids_HW, 0 * ids_HW), axis=2)).save(folder / "panoptic" / f"{stem}.png")
        segments = [
            {"id": value, "category_id": category, "iscrowd": 0} for value, (category, _) in enumerate(boxes, 1)
        ]
        annotations.append({"image_id": number, "file_name": f"{stem}.png", "segments_info": segments})
    (folder / "panoptic.json").write_text(json.dumps(_panoptic(photos, size, annotations)))
    (folder / "cvat.xml").write_text(_cvat(photos[0], size, boxes[0][1]))
    (folder / "label_studio.json").write_text(json.dumps([_task(photo, size, boxes) for photo in photos]))


def _fractions(box: Box, size: tuple[int, int]) -> list[float]:
    return [round(value / size[number % 2], 6) for number, value in enumerate(_corners(box))]


def _corners(box: Box) -> list[int]:
    x1, y1, x2, y2 = box
    return [x1, y1, x2, y1, x2, y2, x1, y2]


def _shape(label: str, box: Box) -> dict[str, Any]:
    points = np.reshape(_corners(box), (-1, 2)).tolist()
    return {"label": label, "points": points, "group_id": None, "shape_type": "polygon", "flags": {}, "mask": None}


def _cvat(photo: str, size: tuple[int, int], box: Box) -> str:
    x1, y1, x2, y2 = box
    points = ";".join(f"{x},{y}" for x, y in np.reshape(_corners(box), (-1, 2)).tolist())
    place = {"left": x1, "top": y1, "w": x2 - x1, "h": y2 - y1, "runs": f"0, {(x2 - x1) * (y2 - y1)}"}
    return CVAT.format(name=photo, width=size[0], height=size[1], points=points, **place)


def _task(photo: str, size: tuple[int, int], boxes: Sequence[tuple[int, Box]]) -> Mapping[str, Any]:
    results = []
    for category, box in boxes:
        points = (100 * np.reshape(_fractions(box, size), (-1, 2))).tolist()
        value = {"points": points, "polygonlabels": [f"class {category}"], "closed": True}
        result = {
            "type": "polygonlabels",
            "value": value,
            "from_name": "label",
            "to_name": "image",
            "image_rotation": 0,
        }
        results.append({**result, "original_width": size[0], "original_height": size[1]})
    return {"id": 1, "data": {"image": f"/data/upload/1/0a1b2c3d-{photo}"}, "annotations": [{"result": results}]}


def _panoptic(photos: Sequence[str], size: tuple[int, int], annotations: Sequence[Any]) -> Mapping[str, Any]:
    images = [
        {"id": number, "file_name": photo, "width": size[0], "height": size[1]}
        for number, photo in enumerate(photos, 7)
    ]
    categories = [{"id": 1, "name": "person", "isthing": 1}, {"id": 3, "name": "car", "isthing": 1}]
    return {"images": images, "annotations": annotations, "categories": categories}
