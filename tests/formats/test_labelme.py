"""labelme's files: refined, labelme opens them, with the same objects."""

from __future__ import annotations

import base64
import json
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings

from bpr_cli.errors import InputError
from bpr_cli.formats import read_results, write_results
from bpr_cli.formats.labelme import Shapes, updated
from bpr_cli.formats.outlines import mask_polygons
from bpr_cli.formats.polygons import scaled_polygons_mask
from bpr_cli.formats.rle import encode_rle
from bpr_cli.formats.segmentation import decode_mask
from bpr_cli.masks import crop_mask, is_same
from bpr_cli.notices import InputWarning
from tests.conftest import run_bpr
from tests.formats.test_outlines import masks

DATA = Path(__file__).parents[1] / "data" / "formats" / "labelme"
SHAPE = {
    "label": "cat",
    "points": [[1, 1], [6, 1], [6, 5]],
    "group_id": None,
    "shape_type": "polygon",
    "flags": {"hard": True},
    "description": "seen",
}


@pytest.fixture
def folder(example, tmp_path) -> Path:
    """The bundled files; their photos lie in the folder beside them, as their imagePath says."""
    (tmp_path / "images").mkdir()
    for path in DATA.glob("*.json"):
        shutil.copy(example.images / f"{path.stem}.jpg", tmp_path / "images")
    return shutil.copytree(DATA, tmp_path / "labels")


def document(*shapes, **fields):
    return {"version": "6", "flags": {}, "shapes": list(shapes), "imagePath": "a.jpg", "imageData": None, **fields}


def mask_of(*parts, height=8, width=9):
    pixels_HW = np.zeros((height, width), np.uint8)
    for part in parts:
        pixels_HW[part] = 1
    return crop_mask(pixels_HW, 0, 0, height, width)


@pytest.fixture
def written(tmp_path):
    """The document that is written for another, with new masks of its objects."""

    def write(before, *new):
        (tmp_path / "in.json").write_text(json.dumps(before))
        results = read_results(tmp_path / "in.json")
        segmentations = [None if mask is None else encode_rle(mask) for mask in new]
        write_results(results, segmentations, tmp_path / "out.json")
        return json.loads((tmp_path / "out.json").read_text())

    return write


def unchanged(shape):
    return {key: value for key, value in shape.items() if key not in ("points", "mask", "group_id")}


def kinds(shapes):
    """What shapes have beside their points, each once: an object may come in more parts."""
    return list(dict.fromkeys(json.dumps(unchanged(shape)) for shape in shapes))


def test_a_folder_is_refined_to_files_with_the_same_objects(folder, tmp_path):
    ran = run_bpr("refine", folder, "-o", tmp_path / "out", "--speed", "fast", "--quiet")
    assert ran.returncode == 0, ran.stderr
    assert "shapes that are neither polygons nor masks" in ran.stdout + ran.stderr
    before, after = read_results(folder), read_results(tmp_path / "out")
    assert before.count == after.count
    assert before.categories == after.categories == {1: "ai", 2: "goat", 3: "person"}
    pairs = [
        pair
        for old, new in zip(before.images, after.images, strict=True)
        for pair in zip(old.instances, new.instances, strict=True)
    ]
    masks_of = [[decode_mask(instance, 480, 854) for instance in pair] for pair in pairs]
    assert sum(not is_same(*two) for two in masks_of) >= 3
    assert all(one.category_id == other.category_id for one, other in pairs)
    for path in folder.glob("*.json"):
        old, new = json.loads(path.read_text()), json.loads((tmp_path / "out" / path.name).read_text())
        assert {**old, "shapes": 0} == {**new, "shapes": 0}
        assert kinds(old["shapes"]) == kinds(new["shapes"])
        assert old["shapes"][-1] == new["shapes"][-1]  # a rectangle


def test_one_file_is_refined_with_its_photo(folder, tmp_path, example):
    source = folder / "goat_00018.json"
    out = tmp_path / "refined.json"
    ran = run_bpr("refine", source, "-o", out, "--images", example.images / "goat_00018.jpg", "--speed", "fast")
    assert ran.returncode == 0, ran.stderr
    assert out.read_text().startswith('{\n  "version"')
    assert read_results(out).count == read_results(source).count


def test_labelme_reads_what_is_written(folder, tmp_path):
    label_file = pytest.importorskip("labelme._label_file")
    results = read_results(folder)
    new = encode_rle(mask_of(np.s_[9:90, 9:90], np.s_[200:300, 200:300], height=480, width=854))
    write_results(results, [new] * results.count, tmp_path / "out")
    for path in (tmp_path / "out").glob("*.json"):
        shapes = label_file.read_label_file(str(path)).shapes
        mask = next(shape for shape in shapes if shape["shape_type"] == "mask")
        assert mask["mask"].shape == (291, 291)
        assert mask["points"] == [[9, 9], [299, 299]]
        assert sum(shape["shape_type"] == "polygon" for shape in shapes) % 2 == 0


def test_an_object_in_more_parts_is_more_shapes_of_one_group(written):
    first = {**SHAPE, "group_id": 4, "label": "dog"}
    after = written(document(first, SHAPE, SHAPE), None, mask_of(np.s_[1:3, 1:3], np.s_[5:7, 5:8]), None)
    assert [shape["group_id"] for shape in after["shapes"]] == [4, 5, 5, None]
    assert [unchanged(shape) for shape in after["shapes"][1:3]] == [unchanged(SHAPE)] * 2
    assert after["shapes"][0] == first
    assert after["shapes"][3] == SHAPE


