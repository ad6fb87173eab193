"""Detections in parts give the figures of one file, to the last bit, and one part is in memory at a time."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bpr_cli.errors import InputError
from bpr_cli.evaluation import blocks
from bpr_cli.evaluation.evaluate import evaluate
from bpr_cli.evaluation.evaluation_settings import EvaluationSettings
from bpr_cli.report.figures_json import figures_as_json
from tests.conftest import Example, run_bpr
from tests.evaluation.made import annotation, detection, rectangle, write, write_truth
from tests.evaluation.random_sets import random_set

Record = dict[str, Any]


def write_parts(folder: Path, parts: list[list[Record]]) -> tuple[Path, Path]:
    """The folder of the parts, and one file with all of them."""
    folder.mkdir()
    for number, records in enumerate(parts):
        write(folder / f"{number:03d}.json", records)
    return folder, write(folder.with_suffix(".json"), [record for records in parts for record in records])


def refined(parts: list[list[Record]]) -> list[list[Record]]:
    """Other masks of the same detections: each one's is the next one's, if it is of the same size."""
    segmentations = [record["segmentation"] for records in parts for record in records]
    others = iter([*segmentations[1:], segmentations[0]])
    return [[{**record, "segmentation": next(others)} for record in records] for records in parts]


@pytest.mark.parametrize("lvis", [False, True], ids=["coco", "lvis"])
@pytest.mark.parametrize("spread", [False, True], ids=["an image in one part", "images in several parts"])
@pytest.mark.parametrize("seed", range(3))
def test_the_figures_are_those_of_one_file(tmp_path: Path, seed: int, spread: bool, lvis: bool) -> None:
    truth, detections = random_set(seed, lvis=lvis)
    ids = [image["id"] for image in truth["images"]]
    rng = np.random.default_rng(seed)
    part_of = {image_id: int(rng.integers(4)) for image_id in ids[:-1]}
    kept = [record for record in detections if record["image_id"] in part_of]  # none on the last image
    places = rng.integers(0, 4, len(kept)) if spread else [part_of[record["image_id"]] for record in kept]
    parts = [[record for record, place in zip(kept, places, strict=True) if place == number] for number in range(4)]
    gt = write(tmp_path / "gt.json", truth)
    before, one_before = write_parts(tmp_path / "before", parts)
    after, one_after = write_parts(tmp_path / "after", refined(parts))
    settings = EvaluationSettings(upper_bounds=(2,))
    expected = figures_as_json(evaluate(one_after, gt, one_before, settings=settings, quiet=True))
    assert figures_as_json(evaluate(after, gt, before, settings=settings, quiet=True)) == expected
    assert figures_as_json(evaluate(after, gt, one_before, settings=settings, quiet=True)) == expected
    alone = figures_as_json(evaluate(one_after, gt, quiet=True))
    assert figures_as_json(evaluate(after, gt, quiet=True)) == alone


@pytest.fixture
def two_parts(tmp_path: Path) -> tuple[Path, Path]:
    """Ground truth, and a folder of two parts with an image each."""
    gt = write_truth(tmp_path / "gt.json", [annotation(1, 1, 1, (5, 5, 20, 20)), annotation(2, 2, 1, (9, 9, 30, 30))])
    folder, _ = write_parts(tmp_path / "parts", [[detection(image, 1, (6, 6, 20, 20))] for image in (1, 2)])
    return gt, folder


def test_what_is_wrong_in_a_part_is_said_of_it(tmp_path: Path, two_parts: tuple[Path, Path]) -> None:
    gt, folder = two_parts
    (record,) = json.loads((folder / "001.json").read_text())
    write(folder / "001.json", [record, {**record, "score": None}])
    with pytest.raises(InputError, match=r"001\.json, image 2, annotation 1: the detection has no score"):
        evaluate(folder, gt, quiet=True)
    write(folder / "001.json", [record, {**record, "segmentation": {**rectangle(1, 1, 4, 4), "size": [1, 2]}}])
    done = run_bpr("evaluate", folder, "--gt", gt, "--skip-bad", "--quiet")
    assert done.returncode == 0
    assert done.stderr.count("001.json, image 2, annotation 1") == 1


def test_a_baseline_of_other_parts_is_refused(tmp_path: Path, two_parts: tuple[Path, Path]) -> None:
    gt, folder = two_parts
    before, _ = write_parts(tmp_path / "before", [[detection(image, 1, (5, 5, 20, 20))] for image in (2, 1)])
    with pytest.raises(InputError, match=r"parts/000\.json, image 1, annotation 0: it is not the detection"):
        evaluate(folder, gt, before, quiet=True)


def test_an_evaluation_of_parts_goes_on_where_it_stopped(
    three_photos: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = json.loads(three_photos.results.read_text())
    ids = list(dict.fromkeys(record["image_id"] for record in records))
    folder, _ = write_parts(tmp_path / "parts", [[r for r in records if r["image_id"] == image_id] for image_id in ids])
    compared: list[int] = []
    call = blocks.BlockComparer.__call__

    def counted(self: Any, block: Any, *more: Any) -> Any:
        if len(compared) == 2:
            compared.append(0)
            raise MemoryError
        compared.append(len(block))
        return call(self, block, *more)

    monkeypatch.setattr(blocks.BlockComparer, "__call__", counted)
    arguments = ["evaluate", folder, "--gt", three_photos.gt, "--json", tmp_path / "figures.json", "--quiet"]
    assert run_bpr(*arguments).returncode == 1
    assert compared == [1, 1, 0]
    assert run_bpr(*arguments).returncode == 0
    assert compared == [1, 1, 0, 1]
    assert json.loads((tmp_path / "figures.json").read_text()) == figures_as_json(
        evaluate(three_photos.results, three_photos.gt, quiet=True)
    )


def test_a_report_is_made_of_parts_too(three_photos: Example, tmp_path: Path) -> None:
    records = json.loads(three_photos.results.read_text())
    folder, one = write_parts(tmp_path / "parts", [records[::2], records[1::2]])
    for results in (folder, one):
        arguments = ["evaluate", results, "--gt", three_photos.gt, "--baseline", results, "--quiet"]
        arguments += ["--report", tmp_path / f"report of {results.name}", "--images", three_photos.images]
        assert run_bpr(*arguments).returncode == 0
    pages = [(tmp_path / f"report of {name}" / "index.html").read_text() for name in ("parts", "parts.json")]
    assert pages[0].replace("parts.json", "parts") == pages[1].replace("parts.json", "parts")


def test_one_part_is_in_memory_at_a_time(tmp_path: Path) -> None:
    annotations = [annotation(image, image, 1, (5, 5, 20, 20)) for image in range(1, 9)]
    gt = write_truth(tmp_path / "gt.json", annotations, images=8)
    parts = [[{**detection(image, 1, (6, 6, 20, 20)), "note": "x" * 4_000_000}] for image in range(1, 9)]
    folders = [write_parts(tmp_path / f"{count}", parts[:count])[0] for count in (1, 8)]
    peaks = []
    for folder in folders:
        tracemalloc.start()
        evaluate(folder, gt, folder, quiet=True)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]
