"""`refine` on real photos: same detections, same order, and nothing lost on the way."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

import bpr_cli
from bpr_cli.errors import InputError
from bpr_cli.formats.images import read_image
from bpr_cli.formats.rle import decode_rle
from bpr_cli.masks import to_frame
from bpr_cli.refining.refine import refine
from bpr_cli.refining.refiner import Refiner
from bpr_cli.refining.settings import RefineSettings


@pytest.fixture
def shuffled(three_photos, tmp_path):
    """The detections of three photos in mixed order, with fields of our users' own."""
    records = json.loads(three_photos.results.read_text())
    order = np.random.default_rng(0).permutation(len(records))
    records = [{**records[i], "track": int(i), "note": {"by": "me"}, "area": 1.0} for i in order]
    path = tmp_path / "input.json"
    path.write_text(json.dumps(records))
    return path


def test_same_detections_same_order_other_fields_kept(three_photos, shuffled, small_model, tmp_path):
    before = shuffled.read_bytes()
    out = tmp_path / "out.json"
    summary = refine(
        shuffled,
        out,
        images=three_photos.images,
        image_info=three_photos.gt,
        model=small_model,
        settings=RefineSettings(caution=0.0),  # the photos bear out little of what seeded weights answer
        quiet=True,
    )
    records, refined = json.loads(before), json.loads(out.read_text())
    assert len(refined) == len(records) == summary.instances
    assert summary.changed == len(records)
    for old, new in zip(records, refined, strict=True):
        for key in ("image_id", "category_id", "score", "track", "note"):
            assert new[key] == old[key]
        assert isinstance(new["segmentation"]["counts"], str)
        assert new["segmentation"]["size"] == old["segmentation"]["size"]
        mask = to_frame(decode_rle(new["segmentation"]))
        ys, xs = np.nonzero(mask)
        assert new["bbox"] == [xs.min(), ys.min(), xs.max() + 1 - xs.min(), ys.max() + 1 - ys.min()]
        assert new["area"] == mask.sum()
    assert shuffled.read_bytes() == before


def test_files_and_arrays_give_the_same_masks_whatever_the_batch(three_photos, small_model, tmp_path):
    masks = []
    for batch_size in (1, 7, 64):
        out = tmp_path / f"{batch_size}.json"
        settings = RefineSettings(batch_size=batch_size, caution=0.05)  # random weights: at more, nothing changes
        refine(
            three_photos.results, out, images=three_photos.images, image_info=three_photos.gt, model=small_model,
            settings=settings, precision="fp32", quiet=True,
        )  # fmt: skip
        masks.append([to_frame(decode_rle(record["segmentation"])) for record in json.loads(out.read_text())])
    refiner = Refiner.from_pretrained(small_model, "cpu", "fp32", RefineSettings(caution=0.05))
    gt = json.loads(three_photos.gt.read_text())
    names = {image["id"]: image["file_name"] for image in gt["images"]}
    records = json.loads(three_photos.results.read_text())
    changed = 0
    for image_id, name in names.items():
        indices = [index for index, record in enumerate(records) if record["image_id"] == image_id]
        photo = read_image(three_photos.images / name)
        coarse = np.array([to_frame(decode_rle(records[index]["segmentation"])) for index in indices], bool)
        refined = refiner.refine(photo, coarse, [records[index]["score"] for index in indices])
        assert refined.dtype == bool
        changed += np.count_nonzero((refined != coarse).any(axis=(1, 2)))
        for batch in masks:
            for index, mask in zip(indices, refined, strict=True):
                # Rounding differs with the batch's size; a pixel on the fence may fall either way.
                assert np.count_nonzero(batch[index] != mask) <= 5
    assert changed > 0


def test_the_package_offers_the_refiner():
    assert bpr_cli.Refiner is Refiner
    assert bpr_cli.refine is refine


def test_a_dataset_dict_stays_one(three_photos, small_model, tmp_path):
    out = tmp_path / "out.json"
    refine(three_photos.gt, out, images=three_photos.images, model=small_model, quiet=True)
    before, after = json.loads(three_photos.gt.read_text()), json.loads(out.read_text())
    assert {**after, "annotations": 0} == {**before, "annotations": 0}
    assert [a["id"] for a in after["annotations"]] == [a["id"] for a in before["annotations"]]
    assert all(new["area"] != old["area"] for old, new in zip(before["annotations"], after["annotations"], strict=True))


def test_one_photo_and_mask_images(three_photos, small_model, tmp_path):
    record = json.loads(three_photos.results.read_text())[0]
    gt = json.loads(three_photos.gt.read_text())
    (name,) = (image["file_name"] for image in gt["images"] if image["id"] == record["image_id"])
    frame = to_frame(decode_rle(record["segmentation"]))
    masks = [tmp_path / "first.png", tmp_path / "second.png"]
    for path in masks:
        cv2.imwrite(str(path), frame * 255)
    photo = three_photos.images / name
    refine(photo, tmp_path / "out", masks=masks, model=small_model, precision="fp32", quiet=True)
    (expected,) = Refiner.from_pretrained(small_model, "cpu", "fp32").refine(read_image(photo), frame[None])
    for path in masks:
        pixels = cv2.imread(str(tmp_path / "out" / path.name), cv2.IMREAD_UNCHANGED)
        assert set(np.unique(pixels)) == {0, 255}
        assert np.count_nonzero((pixels > 0) != expected) <= 5
        assert np.array_equal(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), frame * 255)


@pytest.mark.parametrize("size", [(20, 30), (64, 64), (65, 40)])
def test_photos_smaller_than_a_patch_and_odd_masks_are_refined(small_model, size):
    refiner = Refiner.from_pretrained(small_model, device="cpu")
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    empty, full, dot = np.zeros(size, bool), np.ones(size, bool), np.zeros(size, bool)
    dot[-1, -1] = True
    refined = refiner.refine(image, np.stack([empty, full, dot]))
    assert not refined[0].any()
    assert refined[1].all()
    assert refined.shape == (3, *size)


