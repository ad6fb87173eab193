"""Detect with torchvision's Mask R-CNN, refine its masks, and draw their contours before (white) and after (red).

    pip install torchvision
    python examples/from_torchvision.py photo.jpg --out refined.png

The model's own dict of boxes, labels, scores and masks goes in, and comes out with new masks and boxes.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch

from bpr_cli import Refiner

LEAST_SCORE = 0.5


def detect(photo: np.ndarray) -> dict[str, torch.Tensor]:
    """What Mask R-CNN finds on a photo (H, W, 3) uint8 RGB, without what it finds unlikely."""
    from torchvision.models.detection import MaskRCNN_ResNet50_FPN_V2_Weights, maskrcnn_resnet50_fpn_v2

    weights = MaskRCNN_ResNet50_FPN_V2_Weights.DEFAULT
    model = maskrcnn_resnet50_fpn_v2(weights=weights).eval()
    with torch.inference_mode():
        (detections,) = model([weights.transforms()(torch.from_numpy(photo).permute(2, 0, 1))])
    likely = detections["scores"] >= LEAST_SCORE
    return {name: values[likely] for name, values in detections.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description="Refine what torchvision's Mask R-CNN finds.")
    parser.add_argument("photo", type=Path)
    parser.add_argument("--out", type=Path, default=Path("refined.png"))
    arguments = parser.parse_args()
    photo = cv2.cvtColor(cv2.imread(str(arguments.photo)), cv2.COLOR_BGR2RGB)

    detections = detect(photo)
    refined = Refiner.from_pretrained().refine(photo, detections)

    picture = cv2.cvtColor(photo, cv2.COLOR_RGB2BGR)
    for held, colour in ((detections, (255, 255, 255)), (refined, (0, 0, 255))):
        for mask in held["masks"][:, 0]:
            contours, _ = cv2.findContours((mask > 0.5).byte().numpy(), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(picture, contours, -1, colour)
    cv2.imwrite(str(arguments.out), picture)
    print(f"{len(refined['masks'])} detections -> {arguments.out}")


if __name__ == "__main__":
    main()
