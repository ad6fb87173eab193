"""Whatever stands in the files of an evaluation: figures or an `InputError` that names the file, never a traceback."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bpr_cli.errors import InputError
from bpr_cli.evaluation.evaluate import evaluate_inputs
from bpr_cli.evaluation.evaluation_settings import EvaluationSettings
from bpr_cli.evaluation.reading import read_inputs
from tests.evaluation.made import annotation, detection, write

Record = dict[str, Any]
DRAWN = 60  # variants of each test
MISSING = object()
HOSTILE: list[Any] = [
    MISSING, None, True, False, 0, 1, -1, 7, 2.5, 1e308, float("nan"), float("inf"), 2**31, 2**63, 10**400, "", "1",
    "abc", "[/b]", "\ud800", [], [1], [[]], ["a"], [None], {}, {"a": 1}, [[1, 2, 3, 4]], [[5, 5, 9, 5, 9, 9]],
    {"size": [60, 80], "counts": []}, {"size": [60, 80], "counts": "Pbc1"}, {"size": [60, 80], "counts": [4800]},
]  # fmt: skip


def truth(lvis: bool = False) -> Record:
    boxes = [(1, 1, (5, 5, 20, 20), 0), (1, 2, (40, 10, 20, 30), 0), (2, 1, (30, 20, 30, 30), 1)]
    federated = {"neg_category_ids": [2], "not_exhaustive_category_ids": [1]} if lvis else {}
    frequency = {"frequency": "f", "synset": "person.n.01"} if lvis else {}
    return {
        "info": {},
        "images": [
            {"id": i, "file_name": f"{i}.jpg", "height": 60, "width": 80, "sequence": "a", **federated} for i in (1, 2)
        ],
        "annotations": [
            {**annotation(number, *each), **({"ignore": 0} if lvis else {})} for number, each in enumerate(boxes, 1)
        ],
        "categories": [{"id": i, "name": f"class {i}", **frequency} for i in (1, 2)],
    }


def detections() -> list[Record]:
    records = [detection(1, 1, (6, 5, 20, 20)), detection(1, 2, (40, 10, 20, 27), 0.5), detection(2, 1, (30, 20, 9, 9))]
    return [{**record, "bbox": [1, 2, 3, 4], "area": 12} for record in records]


def places(document: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths to everything in a JSON document; of a list the first entry stands for all."""
    if at:
        yield at
    inner = document.items() if isinstance(document, dict) else list(enumerate(document))[:1] if (
        isinstance(document, list)
    ) else ()  # fmt: skip
    for key, value in inner:
        yield from places(value, (*at, key))


def changed(document: Any, at: tuple[Any, ...], value: Any) -> Any:
    document = copy.deepcopy(document)
    inner = document
    for key in at[:-1]:
        inner = inner[key]
    if value is MISSING:
        del inner[at[-1]]
    else:
        inner[at[-1]] = copy.deepcopy(value)
    return document


def use(folder: Path, results: Any, gt: Any, baseline: Any, coco_classes: bool) -> None:
    files = [write(folder / f"{name}.json", each) for name, each in zip("rgb", (results, gt, baseline), strict=True)]
    group_by = None if coco_classes else "sequence"
    evaluate_inputs(read_inputs(*files, coco_classes=coco_classes), EvaluationSettings(group_by=group_by), quiet=True)


def escapes(folder: Path, variants: Iterable[tuple[str, Any, Any, Any]], coco_classes: bool = False) -> list[str]:
    """What came out of the variants that is neither a figure nor an `InputError` of one line with the file's name."""
    found = []
    drawn = list(variants)
    for name, results, gt, baseline in random.Random(0).sample(drawn, min(DRAWN, len(drawn))):
        try:
            use(folder, results, gt, baseline, coco_classes)
        except InputError as error:
            if error.file is None or "\n" in str(error):
                found.append(f"{name}: {error}")
        except Exception as error:
            found.append(f"{name}: {type(error).__name__}: {error}")
    return found


@pytest.mark.parametrize("lvis", [False, True])
def test_a_broken_ground_truth_is_scored_or_named(tmp_path: Path, lvis: bool) -> None:
    good, results = truth(lvis), detections()
    variants = (
        (f"{at} = {value!r:.40}", results, changed(good, at, value), results)
        for at in places(good)
        for value in HOSTILE
    )
    assert escapes(tmp_path, variants) == []


def test_broken_ground_truth_of_ap_star_is_scored_or_named(tmp_path: Path) -> None:
    good, results = truth(lvis=True), detections()
    parts = [at for at in places(good) if "categories" in at or at[-1] == "neg_category_ids"]
    variants = (
        (f"{at} = {value!r:.40}", results, changed(good, at, value), results) for at in parts for value in HOSTILE
    )
    assert escapes(tmp_path, variants, coco_classes=True) == []


def test_broken_results_are_scored_or_named(tmp_path: Path) -> None:
    gt, good = truth(), detections()
    variants = (
        (f"{at} = {value!r:.40}", bad, gt, bad)
        for at in places(good)
        for value in HOSTILE
        for bad in [changed(good, at, value)]
    )
    assert escapes(tmp_path, variants) == []


def test_a_broken_baseline_is_compared_or_named(tmp_path: Path) -> None:
    gt, good = truth(), detections()
    variants = ((f"{at} = {v!r:.40}", good, gt, changed(good, at, v)) for at in places(good) for v in HOSTILE)
    assert escapes(tmp_path, variants) == []


def test_files_of_another_kind_are_named(tmp_path: Path) -> None:
    good = {"r": detections(), "g": truth(), "b": detections()}
    others = [*HOSTILE[1:], truth(), truth(lvis=True), {**truth(), "images": []}, {**truth(), "annotations": []}]
    variants = (
        (f"{which} = {json.dumps(other)[:40]}", *{**good, which: other}.values()) for which in good for other in others
    )
    assert escapes(tmp_path, variants) == []
