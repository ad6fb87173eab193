"""Random ground truth and detections with all that counting must get right, and what the reference packages say.

    python -m tests.evaluation.random_sets

writes tests/data/lvis_figures.json anew with the package lvis (pip install --no-deps lvis: with its dependencies it
brings the desktop build of OpenCV).
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import math
import sys
import tempfile
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import faster_coco_eval
import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from bpr_cli.evaluation.figures import Evaluation
from bpr_cli.formats.rle import encode_rle
from bpr_cli.masks import crop_mask

LVIS_FIGURES = Path(__file__).parents[1] / "data" / "lvis_figures.json"
LVIS_SEEDS = range(8)
COCO_NAMES = ("ap", "ap50", "ap75", "ap_s", "ap_m", "ap_l", "ar_1", "ar_10", "ar")
BOUNDARY_NAMES = tuple(f"boundary_{name}" for name in COCO_NAMES[:6])
LVIS_NAMES = ("ap", "ap50", "ap75", "ap_s", "ap_m", "ap_l", "ap_r", "ap_c", "ap_f", "ar")
HEIGHT, WIDTH = 150, 200
Record = dict[str, Any]


def random_set(seed: int, *, lvis: bool = False) -> tuple[Record, list[Record]]:
    """Ground truth and detections: images in no order, ids of either type, scores of four levels that tie, empty
    masks, crowds (LVIS: `ignore`, classes absent or not exhaustively annotated), stated areas of 0, and an image with
    more detections than count."""
    rng = np.random.default_rng(seed)
    numbers = rng.choice(np.arange(2, 120), 9, replace=False).tolist()
    ids: list[Any] = numbers
    if seed % 4 in (1, 3):  # "10" comes before "9"
        ids = [f"photo {number}" if seed % 4 == 3 else str(number) for number in numbers]
    classes = [3, 1, 8, 5]
    annotations: list[Record] = []
    detections: list[Record] = []
    images = []
    for position, image_id in enumerate(ids):
        present: set[int] = set()
        for _ in range(rng.integers(0, 6)):
            category = int(rng.choice(classes[:3]))
            box = _box(rng)
            annotations.append(_annotation(rng, len(annotations) + 1, image_id, category, box, lvis))
            present.add(category)
            for _ in range(rng.integers(0, 4)):
                guess = category if rng.random() < 0.85 else int(rng.choice(classes))
                detections.append(_detection(rng, image_id, guess, _moved(rng, box)))
        for _ in range((360 if lvis else 130) if position == 4 else 2):
            category = int(rng.choice(classes)) if lvis or position != 4 else classes[0]
            detections.append(_detection(rng, image_id, category, _box(rng)))
        absent = [number for number in classes if number not in present]
        federated = {"neg_category_ids": absent[::2], "not_exhaustive_category_ids": sorted(present)[: position % 3]}
        images.append({"id": image_id, "height": HEIGHT, "width": WIDTH, **(federated if lvis else {})})
    order = rng.permutation(len(detections)).tolist()
    frequency = dict(zip(classes, "rcff", strict=True))
    categories = [{"id": c, "name": f"class {c}", **({"frequency": frequency[c]} if lvis else {})} for c in classes]
    truth = {"images": images, "annotations": annotations, "categories": categories}
    return truth, [detections[position] for position in order]


def _box(rng: np.random.Generator) -> tuple[int, int, int, int]:
    """x, y, width, height: about a third small, a third medium, a third large."""
    longest = int(rng.choice([20, 60, 130]))
    width, height = (int(side) for side in rng.integers(longest // 2, longest, 2))
    return int(rng.integers(0, WIDTH - width)), int(rng.integers(0, HEIGHT - height)), width, height


def _moved(rng: np.random.Generator, box: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    x, y, width, height = box
    dx, dy = (int(step) for step in rng.integers(-2, 3, 2))
    return min(max(x + dx, 0), WIDTH - width), min(max(y + dy, 0), HEIGHT - height), width, height


def _mask(box: tuple[int, int, int, int]) -> Record:
    """An ellipse in the box."""
    x, y, width, height = box
    pixels_HW = np.zeros((height, width), np.uint8)
    cv2.ellipse(pixels_HW, (width // 2, height // 2), (width // 2, height // 2), 0, 0, 360, 1, -1)
    return dict(encode_rle(crop_mask(pixels_HW, x, y, HEIGHT, WIDTH)))


def _empty() -> Record:
    return dict(encode_rle(crop_mask(np.zeros((1, 1), np.uint8), 0, 0, HEIGHT, WIDTH)))


def _annotation(
    rng: np.random.Generator, number: int, image_id: Any, category: int, box: tuple[int, int, int, int], lvis: bool
) -> Record:
    kind = rng.random()
    mask = _empty() if kind < 0.05 else _mask(box)
    special = "ignore" if lvis else "iscrowd"
    return {
        "id": number,
        "image_id": image_id,
        "category_id": category,
        "segmentation": mask,
        "area": 0 if kind < 0.1 else int(0.8 * box[2] * box[3]),
        "bbox": list(box),
        special: int(kind > 0.85),
    }


def _detection(rng: np.random.Generator, image_id: Any, category: int, box: tuple[int, int, int, int]) -> Record:
    mask = _empty() if rng.random() < 0.06 else _mask(box)
    score = int(rng.integers(1, 5)) / 4
    return {"image_id": image_id, "category_id": category, "segmentation": mask, "score": score}


def coco_figures(truth: Record, detections: list[Record], kind: str = "segm") -> dict[str, float]:
    """What pycocotools ("boundary": faster-coco-eval on full frames) says; `ap of N` is that of class N."""
    truth, detections = json.loads(json.dumps([truth, detections]))  # they write into their input
    with contextlib.redirect_stdout(io.StringIO()):
        if kind == "segm":
            reference = COCO()
            reference.dataset = truth
            reference.createIndex()
            counting = COCOeval(reference, reference.loadRes(detections), "segm")
        else:
            # Its numbers come out wrong for ids that are strings; pycocotools' order of images is kept.
            numbers = {own: number for number, own in enumerate(sorted(e["id"] for e in truth["images"]), 1)}
            for record in [*truth["annotations"], *detections]:
                record["image_id"] = numbers[record["image_id"]]
            for record in truth["images"]:
                record["id"] = numbers[record["id"]]
            reference = faster_coco_eval.COCO(truth)
            counting = faster_coco_eval.COCOeval_faster(reference, reference.loadRes(detections), "boundary")
        counting.evaluate()
        counting.accumulate()
        counting.summarize()
    names = COCO_NAMES if kind == "segm" else BOUNDARY_NAMES
    figures = dict(zip(names, map(float, counting.stats[: len(names)]), strict=True))
    precision_RK = counting.eval["precision"][:, :, :, 0, -1].reshape(-1, len(counting.params.catIds))
    prefix = "ap of" if kind == "segm" else "boundary_ap of"
    figures |= {f"{prefix} {c}": float(p.mean()) for c, p in zip(counting.params.catIds, precision_RK.T, strict=True)}
    return {name: math.nan if value < 0 else value for name, value in figures.items()}


def lvis_figures(truth: Record, detections: list[Record]) -> dict[str, float]:
    """What the package lvis says; `ap of N` is that of class N. ImportError without it."""
    sys.modules.setdefault("lvis.vis", types.ModuleType("lvis.vis"))  # plots alone, and asks for matplotlib
    vars(sys.modules["lvis.vis"]).setdefault("LVISVis", None)
    lvis = importlib.import_module("lvis")
    module = importlib.import_module("lvis.eval")
    vars(module)["np"] = types.SimpleNamespace(**{**vars(np), "float": float})  # which numpy 1.24 dropped
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, "gt.json"), Path(folder, "dt.json")]
        for file, document in zip(files, (truth, detections), strict=True):
            file.write_text(json.dumps(document))
        counting = lvis.LVISEval(*map(str, files), "segm")
        counting.run()
    found = counting.get_results()
    keys = ("AP", "AP50", "AP75", "APs", "APm", "APl", "APr", "APc", "APf", "AR@300")
    figures = {name: float(found[key]) for name, key in zip(LVIS_NAMES, keys, strict=True)}
    precision_RK = counting.eval["precision"][:, :, :, 0].reshape(-1, len(counting.params.cat_ids))
    figures |= {f"ap of {c}": float(p.mean()) for c, p in zip(counting.params.cat_ids, precision_RK.T, strict=True)}
    return {name: math.nan if value < 0 else value for name, value in figures.items()}


def our_figures(evaluation: Evaluation) -> Mapping[str, float]:
    """All figures by the names that the references have here."""
    figures = {name: getattr(evaluation.figures, name) for name in (*COCO_NAMES, *BOUNDARY_NAMES, *LVIS_NAMES)}
    for category in evaluation.scored.categories:
        figures[f"ap of {category.id}"] = category.ap
        figures[f"boundary_ap of {category.id}"] = category.boundary_ap
    return figures


if __name__ == "__main__":
    stored = {}
    for each in LVIS_SEEDS:
        by_name = lvis_figures(*random_set(each, lvis=True))
        stored[str(each)] = {name: None if math.isnan(value) else value for name, value in by_name.items()}
    LVIS_FIGURES.write_text(json.dumps(stored, indent=1) + "\n")
