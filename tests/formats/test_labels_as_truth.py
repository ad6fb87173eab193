"""What annotation tools write, as ground truth: evaluated against, and cut into patches."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from bpr_cli.errors import InputError
from bpr_cli.evaluation.evaluate import evaluate
from bpr_cli.extraction.extract import extract
from bpr_cli.extraction.extraction_settings import ExtractionSettings
from bpr_cli.formats import read_results, write_results
from bpr_cli.formats.rle import encode_rle
from bpr_cli.formats.segmentation import decode_mask
from tests.conftest import run_bpr

DATA = Path(__file__).parents[1] / "data" / "formats"
PHOTOS = ("dance-twirl_00012", "goat_00018")


@pytest.fixture
def yolo(example, tmp_path) -> Path:
    root = shutil.copytree(DATA / "yolo", tmp_path / "set")
    (root / "images" / "val").mkdir(parents=True)
    for name in PHOTOS:
        shutil.copy(example.images / f"{name}.jpg", root / "images" / "val")
    return root


def test_yolo_predictions_are_evaluated_with_yolo_labels(yolo, tmp_path):
    predicted = tmp_path / "predicted"
    predicted.mkdir()
    for path in (yolo / "labels" / "val").glob("*.txt"):
        (predicted / path.name).write_text("".join(f"{line} 0.9\n" for line in path.read_text().splitlines()))
    ran = run_bpr("evaluate", predicted, "--gt", yolo / "labels" / "val", "--json", tmp_path / "f.json", "--quiet")
    assert ran.returncode == 0, ran.stderr
    assert evaluate(predicted, yolo / "labels" / "val", quiet=True).scored.figures.ap == pytest.approx(1)
    shutil.move(yolo / "images", tmp_path / "photos")
    with pytest.raises(InputError, match=r"Give .*with --images"):
        evaluate(predicted, yolo / "labels" / "val", quiet=True)
    evaluate(predicted, yolo / "labels" / "val", images=tmp_path / "photos", quiet=True)


def coco_of(results, ids, path):
    """The masks as a COCO results list with these ids of classes, and a file that names them."""
    records = [
        {
            "image_id": entry.image.id,
            "category_id": ids[results.categories[instance.category_id]],
            "score": 0.5,
            "segmentation": encode_rle(decode_mask(instance, 480, 854)),
        }
        for entry in results.images
        for instance in entry.instances
    ]
    path.write_text(json.dumps(records))
    images = [{"id": entry.image.id, "file_name": f"{entry.image.id}.jpg"} for entry in results.images]
    names = [{"id": number, "name": name} for name, number in ids.items()]
    path.with_name("info.json").write_text(json.dumps({"images": images, "categories": names}))


@pytest.mark.parametrize("name", ["labelme", "cvat/annotations.xml"])
def test_classes_are_told_by_their_names(tmp_path, name):
    truth = read_results(DATA / name)
    ids = {"person": 7, "goat": 3, "ai": 1}
    coco_of(truth, ids, tmp_path / "results.json")
    files = (tmp_path / "results.json", DATA / name)
    with pytest.raises(InputError, match="has no name, and classes are told by their names"):
        evaluate(*files, quiet=True)
    assert evaluate(*files, image_info=tmp_path / "info.json", quiet=True).scored.figures.ap == pytest.approx(1)
    info = json.loads((tmp_path / "info.json").read_text())
    info["categories"] = [{**category, "name": category["name"].upper()} for category in info["categories"]]
    (tmp_path / "info.json").write_text(json.dumps(info))
    with pytest.raises(InputError, match="is no class of"):
        evaluate(*files, image_info=tmp_path / "info.json", quiet=True)


@pytest.mark.parametrize("name", ["yolo", "labelme", "cvat/annotations.xml", "label_studio/export.json"])
def test_patches_are_cut_from_them(example, tmp_path, name):
    settings = ExtractionSettings(val_fraction=0.0, corruptions=1)
    manifest = extract(example.images, DATA / name, tmp_path / "shards", settings=settings, processes=2, quiet=True)
    assert manifest["splits"]["train"]["patches"] > 30


@pytest.mark.parametrize("name", ["yolo", "labelme", "cvat/annotations.xml", "label_studio/export.json"])
def test_what_is_written_without_new_masks_is_what_was_read(tmp_path, name):
    results = read_results(DATA / name)
    write_results(results, [None] * results.count, tmp_path / Path(name).name)
    again = read_results(tmp_path / Path(name).name)
    masks = [
        [encode_rle(decode_mask(i, 480, 854)) for entry in found.images for i in entry.instances]
        for found in (results, again)
    ]
    assert masks[0] == masks[1]
