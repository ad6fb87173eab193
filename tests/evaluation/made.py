"""Made ground truth and detections: rectangles on two or more images of 80x60 pixels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from bpr_cli.formats.rle import encode_rle
from bpr_cli.masks import crop_mask

HEIGHT, WIDTH = 60, 80
Record = dict[str, Any]


def rectangle(x: int, y: int, width: int, height: int) -> dict[str, Any]:
    mask = crop_mask(np.ones((height, width), np.uint8), x, y, HEIGHT, WIDTH)
    return dict(encode_rle(mask))


def annotation(number: int, image: int, category: int, box: tuple[int, int, int, int], crowd: int = 0) -> Record:
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "segmentation": rectangle(*box),
        "area": box[2] * box[3],
        "bbox": list(box),
        "iscrowd": crowd,
    }


def detection(image: int | str, category: int, box: tuple[int, int, int, int], score: float = 0.9) -> Record:
    return {"image_id": image, "category_id": category, "segmentation": rectangle(*box), "score": score}


def write(path: Path, document: object) -> Path:
    path.write_text(json.dumps(document))
    return path


def write_truth(path: Path, annotations: list[Record], images: int = 2, categories: int = 2) -> Path:
    document = {
        "images": [{"id": i, "file_name": f"{i}.jpg", "height": HEIGHT, "width": WIDTH} for i in range(1, images + 1)],
        "annotations": annotations,
        "categories": [{"id": i, "name": f"class {i}"} for i in range(1, categories + 1)],
    }
    return write(path, document)


def made_set(tmp_path: Path) -> tuple[Path, Path]:
    """Ten images, three classes, crowds, misses, doubles and false alarms."""
    rng = np.random.default_rng(3)
    annotations: list[Record] = []
    detections: list[Record] = []
    for image in range(1, 11):
        for _ in range(rng.integers(0, 5)):
            category, crowd = int(rng.integers(1, 4)), int(rng.random() < 0.1)
            x, y = int(rng.integers(0, 40)), int(rng.integers(0, 30))
            width, height = (int(v) for v in rng.integers(8, 28, 2))
            annotations.append(annotation(len(annotations) + 1, image, category, (x, y, width, height), crowd))
            for _ in range(rng.integers(0, 3)):
                dx, dy = (int(v) for v in rng.integers(0, 4, 2))
                detections.append(
                    detection(image, category, (x + dx, y + dy, width, height), round(float(rng.random()), 2))
                )
        detections.append(detection(image, 1, (50, 40, 12, 12), round(float(rng.random()), 2)))
    gt = write_truth(tmp_path / "made_gt.json", annotations, images=10, categories=3)
    return write(tmp_path / "made.json", detections), gt
