"""A look without ground truth, through the command line: `bpr compare`, and `bpr refine --report`."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bpr_cli.comparing.changes import Changes, Fate, Refusals, change_between
from bpr_cli.formats.rle import encode_rle
from bpr_cli.masks import crop_mask
from bpr_cli.report import change_cases, changes_page
from tests import cityscapes_made
from tests.conftest import Example, run_bpr

FRAMES = arrays(np.uint8, (7, 9), elements=st.integers(0, 1))


def data_of(page: Path) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text(), re.DOTALL)
    assert found
    document = json.loads(found[1])
    assert isinstance(document, dict)
    return document


def figures_of(path: Path) -> dict[str, Any]:
    document = json.loads(path.read_text())
    assert isinstance(document, dict)
    return document


def photos_of(example: Example) -> list[object]:
    return ["--images", example.images, "--image-info", example.gt, "--quiet"]


@given(FRAMES, FRAMES)
@settings(max_examples=60, deadline=None)
def test_counts_are_those_of_the_full_frames(before_HW: np.ndarray, after_HW: np.ndarray) -> None:
    changes = Changes(2)
    before, after = (crop_mask(frame_HW, 0, 0, 7, 9) for frame_HW in (before_HW, after_HW))
    changes.put(1, change_between(before, after, Fate.REFUSED))
    union = np.count_nonzero(before_HW | after_HW)
    iou = np.count_nonzero(before_HW & after_HW) / union if union else 1.0
    assert changes.ious()[1] == pytest.approx(iou)
    assert changes.pixels_changed()[1] == np.count_nonzero(before_HW != after_HW)
    assert changes.fates_N.tolist() == [0, Fate.REFUSED if (before_HW == after_HW).all() else Fate.CHANGED]


def test_of_refusals_those_of_which_most_was_refused_are_kept() -> None:
    refusals = Refusals(2)
    kept_HW = np.ones((8, 8), np.uint8)
    kept = crop_mask(kept_HW, 0, 0, 8, 8)
    for index, columns in enumerate((7, 2, 5, 1, 6)):
        refused_HW = np.zeros((8, 8), np.uint8)
        refused_HW[:, :columns] = 1
        refusals.add(index, kept, crop_mask(refused_HW, 0, 0, 8, 8))
    assert list(refusals.masks) == [3, 1]


def test_two_files_give_figures_a_page_and_the_cases_that_changed_most(example: Example, tmp_path: Path) -> None:
    records = json.loads(example.results_native.read_text())
    coarse = json.loads(example.results.read_text())
    for index in (3, 4):  # two masks stay as they are
        records[index]["segmentation"] = coarse[index]["segmentation"]
    (tmp_path / "after.json").write_text(json.dumps(records))
    run = run_bpr(
        "compare", example.results, tmp_path / "after.json", *photos_of(example),
        "--report", tmp_path / "look", "--json", tmp_path / "look.json",
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    figures = figures_of(tmp_path / "look.json")
    assert figures["all"]["fates"]["unchanged"] == 2
    assert figures["all"]["fates"]["changed"] == len(records) - 2
    assert not figures["knows_refusals"]
    page = tmp_path / "look" / "index.html"
    assert list(page.parent.iterdir()) == [page]
    data = data_of(page)
    ious = {item["index"]: item["iou"] for item in figures["instances"]}
    most = [case for case in data["cases"] if case["kind"] == "most"]
    assert [case["index"] for case in most] == sorted(ious, key=lambda index: ious[index])[: len(most)]
    for case in most:
        assert case["iou"] == pytest.approx(ious[case["index"]])
        assert case["photo"].startswith("data:image/jpeg;base64,")
    assert {case["index"] for case in data["cases"] if case["kind"] == "unchanged"} == {3, 4}
    assert [row[0] for row in data["rows"]][-2:] == [3, 4]
    assert len(data["rows"]) == len(records)
    for link in data["links"].values():
        assert (page.parent / link).resolve().parent == example.images.resolve()
    assert "Two files do not say why" in page.read_text()


def test_without_photos_there_are_figures_alone(example: Example, tmp_path: Path) -> None:
    run = run_bpr("compare", example.results, example.results_native, "--report", tmp_path / "look", "--quiet")
    assert run.returncode == 0, run.stderr
    data = data_of(tmp_path / "look" / "index.html")
    assert data["cases"] == []
    assert data["links"] == {}
    assert "Made without photos" in (tmp_path / "look" / "index.html").read_text()


def test_what_was_refused_is_told_from_what_changed(three_photos: Example, tmp_path: Path) -> None:
    run = run_bpr(
        "refine", three_photos.results, "-o", tmp_path / "out.json", *photos_of(three_photos), "--speed", "fast",
        "--caution", 0.8, "--min-score", 0.3, "--report", tmp_path / "look", "--json", tmp_path / "look.json",
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    figures = figures_of(tmp_path / "look.json")
    records = json.loads(three_photos.results.read_text())
    refined = json.loads((tmp_path / "out.json").read_text())
    data = data_of(tmp_path / "look" / "index.html")
    refused = {case["index"]: case for case in data["cases"] if case["kind"] == "refused"}
    assert refused
    for item in figures["instances"]:
        index = item["index"]
        is_same = records[index]["segmentation"] == refined[index]["segmentation"]
        assert is_same == (item["fate"] != "changed") == (item["iou"] == 1)
        assert (item["fate"] == "not looked at") == (records[index]["score"] < 0.3)
        if item["fate"] == "refused":
            assert refused[index]["before"] != refused[index]["after"]  # what the network drew
    again = run_bpr("compare", three_photos.results, tmp_path / "out.json", "--json", tmp_path / "again.json", "-q")
    assert again.returncode == 0
    for name in ("pixels", "pixels_changed", "mean_iou"):
        assert figures_of(tmp_path / "again.json")["all"][name] == figures["all"][name]


def test_mask_images_and_cityscapes_folders_have_a_page_too(
    three_photos: Example, small_model: Path, tmp_path: Path
) -> None:
    made = cityscapes_made.make(tmp_path)
    options = ["--model", small_model, "--speed", "fast", "--engine", "torch", "--caution", 0, "--quiet"]
    run = run_bpr(
        "refine", made.results, "-o", tmp_path / "better", "--images", made.photos, *options,
        "--report", tmp_path / "streets",
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    data = data_of(tmp_path / "streets" / "index.html")
    assert data["cases"]
    assert set(data["classes"]) == {"car", "person"}
    compared = run_bpr("compare", made.results, tmp_path / "better", "--images", made.photos, "--report",
                       tmp_path / "compared", "-q")  # fmt: skip
    assert compared.returncode == 0, compared.stderr
    cases = data_of(tmp_path / "compared" / "index.html")["cases"]
    assert [c for c in cases if c["kind"] == "most"] == [c for c in data["cases"] if c["kind"] == "most"]

    record = json.loads(three_photos.gt.read_text())["images"][0]
    photo = three_photos.images / record["file_name"]
    mask_HW = np.zeros((record["height"], record["width"]), np.uint8)
    mask_HW[100:200, 100:220] = 255
    cv2.imwrite(str(tmp_path / "mask.png"), mask_HW)
    run = run_bpr("refine", photo, "--mask", tmp_path / "mask.png", "-o", tmp_path / "masks", *options, "--report",
                  tmp_path / "one")  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert data_of(tmp_path / "one" / "index.html")["classes"] == ["no class"]


def test_bad_records_are_left_out_and_counted(example: Example, small_model: Path, tmp_path: Path) -> None:
    records = json.loads(example.results.read_text())
    records[1]["segmentation"] = {**records[1]["segmentation"], "counts": "0"}
    records[2] = "no record"
    (tmp_path / "in.json").write_text(json.dumps(records))
    options = [*photos_of(example), "--report", tmp_path / "look", "--json", tmp_path / "look.json"]
    model = ["--model", small_model, "--speed", "fast", "--engine", "torch", "-o", tmp_path / "out.json"]
    refined = run_bpr("refine", tmp_path / "in.json", *model, *options, "--skip-bad")
    assert refined.returncode == 0, refined.stderr
    assert figures_of(tmp_path / "look.json")["all"]["fates"]["not used"] == 2
    compared = run_bpr("compare", tmp_path / "in.json", tmp_path / "out.json", *options, "--skip-bad")
    assert compared.returncode == 0, compared.stderr
    assert figures_of(tmp_path / "look.json")["all"]["fates"]["not used"] == 2
    assert "annotation 1" in compared.stderr
    refused = run_bpr("compare", tmp_path / "in.json", tmp_path / "out.json", *options)
    assert refused.returncode == 2
    assert "annotation 2" in refused.stderr


@pytest.mark.parametrize("command", ["compare", "refine"])
def test_where_no_page_can_be_written_no_work_begins(example: Example, tmp_path: Path, command: str) -> None:
    (tmp_path / "file").write_text("")
    arguments = {
        "compare": [example.results, example.results_native],
        "refine": [example.results, "-o", tmp_path / "out.json"],
    }[command]
    failed = run_bpr(command, *arguments, *photos_of(example), "--report", tmp_path / "file")
    assert failed.returncode == 2
    assert "Choose another --report" in failed.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_neither_page_nor_figures_overwrite_the_output(example: Example, tmp_path: Path) -> None:
    page = tmp_path / "index.html"
    for option in (["--report", tmp_path], ["--json", page]):
        failed = run_bpr("refine", example.results, "-o", page, *photos_of(example), *option)
        assert failed.returncode == 2
        assert "it would overwrite the output" in failed.stderr
        assert not page.exists()


def test_a_missing_photo_leaves_no_page_unless_it_is_skipped(example: Example, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    photos = sorted(example.images.iterdir())
    for photo in photos[1:]:
        shutil.copy(photo, tmp_path / "photos")
    options = ["--images", tmp_path / "photos", "--image-info", example.gt, "--report", tmp_path / "look", "-q"]
    failed = run_bpr("compare", example.results, example.results_native, *options)
    assert failed.returncode == 2
    assert "no file for" in failed.stderr
    assert not (tmp_path / "look" / "index.html").exists()
    worked = run_bpr("compare", example.results, example.results_native, *options, "--skip-bad")
    assert worked.returncode == 0, worked.stderr
    assert "could not be shown" in worked.stderr
    assert data_of(tmp_path / "look" / "index.html")["cases"]


def test_other_detections_are_named(example: Example, tmp_path: Path) -> None:
    records = json.loads(example.results.read_text())
    for name, changed, says in (
        ("fewer", records[1:], "holds 18 detections"),
        ("reordered", [records[-1], *records[1:-1], records[0]], "annotation 0: it is not the detection"),
    ):
        (tmp_path / "after.json").write_text(json.dumps(changed))
        failed = run_bpr("compare", example.results, tmp_path / "after.json")
        assert failed.returncode == 2, name
        assert says in failed.stderr, name


def test_polygons_take_their_size_from_the_photo(example: Example, tmp_path: Path) -> None:
    record = json.loads(example.gt.read_text())["images"][0]
    shutil.copy(example.images / record["file_name"], tmp_path / "7.jpg")
    for name, right in (("before", 200), ("after", 210)):
        polygon = [[100, 100, right, 100, right, 150, 100, 150]]
        found = {"image_id": 7, "category_id": 1, "score": 0.9, "segmentation": polygon}
        (tmp_path / f"{name}.json").write_text(json.dumps([found]))
    files = [tmp_path / "before.json", tmp_path / "after.json", "--json", tmp_path / "look.json", "-q"]
    failed = run_bpr("compare", *files)
    assert failed.returncode == 2
    assert "nothing states the image's size" in failed.stderr
    worked = run_bpr("compare", *files, "--images", tmp_path)
    assert worked.returncode == 0, worked.stderr
    assert figures_of(tmp_path / "look.json")["all"]["pixels_changed"] == 10 * 50


def test_the_page_is_bounded_by_bytes(example: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many detections on many names of one photo, with masks whose outlines are long."""
    rng = np.random.default_rng(0)
    photo = sorted(example.images.iterdir())[0]
    (tmp_path / "photos").mkdir()
    files: dict[str, list[dict[str, Any]]] = {"before": [], "after": []}
    height, width = cv2.imread(str(photo)).shape[:2]
    segmentations = []
    for _ in range(2):
        noise_HW = rng.integers(0, 2, (120, 160)).astype(np.uint8)
        segmentations.append(encode_rle(crop_mask(noise_HW, 40, 40, height, width)))
    for image in range(40):
        os.link(photo, tmp_path / "photos" / f"{image}.jpg")
        for index in range(20):
            for name, segmentation in zip(files, segmentations, strict=True):
                record = {"image_id": image, "category_id": index, "score": 0.5, "segmentation": segmentation}
                files[name].append(record)
    for name, records in files.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(records))
    monkeypatch.setattr(change_cases, "MOST_PICTURE_BYTES", 1_000_000)
    monkeypatch.setattr(changes_page, "MOST_LIST_BYTES", 10_000)
    run = run_bpr("compare", tmp_path / "before.json", tmp_path / "after.json", "--images", tmp_path / "photos",
                  "--report", tmp_path / "look", "-q")  # fmt: skip
    assert run.returncode == 0, run.stderr
    page = tmp_path / "look" / "index.html"
    assert page.stat().st_size < 1_000_000 + 10_000 + 60_000
    data = data_of(page)
    assert 0 < len(data["rows"]) < 800
    assert 0 < len(data["cases"]) < 24
    assert f"The first {len(data['rows'])} of 800" in page.read_text()


def test_names_in_the_input_cannot_break_the_page(example: Example, tmp_path: Path) -> None:
    info = json.loads(example.gt.read_text())
    for category in info["categories"]:
        category["name"] = "</script><b>x\ud800"
    (tmp_path / "info.json").write_text(json.dumps(info))
    run = run_bpr("compare", example.results, example.results_native, "--image-info", tmp_path / "info.json",
                  "--report", tmp_path / "look", "-q")  # fmt: skip
    assert run.returncode == 0, run.stderr
    page = tmp_path / "look" / "index.html"
    assert "<b>x" not in page.read_text()
    assert data_of(page)["classes"] == ["</script><b>x?"]
