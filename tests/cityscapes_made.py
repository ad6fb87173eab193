"""A small set in the shape of Cityscapes: photos, instance images and a folder of results."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

HEIGHT, WIDTH = 96, 160
CAR, PERSON, VOID, ROAD = 26, 24, 0, 7
Box = tuple[int, int, int, int]  # x1 y1 x2 y2


@dataclass(frozen=True)
class Made:
    """The folders."""

    photos: Path
    gt: Path
    results: Path


@dataclass(frozen=True)
class Scene:
    """One image: true regions (id, box) in the order painted, and detections (label, score, box)."""

    name: str
    truths: list[tuple[int, Box]]
    detections: list[tuple[int, float, Box]]


# Two cities. Cars and persons, a group of cars, a region of less than 100 px, a void border; no other class.
SCENES = [
    Scene(
        "aachen_000000_000019",
        [(VOID, (0, 0, WIDTH, 8)), (26000, (10, 20, 60, 60)), (26001, (80, 20, 120, 60)), (24000, (130, 20, 150, 80))],
        [
            (CAR, 0.9, (10, 20, 60, 56)),
            (CAR, 0.8, (80, 24, 120, 60)),
            (PERSON, 0.7, (130, 20, 150, 70)),
            (CAR, 0.6, (0, 70, 40, 90)),
        ],
    ),
    Scene(
        "aachen_000001_000019",
        [(CAR, (10, 20, 90, 60)), (26000, (100, 30, 150, 70)), (26001, (20, 80, 28, 88))],
        [(CAR, 0.95, (20, 20, 80, 60)), (CAR, 0.85, (100, 30, 150, 66)), (CAR, 0.5, (20, 80, 28, 88))],
    ),
    Scene("bremen_000002_000019", [(24000, (30, 10, 60, 80))], []),
]


def make(folder: Path, scenes: list[Scene] | None = None) -> Made:
    """Write the folders as Cityscapes has them: photos and ground truth by city, results flat."""
    made = Made(folder / "leftImg8bit" / "val", folder / "gtFine" / "val", folder / "results")
    rng = np.random.default_rng(0)
    for scene in SCENES if scenes is None else scenes:
        city = scene.name.split("_")[0]
        ids_HW = np.full((HEIGHT, WIDTH), ROAD, np.uint16)
        photo_HWC = rng.integers(90, 110, (HEIGHT, WIDTH, 3)).astype(np.uint8)
        for number, (x1, y1, x2, y2) in scene.truths:
            ids_HW[y1:y2, x1:x2] = number
            photo_HWC[y1:y2, x1:x2] += np.uint8(number % 100)
        for parent in (made.photos / city, made.gt / city, made.results):
            parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(made.gt / city / f"{scene.name}_gtFine_instanceIds.png"), ids_HW)
        cv2.imwrite(str(made.photos / city / f"{scene.name}_leftImg8bit.png"), photo_HWC)
        lines = []
        for position, (label, score, (x1, y1, x2, y2)) in enumerate(scene.detections):
            mask_HW = np.zeros((HEIGHT, WIDTH), np.uint8)
            mask_HW[y1:y2, x1:x2] = 255
            name = f"{scene.name}_{position}.png"
            cv2.imwrite(str(made.results / name), mask_HW)
            lines.append(f"{name} {label} {score}\n")
        (made.results / f"{scene.name}_pred.txt").write_text("".join(lines))
    return made
