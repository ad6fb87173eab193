"""COCO panoptic: segments in PNGs stay a partition, and segments_info follows them."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from PIL import Image

import bpr_cli
from bpr_cli.errors import InputError
from bpr_cli.formats import read_results, write_results
from bpr_cli.formats.rle import encode_rle
from bpr_cli.formats.segmentation import decode_mask
from bpr_cli.masks import crop_mask, to_frame
from bpr_cli.refining.refiner import Refiner
from bpr_cli.refining.settings import RefineSettings
from tests.conftest import run_bpr

HEIGHT, WIDTH = 96, 128
CAR, CAT, ROAD = 7, 300, 70_000  # one, two and three bytes
CATEGORIES = [
    {"id": 3, "name": "car", "isthing": 1},
    {"id": 17, "name": "cat", "isthing": 1},
    {"id": 149, "name": "road", "isthing": 0},
]


@pytest.fixture(scope="module")
def refiner(small_model):
    return Refiner.from_pretrained(small_model, "cpu", "fp32", RefineSettings(passes=1, flips=False, caution=0))


def segments():
    ids = np.full((HEIGHT, WIDTH), ROAD)
    ids[:30] = 0
    ids[40:80, 10:60] = CAR
    rows, columns = np.ogrid[:HEIGHT, :WIDTH]
    ids[(rows - 60) ** 2 + (columns - 85) ** 2 < 25**2] = CAT
    return ids


def to_rgb(ids):
    """As the format's description has it: id = R + G * 256 + B * 256^2."""
    return np.stack([ids % 256, ids // 256 % 256, ids // 256**2], axis=-1).astype(np.uint8)


def to_ids(path):
    rgb = np.asarray(Image.open(path)).astype(int)
    assert rgb.shape == (HEIGHT, WIDTH, 3)
    return rgb[..., 0] + rgb[..., 1] * 256 + rgb[..., 2] * 256**2


def extent(mask):
    rows, columns = np.nonzero(mask)
    x, y = columns.min(), rows.min()
    return {"area": int(mask.sum()), "bbox": [int(v) for v in (x, y, columns.max() - x + 1, rows.max() - y + 1)]}


def info(ids):
    known = {CAR: 3, CAT: 17, ROAD: 149}
    return [
        {"id": number, "category_id": category, "iscrowd": 0, **extent(ids == number)}
        for number, category in known.items()
    ]


def write_input(folder, count=2):
    ids = segments()
    colours = np.random.default_rng(0).integers(0, 256, (ROAD + 1, 3)).astype(np.uint8)
    (folder / "photos").mkdir()
    (folder / "panoptic").mkdir()
    images, annotations = [], []
    for number in range(1, count + 1):
        cv2.imwrite(str(folder / "photos" / f"{number:012}.jpg"), np.roll(colours[ids], 3, axis=1))
        Image.fromarray(to_rgb(ids)).save(folder / "panoptic" / f"{number:012}.png")
        images.append({"id": number, "file_name": f"{number:012}.jpg", "height": HEIGHT, "width": WIDTH})
        annotations.append({"image_id": number, "file_name": f"{number:012}.png", "segments_info": info(ids)})
    document = {"info": {"year": 2017}, "images": images, "annotations": annotations, "categories": CATEGORIES}
    (folder / "panoptic.json").write_text(json.dumps(document))
    return document, ids


def test_every_segment_is_a_mask_and_what_is_not_new_stays_to_the_byte(tmp_path):
    document, ids = write_input(tmp_path)
    results = read_results(tmp_path / "panoptic.json")
    assert results.count == 6
    for entry in results.images:
        for instance, number in zip(entry.instances, (CAR, CAT, ROAD), strict=True):
            assert np.array_equal(to_frame(decode_mask(instance, HEIGHT, WIDTH)), ids == number)
    write_results(results, [None] * 6, tmp_path / "out.json")
    assert json.loads((tmp_path / "out.json").read_text()) == document
    for name in ("000000000001.png", "000000000002.png"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "panoptic" / name).read_bytes()


def test_new_masks_are_written_as_ids_and_their_extent_follows(tmp_path):
    document, ids = write_input(tmp_path)
    results = read_results(tmp_path / "panoptic.json")
    wanted = np.where((ids == ROAD) & (np.arange(WIDTH) < 20), CAR, ids)
    new = [encode_rle(crop_mask(wanted == number, 0, 0, HEIGHT, WIDTH)) for number in (CAR, CAT, ROAD)]
    write_results(results, [*new, None, None, None], tmp_path / "out.json")
    assert np.array_equal(to_ids(tmp_path / "out" / "000000000001.png"), wanted)
    written = json.loads((tmp_path / "out.json").read_text())
    assert written["annotations"][0]["segments_info"] == info(wanted)
    assert written["annotations"][1] == document["annotations"][1]


def test_refined_segments_are_a_partition_with_the_same_segments_and_void(tmp_path, refiner):
    document, ids = write_input(tmp_path)
    out = tmp_path / "refined.json"
    bpr_cli.refine(tmp_path / "panoptic.json", out, images=tmp_path / "photos", model=refiner, quiet=True)
    written = json.loads(out.read_text())
    assert {key: value for key, value in written.items() if key != "annotations"} == {
        key: value for key, value in document.items() if key != "annotations"
    }
    for annotation in written["annotations"]:
        after = to_ids(tmp_path / "refined" / annotation["file_name"])
        assert np.array_equal(after == 0, ids == 0)
        assert set(np.unique(after)) == {0, CAR, CAT, ROAD}
        assert (after != ids).any()
        assert annotation["segments_info"] == info(after)


def test_things_are_ground_truth(tmp_path):
    _, ids = write_input(tmp_path, count=1)
    results = [
        {
            "image_id": 1,
            "category_id": category,
            "score": 0.9,
            "segmentation": encode_rle(crop_mask(ids == number, 0, 0, HEIGHT, WIDTH)),
        }
        for number, category in ((CAR, 3), (CAT, 17))
    ]
    (tmp_path / "results.json").write_text(json.dumps(results))
    found = bpr_cli.evaluate(tmp_path / "results.json", tmp_path / "panoptic.json", quiet=True)
    assert (found.scored.figures.ap, found.truths) == (pytest.approx(1), 2)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda d: d["annotations"][0].update(file_name="x.png"), r"there is no .*x\.png"),
        (lambda d: d["annotations"][0].update(file_name="../photos/1.png"), "leads out of"),
        (lambda d: d["annotations"][0]["segments_info"][0].update(id=0), "no id between 1 and"),
        (lambda d: d["annotations"][0]["segments_info"][0].update(id=CAT), "two of its segments have one id"),
        (lambda d: d["annotations"][0].update(image_id=9), "not among the images"),
        (lambda d: d["annotations"][0].pop("image_id"), "its image_id is null"),
        (lambda d: d["annotations"][1].update(image_id=1), "the image has two annotations"),
    ],
)
def test_broken_files_are_refused_or_left_as_they_were(tmp_path, change, problem):
    document, _ = write_input(tmp_path)
    change(document)
    (tmp_path / "panoptic.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match=problem):
        read_results(tmp_path / "panoptic.json")
    results = read_results(tmp_path / "panoptic.json", skip_bad=True)
    assert (len(results.images), results.skipped.images, results.skipped.instances) == (1, 1, 3)
    write_results(results, [None] * 6, tmp_path / "out.json")
    assert json.loads((tmp_path / "out.json").read_text()) == document


def test_an_output_over_the_input_is_refused(tmp_path):
    write_input(tmp_path)
    run = ["refine", tmp_path / "panoptic.json", "--images", tmp_path / "photos", "-q"]
    for name, problem in (("panoptic.json", "the input itself"), ("panoptic.json.gz", "replace the input's")):
        found = run_bpr(*run, "-o", tmp_path / name)
        assert (found.returncode, problem in found.stderr) == (2, True), found.stderr
