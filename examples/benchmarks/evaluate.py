"""Time `bpr evaluate` on a made set of the size of COCO's validation set, beside pycocotools on the same files.

    python examples/benchmarks/evaluate.py --images 5000 --out out/benchmark

5,000 images of 640x480, 36,000 objects of 80 classes, 100 detections an image: the objects disturbed, and others.
Masks are wavy blobs of all sizes. pycocotools counts mask AP alone; it has no Boundary AP, AF or matching.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import platform
import resource
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from tqdm import tqdm

from bpr_cli.evaluation.evaluate import evaluate
from bpr_cli.formats.rle import encode_rle
from bpr_cli.masks import crop_mask

HEIGHT, WIDTH = 480, 640
OBJECTS, DETECTIONS, CLASSES = 7.2, 100, 80  # a COCO val image's mean, COCO's limit, COCO's classes
SHAPES, VARIANTS = 3000, 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--out", type=Path, default=Path("out/benchmark"))
    parser.add_argument("--only", choices=("bpr", "pycocotools"), help="one of both, to see its memory alone")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    gt, results = (arguments.out / f"{name}-{arguments.images}.json" for name in ("gt", "results"))
    if not (gt.exists() and results.exists()):
        make(arguments.images, gt, results)

    if arguments.only != "bpr":
        start = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()):
            reference = COCO(str(gt))
            counting = COCOeval(reference, reference.loadRes(str(results)), "segm")
            counting.evaluate()
            counting.accumulate()
            counting.summarize()
        report("pycocotools: mask AP", time.perf_counter() - start, counting.stats[0])
    if arguments.only != "pycocotools":
        start = time.perf_counter()
        figures = evaluate(results, gt).figures
        report("bpr: mask AP, Boundary AP, AF, masks alone", time.perf_counter() - start, figures.ap)
    print(f"{platform.machine()}, pycocotools {version('pycocotools')}, faster-coco-eval {version('faster-coco-eval')}")


def report(what: str, seconds: float, ap: float) -> None:
    """One line; the peak is that of the process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{what}: {seconds:.0f} s, AP {ap:.6f}, peak memory so far {peak:.1f} GB")


def make(images: int, gt: Path, results: Path) -> None:
    """Write ground truth and detections."""
    rng = np.random.default_rng(0)
    shapes = [blobs(rng) for _ in tqdm(range(SHAPES), "shapes")]
    annotations: list[dict[str, Any]] = []
    detections: list[dict[str, Any]] = []
    for image in range(1, images + 1):
        objects = int(rng.poisson(OBJECTS))
        first = len(detections)
        for _ in range(objects):
            truth, *found = shapes[rng.integers(SHAPES)]
            category = int(rng.integers(1, CLASSES + 1))
            number = len(annotations) + 1
            record = {"id": number, "image_id": image, "category_id": category, "segmentation": truth[0]}
            annotations.append({**record, "area": truth[1], "iscrowd": 0})
            for rle, _ in found:
                detections.append(detection(image, category, rle, rng.beta(4, 2)))
        while len(detections) - first < DETECTIONS:
            rle, _ = shapes[rng.integers(SHAPES)][1]
            # Half of the false alarms are of a class that the image has.
            present = [annotations[-1 - i]["category_id"] for i in range(objects)]
            category = rng.choice(present) if present and rng.random() < 0.5 else rng.integers(1, CLASSES + 1)
            detections.append(detection(image, int(category), rle, rng.beta(1, 4)))
    document = {
        "images": [{"id": i, "height": HEIGHT, "width": WIDTH} for i in range(1, images + 1)],
        "annotations": annotations,
        "categories": [{"id": i, "name": str(i)} for i in range(1, CLASSES + 1)],
    }
    gt.write_text(json.dumps(document))
    results.write_text(json.dumps(detections))
    print(f"{images} images, {len(annotations)} objects, {len(detections)} detections")


def detection(image: int, category: int, rle: object, score: float) -> dict[str, Any]:
    return {"image_id": image, "category_id": category, "segmentation": rle, "score": round(float(score), 6)}


def blobs(rng: np.random.Generator) -> list[tuple[object, int]]:
    """One shape and its disturbed variants, as RLE and area."""
    radius = float(np.exp(rng.uniform(np.log(8), np.log(160))))
    centre = rng.uniform([0, 0], [WIDTH, HEIGHT])
    angles = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    waves = [(rng.normal() / order, rng.uniform(0, 2 * np.pi), order) for order in range(2, 12)]
    made = []
    for variant in range(VARIANTS):
        noise = (
            0.02 * variant * sum(rng.normal() * np.sin(order * angles + rng.uniform(0, 6)) for order in range(1, 20))
        )
        outline = radius * np.clip(1 + 0.25 * sum(a * np.sin(o * angles + p) for a, p, o in waves) + noise, 0.2, 2)
        points = centre + outline[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        frame_HW = np.zeros((HEIGHT, WIDTH), np.uint8)
        cv2.fillPoly(frame_HW, [np.round(points).astype(np.int32)], 1)
        mask = crop_mask(frame_HW, 0, 0, HEIGHT, WIDTH)
        made.append((encode_rle(mask), mask.area))
    return made


if __name__ == "__main__":
    main()
