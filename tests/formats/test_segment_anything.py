"""Segment Anything's masks of one image, as its generator's script and SA-1B have them."""

from __future__ import annotations

import json

import pytest

from bpr_cli.formats import read_results
from tests.conftest import run_bpr

PHOTO = "dance-twirl_00072"


@pytest.fixture
def records(example) -> list:
    """Records with the keys of SamAutomaticMaskGenerator (output_mode="coco_rle"), of the bundled detections."""
    ids = {image["id"]: image["file_name"] for image in json.loads(example.gt.read_text())["images"]}
    return [
        {
            "segmentation": result["segmentation"],
            "area": 1,
            "bbox": result["bbox"],
            "predicted_iou": result["score"],
            "point_coords": [[1.5, 2.5]],
            "stability_score": 0.97,
            "crop_box": [0, 0, 854, 480],
        }
        for result in json.loads(example.results.read_text())
        if ids[result["image_id"]] == f"{PHOTO}.jpg"
    ]


def kept(records):
    return [{**record, "segmentation": 0, "area": 0, "bbox": 0} for record in records]


@pytest.mark.parametrize("images", ["photo", "folder"])
def test_a_list_is_refined_with_its_photo(example, records, tmp_path, images):
    source, out = tmp_path / f"{PHOTO}.json", tmp_path / "out.json"
    source.write_text(json.dumps(records))
    given = example.images / f"{PHOTO}.jpg" if images == "photo" else example.images
    ran = run_bpr("refine", source, "-o", out, "--images", given, "--speed", "fast", "--quiet")
    assert ran.returncode == 0, ran.stderr
    after = json.loads(out.read_text())
    assert kept(after) == kept(records)
    assert after != records
    assert all(record["area"] > 1 for record in after)
    scores = [instance.score for instance in read_results(source).images[0].instances]
    assert scores == [record["predicted_iou"] for record in records]


def test_a_folder_of_lists_is_refined_by_the_files_names(example, records, tmp_path):
    (tmp_path / "masks").mkdir()
    for name in (PHOTO, "goat_00018"):
        (tmp_path / "masks" / f"{name}.json").write_text(json.dumps(records[:1]))
    ran = run_bpr("refine", tmp_path / "masks", "-o", tmp_path / "out", "--images", example.images, "--speed", "fast")
    assert ran.returncode == 0, ran.stderr
    for name in (PHOTO, "goat_00018"):
        assert kept(json.loads((tmp_path / "out" / f"{name}.json").read_text())) == kept(records[:1])


def test_a_file_of_sa_1b_is_refined_with_the_photo_beside_it(example, records, tmp_path):
    image = {"image_id": 7, "width": 854, "height": 480, "file_name": "sa_7.jpg"}
    before = {"image": image, "annotations": [{**record, "id": 70 + n} for n, record in enumerate(records)]}
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "sa_7.jpg").write_bytes((example.images / f"{PHOTO}.jpg").read_bytes())
    (tmp_path / "in" / "sa_7.json").write_text(json.dumps(before))
    for source, out in (("in/sa_7.json", "out.json"), ("in", "out")):
        ran = run_bpr("refine", tmp_path / source, "-o", tmp_path / out, "--speed", "fast", "--quiet")
        assert ran.returncode == 0, ran.stderr
    after = json.loads((tmp_path / "out.json").read_text())
    assert after["image"] == image
    assert kept(after["annotations"]) == kept(before["annotations"])
    assert after == json.loads((tmp_path / "out" / "sa_7.json").read_text())


def test_one_photo_is_not_enough_for_several_images(example, records, tmp_path):
    (tmp_path / "masks").mkdir()
    for name in ("a", "b"):
        (tmp_path / "masks" / f"{name}.json").write_text(json.dumps(records[:1]))
    photo = example.images / f"{PHOTO}.jpg"
    ran = run_bpr("refine", tmp_path / "masks", "-o", tmp_path / "out", "--images", photo)
    assert ran.returncode == 2
    assert "this is one file, the results are of 2 images" in ran.stderr


def test_a_record_without_a_mask_is_named(records, tmp_path):
    (tmp_path / "a.json").write_text(json.dumps([records[0], {**records[1], "segmentation": None}]))
    ran = run_bpr("refine", tmp_path / "a.json", "-o", tmp_path / "out.json")
    assert ran.returncode == 2
    assert "annotation 1: there is no segmentation" in ran.stderr