def test_shapes_of_one_label_and_group_are_one_object(written):
    parts = [{**SHAPE, "group_id": 1, "description": text} for text in ("one", "two", "three")]
    before = document(parts[0], {**SHAPE, "group_id": 1, "label": "dog"}, parts[1], parts[2])
    after = written(before, mask_of(np.s_[1:3, 1:3], np.s_[5:7, 5:8]), None)
    assert [shape["description"] for shape in after["shapes"]] == ["one", "seen", "two"]
    assert after["shapes"][1] == before["shapes"][1]


def test_a_mask_shape_is_written_as_a_mask_shape(written, tmp_path):
    pixels_HW = np.zeros((3, 4), np.uint8)
    pixels_HW[1:, 2:] = 1
    png = base64.b64encode(cv2.imencode(".png", pixels_HW)[1].tobytes()).decode()
    shape = {**SHAPE, "shape_type": "mask", "points": [[2.0, 1.0], [5.0, 3.0]], "mask": png}
    new = mask_of(np.s_[2:7, 3:5], np.s_[0:1, 0:1])
    after = written(document(shape), new)
    (old,) = read_results(tmp_path / "in.json").images[0].instances
    assert is_same(decode_mask(old, 8, 9), mask_of(np.s_[2:4, 4:6]))
    (again,) = read_results(tmp_path / "out.json").images[0].instances
    assert is_same(decode_mask(again, 8, 9), new)
    assert after["shapes"][0]["points"] == [[0.0, 0.0], [4.0, 6.0]]


def test_a_mask_that_became_empty_keeps_its_shapes(written):
    with pytest.warns(InputWarning, match="became empty"):
        assert written(document(SHAPE), mask_of())["shapes"] == [SHAPE]


@settings(deadline=None)
@given(masks())
def test_shapes_are_the_polygons_of_the_mask(mask):
    after = updated(document(SHAPE), Path("a.json"), {0: encode_rle(mask)})
    again = Shapes(tuple(after["shapes"])).to_mask(mask.image_height, mask.image_width)
    assert is_same(again, scaled_polygons_mask(mask_polygons(mask), mask.image_height, mask.image_width))


@pytest.mark.parametrize(
    ("shape", "problem"),
    [
        ({"points": [[1, 2], [3, "x"], [4, 5]]}, "points of a shape 'cat' are none"),
        ({"points": [[1, 2], [3, 4]]}, "not a flat list of three or more points"),
        ({"shape_type": "mask", "points": [[1, 1], [90, 4]]}, "do not lie in the photo of 9x8"),
        ({"shape_type": "mask", "points": [[1, 1], [2, 2]], "mask": "?"}, "mask cannot be read"),
        ({"shape_type": "mask", "points": [[1, 1], [2, 2]], "mask": None}, "mask cannot be read"),
    ],
)
def test_a_broken_shape_is_named(tmp_path, shape, problem):
    (tmp_path / "in.json").write_text(json.dumps(document(SHAPE, {**SHAPE, **shape})))
    instances = read_results(tmp_path / "in.json").images[0].instances
    with pytest.raises(InputError, match=f"annotation 1: .*{problem}"):
        decode_mask(instances[1], 8, 9)


def test_a_broken_file_ends_the_run_or_is_copied(folder, tmp_path):
    (folder / "broken.json").write_text(json.dumps(document({"points": []})))
    (folder / "cut.json").write_text('{"shapes": [')
    with pytest.raises(InputError, match=r"broken.json: shape 0 has no label"):
        read_results(folder)
    results = read_results(folder, skip_bad=True)
    assert results.skipped.images == 2
    write_results(results, [None] * results.count, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "broken.json").read_text()) == document({"points": []})
    assert (tmp_path / "out" / "cut.json").read_text() == '{"shapes": ['


def test_other_json_files_are_copied_and_named(folder, tmp_path):
    (folder / "notes.json").write_text('{"by": "us"}')
    with pytest.warns(InputWarning, match="copied as it is"):
        results = read_results(folder)
    write_results(results, [None] * results.count, tmp_path / "out")
    assert (tmp_path / "out" / "notes.json").read_text() == '{"by": "us"}'


def test_a_file_that_changes_meanwhile_is_not_written_over(folder, tmp_path):
    results = read_results(folder)
    (folder / "goat_00018.json").write_text(json.dumps(document()))
    with pytest.raises(InputError, match=r"goat_00018.json: the file has changed"):
        write_results(results, [None] * results.count, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_photos_in_several_folders_are_told_apart(example, tmp_path):
    for name in ("goat_00018", "dance-twirl_00012"):
        shape = json.loads((DATA / f"{name}.json").read_text())["shapes"][:1]
        (tmp_path / "in" / name).mkdir(parents=True)
        (tmp_path / "in" / name / "0.json").write_text(json.dumps(document(*shape, imagePath="0.jpg")))
        shutil.copy(example.images / f"{name}.jpg", tmp_path / "in" / name / "0.jpg")
    for images in ([], ["--images", tmp_path / "in"]):
        ran = run_bpr("refine", tmp_path / "in", "-o", tmp_path / f"out{len(images)}", "--speed", "fast", *images)
        assert ran.returncode == 0, ran.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_a_link_to_nowhere_is_named_and_left_out(folder, tmp_path):
    (folder / "gone.json").symlink_to(tmp_path / "nowhere.json")
    results = read_results(folder, skip_bad=True)
    assert "gone.json" in results.skipped.lines[0]
    write_results(results, [None] * results.count, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(path.name for path in DATA.iterdir())


def test_photos_are_where_the_files_say_unless_a_folder_is_named(folder, tmp_path):
    assert read_results(folder).photos == tmp_path / "images"
    named = read_results(folder, images=tmp_path / "images")
    assert {entry.image.file_name for entry in named.images} != {
        entry.image.file_name for entry in read_results(folder).images
    }