def test_skip_bad_leaves_what_is_broken_as_it_was_and_says_so(three_photos, small_model, tmp_path):
    records = json.loads(three_photos.results.read_text())
    records[1]["segmentation"] = {"size": records[1]["segmentation"]["size"], "counts": "0"}
    records[-1]["image_id"] = 10**9
    path = tmp_path / "input.json"
    path.write_text(json.dumps(records))
    info = json.loads(three_photos.gt.read_text())
    info["images"].append({"id": 10**9, "file_name": "nowhere.jpg", "width": 854, "height": 480})
    (tmp_path / "info.json").write_text(json.dumps(info))
    options = {"images": three_photos.images, "image_info": tmp_path / "info.json", "model": small_model, "quiet": True}
    with pytest.raises(InputError, match=str(10**9)):
        refine(path, tmp_path / "out.json", **options)
    assert not (tmp_path / "out.json").exists()
    summary = refine(path, tmp_path / "out.json", skip_bad=True, **options)
    refined = json.loads((tmp_path / "out.json").read_text())
    assert refined[1] == records[1]
    assert refined[-1] == records[-1]
    assert refined[0] != records[0]
    assert (summary.skipped.images, summary.skipped.instances) == (1, 2)
    assert str(summary.skipped) == "1 image cannot be used, 2 instances left as they were"
    assert len(summary.skipped.lines) == 2
    assert any("annotation 1" in line for line in summary.skipped.lines)
    assert any("nowhere.jpg" in line for line in summary.skipped.lines)


@pytest.mark.parametrize(
    ("image", "masks", "says"),
    [
        (np.zeros((8, 8)), np.zeros((1, 8, 8), bool), "image"),
        (np.zeros((8, 8, 3)), np.zeros((1, 8, 8), bool), "uint8"),
        (np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), bool), "masks"),
        (np.zeros((8, 8, 3), np.uint8), np.zeros((1, 8, 9), bool), "masks"),
        (np.zeros((8, 8, 3), np.uint8), np.zeros((1, 8, 8)), "Threshold"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(small_model, image, masks, says):
    with pytest.raises(InputError, match=says):
        Refiner.from_pretrained(small_model, device="cpu").refine(image, masks)


def test_unknown_models_are_answered_with_the_known_ones():
    with pytest.raises(InputError, match="no-such-model"):
        Refiner.from_pretrained("no-such-model")


def test_the_output_never_replaces_the_input(three_photos, shuffled, small_model):
    with pytest.raises(InputError, match="the input itself"):
        refine(
            shuffled, Path(shuffled), images=three_photos.images, image_info=three_photos.gt, model=small_model,
            quiet=True,
        )  # fmt: skip


def test_paths_may_be_strings_and_one_mask_need_no_list(three_photos, small_model, tmp_path, monkeypatch):
    options = {"images": str(three_photos.images), "image_info": str(three_photos.gt), "model": small_model}
    for name in (str, Path):
        out = name(tmp_path / f"{name.__name__}.json")
        refine(name(three_photos.results), out, **options, quiet=True)
    assert (tmp_path / "str.json").read_bytes() == (tmp_path / "Path.json").read_bytes()
    photo = next(three_photos.images.glob("*.jpg"))
    height, width = read_image(photo).shape[:2]
    cv2.imwrite(str(tmp_path / "mask.png"), np.full((height, width), 255, np.uint8))
    refine(str(photo), str(tmp_path / "out"), masks=str(tmp_path / "mask.png"), model=small_model, quiet=True)
    assert (tmp_path / "out" / "mask.png").is_file()


@pytest.mark.parametrize("changes", [{"input": None}, {"output": 3}, {"images": b"photos"}, {"masks": [None]}])
def test_what_is_no_path_is_named(changes):
    arguments = {"input": "results.json", "output": "out.json", **changes}
    (name,) = changes
    with pytest.raises(InputError, match=f"{name} is .*, not a path"):
        refine(**arguments)


def test_records_in_doubt_and_bad_polygons_are_left_as_they_were_and_evaluate_takes_the_output(
    three_photos, small_model, tmp_path
):
    records = json.loads(three_photos.results.read_text())[:6]
    square = [[100, 100, 300, 100, 300, 300, 100, 300]]
    records[0] = {**records[0], "segmentation": square, "bbox": [500, 350, 30, 30]}
    records[1] = {**records[1], "segmentation": []}
    records[2] = {**records[2], "segmentation": [*square, [1, 2, 3, 4]], "bbox": [100, 100, 200, 200]}
    records[3] = {**records[3], "segmentation": [[100.1, 100.1, 100.2, 100.1, 100.2, 100.3]]}
    path, out = tmp_path / "input.json", tmp_path / "out.json"
    path.write_text(json.dumps(records))
    options = {"images": three_photos.images, "image_info": three_photos.gt, "model": small_model, "quiet": True}
    with pytest.raises(InputError, match="annotation 1: the list of polygons is empty"):
        refine(path, out, **options)
    summary = refine(path, out, skip_bad=True, **options)
    refined = json.loads(out.read_text())
    assert [refined[i] == records[i] for i in range(6)] == [True, True, False, True, False, False]
    assert str(summary.skipped) == "3 instances left as they were, 1 polygon left out"
    evaluation = bpr_cli.evaluate(str(out), str(three_photos.gt), baseline=str(path), skip_bad=True, quiet=True)
    assert evaluation.detections == 6
    assert bpr_cli.evaluate(out, three_photos.gt, quiet=True).detections == 6
