"""Photos and detections made up for timing: the shape of real ones, no data to download."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from bpr_cli.formats.rle import encode_rle
from bpr_cli.masks import crop_mask


@dataclass(frozen=True, slots=True)
class Workload:
    """What one image of a data set holds.

    Attributes:
        height, width: of the photos.
        instances: detections of a photo.
        diameters: px, smallest and largest; drawn evenly in their logarithm.
        suffix: file format of the photos, as the data set ships them.
    """

    height: int
    width: int
    instances: int
    diameters: tuple[float, float]
    suffix: str


# Diameters such that a Cityscapes photo needs about 135 patches at the default NMS threshold, as the paper's did, and
# a COCO photo about 5 patches an instance, as those of COCO val with a YOLOv8n-seg's detections do.
WORKLOADS = {
    "cityscapes": Workload(1024, 2048, 15, (40.0, 300.0), ".png"),
    "coco": Workload(480, 640, 7, (20.0, 180.0), ".jpg"),
}


def make_workload(workload: Workload, photos: int, folder: Path, seed: int = 0) -> Path:
    """Write photos named by image id, and a COCO results list, into a folder.

    Returns:
        The results file; the photos lie beside it.
    """
    results = []
    for image_id in range(1, photos + 1):
        rng = np.random.default_rng([seed, image_id])
        image_HWC = _photo(workload, rng)
        for _ in range(workload.instances):
            mask_HW = _blob(workload, rng)
            image_HWC[mask_HW > 0] = image_HWC[mask_HW > 0] // 2 + rng.integers(0, 128, 3).astype(np.uint8)
            rle = encode_rle(crop_mask(mask_HW, 0, 0, workload.height, workload.width))
            results.append({"image_id": image_id, "category_id": 1, "score": 0.9, "segmentation": rle})
        cv2.imwrite(str(folder / f"{image_id}{workload.suffix}"), image_HWC)
    path = folder / "results.json"
    path.write_text(json.dumps(results))
    return path


def _photo(workload: Workload, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Noise at several scales: as much detail for the decoder as a street has."""
    size = (workload.width, workload.height)
    image = np.full((workload.height, workload.width, 3), 110.0, np.float32)
    for cells, strength in ((6, 45.0), (40, 25.0), (250, 12.0)):
        rows = max(2, cells * workload.height // workload.width)
        noise = rng.standard_normal((rows, cells, 3)).astype(np.float32) * strength
        image += cv2.resize(noise, size, interpolation=cv2.INTER_CUBIC)
    return np.clip(image, 0, 255).astype(np.uint8)


def _blob(workload: Workload, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A closed curve with bays and bulges, somewhere in the frame; uint8, 0 or 1."""
    low, high = np.log(workload.diameters)
    radius = np.exp(rng.uniform(low, high)) / 2
    angles = np.linspace(0, 2 * np.pi, 256, endpoint=False)
    waves = np.arange(2, 12)
    strengths = rng.normal(0, 0.35, len(waves)) / waves
    shape = 1 + (strengths[:, None] * np.cos(waves[:, None] * (angles + rng.uniform(0, 2 * np.pi)))).sum(0)
    distance = radius * np.clip(shape, 0.3, None)
    centre = rng.uniform(0.1, 0.9, 2) * (workload.width, workload.height)
    points = np.stack([np.cos(angles), np.sin(angles)], axis=1) * distance[:, None] + centre
    mask_HW = np.zeros((workload.height, workload.width), np.uint8)
    cv2.fillPoly(mask_HW, [np.round(points).astype(np.int32)], 1)
    return mask_HW
