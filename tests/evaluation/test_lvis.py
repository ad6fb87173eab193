"""LVIS's rules, and COCO detections scored against LVIS annotations (AP*)."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bpr_cli.errors import InputError
from bpr_cli.evaluation.evaluate import evaluate
from bpr_cli.evaluation.lvis import COCO_SYNSETS
from tests.evaluation.made import annotation, detection, write

CLASSES = {1: "person.n.01", 2: "car.n.01", 3: "dog.n.01", 4: "violin.n.01"}

# What the package lvis 0.5.3 (LVISEval, "segm") gives for `made_lvis_set`.
EXPECTED = {
    "ap": 0.09648942603898265,
    "ap50": 0.19064812834909484,
    "ap75": 0.07796823133486921,
    "ap_s": 0.09648942603898265,
    "ap_r": 0.035166340041921575,
    "ap_c": 0.28912776991984906,
    "ap_f": 0.03083179709707996,
    "ar": 0.39862914862914867,
}


def made_lvis_set(folder: Path) -> tuple[Path, Path]:
    """Twelve images, four classes in all three groups of frequency, negative and not exhaustive ones, 340 detections
    on one image."""
    rng = np.random.default_rng(5)
    annotations: list[dict[str, Any]] = []
    detections: list[dict[str, Any]] = []
    images = []
    for image in range(1, 13):
        present = set()
        for _ in range(rng.integers(1, 5)):
            category = int(rng.integers(1, 5))
            x, y = int(rng.integers(0, 40)), int(rng.integers(0, 30))
            width, height = (int(v) for v in rng.integers(8, 28, 2))
            annotations.append(annotation(len(annotations) + 1, image, category, (x, y, width, height)))
            present.add(category)
            dx, dy = (int(v) for v in rng.integers(0, 4, 2))
            found = category if rng.random() < 0.8 else int(rng.integers(1, 5))
            detections.append(detection(image, found, (x + dx, y + dy, width, height), float(rng.random())))
        absent = [c for c in CLASSES if c not in present]
        images.append(
            {
                "id": image,
                "coco_url": f"http://images/{image:012}.jpg",
                "height": 60,
                "width": 80,
                "neg_category_ids": absent[:1],
                "not_exhaustive_category_ids": sorted(present)[:1] if image % 3 == 0 else [],
            }
        )
    for _ in range(340):
        x, y = int(rng.integers(0, 60)), int(rng.integers(0, 45))
        detections.append(detection(1, int(rng.integers(1, 5)), (x, y, 12, 12), float(rng.random())))
    categories = [
        {"id": number, "name": synset.split(".")[0], "synset": synset, "frequency": "rcff"[number - 1]}
        for number, synset in CLASSES.items()
    ]
    document = {"images": images, "annotations": annotations, "categories": categories}
    return write(folder / "dt.json", detections), write(folder / "lvis.json", document)


def test_the_figures_are_those_of_the_lvis_package(tmp_path: Path) -> None:
    found = evaluate(*made_lvis_set(tmp_path), quiet=True)
    assert found.rules == "lvis"
    assert {name: getattr(found.figures, name) for name in EXPECTED} == pytest.approx(EXPECTED, abs=1e-9)
    assert math.isnan(found.figures.ar_1)


def in_coco_terms(results: Path) -> Path:
    """The same detections with COCO's class ids; those of the class that COCO lacks are left out."""
    ids = {
        number: next(c for c, s in COCO_SYNSETS.items() if s == synset) for number, synset in list(CLASSES.items())[:3]
    }
    records = [r for r in json.loads(results.read_text()) if r["category_id"] in ids]
    for record in records:
        record["category_id"] = ids[record["category_id"]]
    elsewhere = detection(777, 1, (1, 1, 9, 9))  # on an image that LVIS lacks
    return write(results.with_name("coco.json"), [elsewhere, *records])


def without_violins(gt: Path) -> Path:
    document = json.loads(gt.read_text())
    document["annotations"] = [a for a in document["annotations"] if a["category_id"] != 4]
    document["categories"] = document["categories"][:3]
    return write(gt.with_name("three.json"), document)


def test_coco_detections_are_scored_on_the_classes_both_know(tmp_path: Path) -> None:
    results, gt = made_lvis_set(tmp_path)
    coco = in_coco_terms(results)
    star = evaluate(coco, gt, coco, coco_classes=True, quiet=True)
    three = [r for r in json.loads(results.read_text()) if r["category_id"] != 4]
    same = evaluate(write(tmp_path / "three_dt.json", three), without_violins(gt), quiet=True)
    assert star.figures.ap == same.figures.ap > 0
    assert star.category_names == {1: "person", 3: "car", 18: "dog"}
    assert star.detections == len(three)


def test_ap_star_needs_lvis(tmp_path: Path) -> None:
    results, gt = made_lvis_set(tmp_path)
    document = json.loads(gt.read_text())
    for category in document["categories"]:
        del category["frequency"]
    with pytest.raises(InputError, match="not LVIS ground truth"):
        evaluate(results, write(tmp_path / "coco_gt.json", document), coco_classes=True, quiet=True)


def test_hot_dogs_are_found_under_both_names(tmp_path: Path) -> None:
    results, gt = made_lvis_set(tmp_path)
    for synset in ("frank.n.02", "sausage.n.01"):
        document = json.loads(gt.read_text())
        document["categories"][0]["synset"] = synset
        star = evaluate(
            write(tmp_path / "no.json", []), write(tmp_path / "hot.json", document), coco_classes=True, quiet=True
        )
        assert 58 in star.category_names
    assert results.exists()


def test_a_frequency_that_lvis_lacks_is_named(tmp_path: Path) -> None:
    results, gt = made_lvis_set(tmp_path)
    document = json.loads(gt.read_text())
    document["categories"][1]["frequency"] = "often"
    with pytest.raises(InputError, match="category 2 has the frequency 'often'"):
        evaluate(results, write(tmp_path / "odd.json", document), quiet=True)
