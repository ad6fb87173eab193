"""Refinement never takes another photo, nor the right one the wrong way up, and says what it had to choose."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image

from bpr_cli.errors import InputError
from bpr_cli.extraction.extract import extract
from bpr_cli.extraction.extraction_settings import ExtractionSettings
from bpr_cli.formats.images import read_image
from bpr_cli.notices import InputWarning
from bpr_cli.refining.refine import refine
from bpr_cli.refining.refiner import Refiner
from bpr_cli.refining.settings import RefineSettings
from bpr_cli.shards import ShardReader
from tests.conftest import run_bpr

POLYGON = [[200, 100, 280, 100, 280, 160, 200, 160]]
HEIGHT, WIDTH = 192, 300


@pytest.fixture(scope="module")
def refiner(small_model):
    return Refiner.from_pretrained(small_model, "cpu", "fp32", RefineSettings(passes=1, flips=False, caution=0))


@pytest.fixture(scope="module")
def scene():
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 3)


def stored(path, scene, orientation):
    """A photo that shows the scene once turned as its EXIF says."""
    back = {6: Image.Transpose.ROTATE_90, 3: Image.Transpose.ROTATE_180}[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(scene).transpose(back).save(path, exif=exif)


def as_dataset(segmentation, **image):
    annotation = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": segmentation}
    return {
        "images": [{"id": 1, "file_name": "1.png", **image}],
        "annotations": [annotation],
        "categories": [{"id": 1}],
    }


def as_list(segmentation):
    return [{"image_id": 1, "category_id": 1, "score": 0.9, "segmentation": segmentation}]


def run(folder, document, refiner, **options):
    (folder / "in.json").write_text(json.dumps(document))
    options = {"mask_form": "rle", **options}
    summary = refine(folder / "in.json", folder / "out.json", images=folder, model=refiner, quiet=True, **options)
    written = json.loads((folder / "out.json").read_text())
    records = written if isinstance(written, list) else written["annotations"]
    return summary, [record["segmentation"] for record in records]


@pytest.mark.parametrize("form", [as_list, as_dataset])
def test_polygons_beyond_the_stored_photo_mean_the_turned_one(tmp_path, refiner, scene, form, recwarn):
    Image.fromarray(scene).save(tmp_path / "1.png")
    _, expected = run(tmp_path, form(POLYGON), refiner)
    stored(tmp_path / "1.png", scene, 6)
    _, found = run(tmp_path, form(POLYGON), refiner)
    assert found == expected
    assert found[0]["size"] == [HEIGHT, WIDTH]
    assert not [item for item in recwarn if item.category is InputWarning]


@pytest.mark.parametrize("form", [as_list, as_dataset])
def test_a_half_turn_is_chosen_by_the_option_and_said(tmp_path, refiner, scene, form):
    Image.fromarray(scene).save(tmp_path / "1.png")
    _, upright = run(tmp_path, form(POLYGON), refiner)
    Image.fromarray(np.ascontiguousarray(scene[::-1, ::-1])).save(tmp_path / "1.png")
    _, lying = run(tmp_path, form(POLYGON), refiner)
    assert upright != lying
    stored(tmp_path / "1.png", scene, 3)
    with pytest.warns(InputWarning, match="--orientation"):
        assert run(tmp_path, form(POLYGON), refiner)[1] == upright
    with pytest.warns(InputWarning, match="--orientation"):
        assert run(tmp_path, form(POLYGON), refiner, orientation="stored")[1] == lying


@pytest.mark.parametrize("orientation", [3, 6])
def test_extraction_turns_alike(tmp_path, scene, orientation):
    stored(tmp_path / "1.png", scene, orientation)
    (tmp_path / "gt.json").write_text(json.dumps(as_dataset(POLYGON)))

    def patch(name, **options):
        settings = ExtractionSettings(corruptions=1, val_fraction=0, min_iou=0.01, **options)
        extract(tmp_path, tmp_path / "gt.json", tmp_path / name, settings=settings, quiet=True)
        reader = ShardReader([tmp_path / name / "train-000000.tar"])
        return reader.arrays(0)[0], reader.record(0)["box"]

    if orientation == 3:
        with pytest.warns(InputWarning, match="--orientation stored"):
            pixels, (x1, y1, x2, y2) = patch("a")
        with pytest.warns(InputWarning, match="--orientation exif"):
            other, _ = patch("b", orientation="stored")
        assert np.array_equal(other, np.ascontiguousarray(scene[::-1, ::-1])[y1:y2, x1:x2])
    else:
        pixels, (x1, y1, x2, y2) = patch("a")
    assert np.array_equal(pixels, scene[y1:y2, x1:x2])


def test_the_command_says_once_what_it_chose(tmp_path, small_model, scene):
    records = []
    for number in range(1, 6):
        stored(tmp_path / f"{number}.png", scene, 3)
        records += [{**record, "image_id": number} for record in as_list(POLYGON)]
    (tmp_path / "in.json").write_text(json.dumps(records))
    arguments = [tmp_path / "in.json", "-o", tmp_path / "out.json", "--images", tmp_path, "--model", small_model, "-q"]
    done = run_bpr("refine", *arguments, "--passes", 1)
    assert done.returncode == 0, done.stderr
    notes = [line for line in done.stderr.splitlines() if line.startswith("note: ")]
    assert len(notes) == 1
    assert "1.png, 2.png, 3.png and 2 more" in notes[0]
    refused = run_bpr("refine", *arguments, "--max-pixels", HEIGHT * WIDTH - 1)
    assert refused.returncode == 2
    assert "--max-pixels" in refused.stderr


def test_images_without_annotations_need_no_photo(tmp_path, refiner, scene):
    Image.fromarray(scene).save(tmp_path / "1.png")
    document = as_dataset(POLYGON)
    document["images"].append({"id": 2, "file_name": "missing.png"})
    assert run(tmp_path, document, refiner)[0].instances == 1
    settings = ExtractionSettings(corruptions=1, val_fraction=0, min_iou=0.01)
    manifest = extract(tmp_path, tmp_path / "in.json", tmp_path / "shards", settings=settings, quiet=True)
    assert manifest["splits"]["train"]["patches"] > 0


def test_one_image_id_with_two_file_names_is_refused(tmp_path, refiner, scene):
    for name in ("0001.png", "1.png"):
        Image.fromarray(scene).save(tmp_path / name)
    records = [{**as_list(POLYGON)[0], "file_name": name} for name in ("0001.png", "1.png")]
    for skip_bad in (False, True):
        with pytest.raises(InputError, match=r"annotation 1: its file_name is 1\.png.*0001\.png"):
            run(tmp_path, records, refiner, skip_bad=skip_bad)


@pytest.mark.filterwarnings("ignore::bpr_cli.notices.InputWarning")
def test_two_images_that_would_share_a_photo_are_left_as_they_were(tmp_path, refiner, scene):
    for name in ("0.png", "1.png"):
        Image.fromarray(scene).save(tmp_path / name)
    names = ["a/0.png", "b/0.png", "1.png"]
    records = [{**as_list(POLYGON)[0], "image_id": i, "file_name": name} for i, name in enumerate(names)]
    with pytest.raises(InputError, match=r"would both be 0\.png"):
        run(tmp_path, records, refiner)
    summary, found = run(tmp_path, records, refiner, skip_bad=True)
    assert len(summary.skipped.lines) == 2
    assert found[:2] == [POLYGON, POLYGON]
    assert found[2] != POLYGON


def test_a_soft_mask_comes_in_at_half(tmp_path, refiner, scene):
    Image.fromarray(scene).save(tmp_path / "p.png")
    hard = np.zeros((HEIGHT, WIDTH), np.uint8)
    hard[60:130, 80:200] = 255
    soft = cv2.GaussianBlur(hard, (0, 0), 2)
    for name, mask in (("soft.png", soft), ("hard.png", (soft > 127) * np.uint8(255))):
        Image.fromarray(mask).save(tmp_path / name)
    out = tmp_path / "out"
    with pytest.warns(InputWarning, match="half of its range"):
        refine(tmp_path / "p.png", out, masks=[tmp_path / "soft.png"], model=refiner, quiet=True)
    refine(tmp_path / "p.png", out, masks=[tmp_path / "hard.png"], model=refiner, quiet=True)
    assert np.array_equal(read_image(out / "soft.png"), read_image(out / "hard.png"))
    shutil.rmtree(out)


def test_polygons_whose_mask_does_not_change_keep_their_points(tmp_path, refiner, scene):
    Image.fromarray(scene).save(tmp_path / "1.png")
    drawn = [[value + 0.125 for value in POLYGON[0]]]
    still = Refiner(refiner.networks, replace(refiner.settings, min_score=0.9))
    for form, kept in (("same", True), ("rle", False)):
        _, (found,) = run(tmp_path, [{**as_list(drawn)[0], "score": 0.5}], still, mask_form=form)
        assert (found == drawn) is kept
