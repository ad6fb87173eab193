"""Detect with any model that supervision reads, refine, and draw with supervision.

    pip install supervision ultralytics
    python examples/from_supervision.py photo.jpg --out refined.png

`supervision.Detections` go in and come out; `from_detectron2`, `from_mmdetection`, `from_transformers` and the others
read the results of other models than the YOLO here.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from bpr_cli import Refiner


def detect(photo: np.ndarray) -> Any:
    """The `Detections` on a photo (H, W, 3) uint8 RGB."""
    import supervision
    from ultralytics import YOLO

    return supervision.Detections.from_ultralytics(YOLO("yolo11n-seg.pt")(photo[..., ::-1])[0])  # YOLO wants BGR


def main() -> None:
    parser = argparse.ArgumentParser(description="Refine what supervision reads.")
    parser.add_argument("photo", type=Path)
    parser.add_argument("--out", type=Path, default=Path("refined.png"))
    arguments = parser.parse_args()
    import supervision

    photo = cv2.cvtColor(cv2.imread(str(arguments.photo)), cv2.COLOR_BGR2RGB)

    refined = Refiner.from_pretrained().refine(photo, detect(photo))

    picture = supervision.MaskAnnotator().annotate(cv2.cvtColor(photo, cv2.COLOR_RGB2BGR), refined)
    cv2.imwrite(str(arguments.out), picture)
    print(f"{len(refined)} detections -> {arguments.out}")


if __name__ == "__main__":
    main()
