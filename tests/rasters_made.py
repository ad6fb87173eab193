"""Small folders of mask images, label maps and panoptic PNGs, made of masks, for the tests."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

OBJECT_RED = [0, 0, 0, 128, 0, 0]  # VOC's first two colours
THING, STUFF = 7, 70_000


def make(folder: Path, masks: Mapping[str, NDArray[np.bool_]]) -> None:
    """One object a photo as masks/, SegmentationObject/ (photos in JPEGImages/) and panoptic.json (PNGs in panoptic/).

    Args:
        folder: has the photos, `photos/NAME.jpg`.
        masks: (H, W) of each photo's object, by NAME, an integer.
    """
    shutil.copytree(folder / "photos", folder / "JPEGImages")
    for name in ("masks", "SegmentationObject", "panoptic"):
        (folder / name).mkdir()
    images, annotations = [], []
    for name, mask_HW in masks.items():
        Image.fromarray(mask_HW.astype(np.uint8) * 255).save(folder / "masks" / f"{name}.png")
        objects = Image.fromarray(mask_HW.astype(np.uint8))
        objects.putpalette(OBJECT_RED)
        objects.save(folder / "SegmentationObject" / f"{name}.png")
        ids_HW = np.where(mask_HW, THING, STUFF)
        rgb = np.stack([ids_HW % 256, ids_HW // 256 % 256, ids_HW // 65_536], axis=-1)
        Image.fromarray(rgb.astype(np.uint8)).save(folder / "panoptic" / f"{name}.png")
        images.append({"id": int(name), "file_name": f"{name}.jpg"})
        segments = [{"id": THING, "category_id": 1}, {"id": STUFF, "category_id": 149}]
        annotations.append({"image_id": int(name), "file_name": f"{name}.png", "segments_info": segments})
    categories = [{"id": 1, "name": "person", "isthing": 1}, {"id": 149, "name": "road", "isthing": 0}]
    document = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "panoptic.json").write_text(json.dumps(document))
