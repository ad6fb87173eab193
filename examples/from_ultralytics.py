"""Detect with a YOLO of ultralytics, refine its masks, and draw them as ultralytics does.

    pip install ultralytics
    python examples/from_ultralytics.py photo.jpg --out refined.png

Its `Results` go in and come out: masks at the photo's own size instead of the network's, boxes that follow them.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from bpr_cli import Refiner


def detect(photo: np.ndarray) -> Any:
    """The `Results` of a photo (H, W, 3) uint8 RGB."""
    from ultralytics import YOLO

    (results,) = YOLO("yolo11n-seg.pt")(photo[..., ::-1])  # it wants BGR
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description="Refine what a YOLO for segmentation finds.")
    parser.add_argument("photo", type=Path)
    parser.add_argument("--out", type=Path, default=Path("refined.png"))
    arguments = parser.parse_args()
    photo = cv2.cvtColor(cv2.imread(str(arguments.photo)), cv2.COLOR_BGR2RGB)

    refined = Refiner.from_pretrained().refine(photo, detect(photo))

    cv2.imwrite(str(arguments.out), refined.plot())
    print(f"{len(refined)} detections -> {arguments.out}")


if __name__ == "__main__":
    main()
