"""YOLO's label files: refined, they are label files with the same objects."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bpr_cli.errors import InputError
from bpr_cli.formats import read_results, write_results
from bpr_cli.formats.finding import ImageFinder
from bpr_cli.formats.outlines import mask_outline, mask_polygons
from bpr_cli.formats.polygons import scaled_polygons_mask
from bpr_cli.formats.rle import encode_rle
from bpr_cli.formats.segmentation import decode_mask
from bpr_cli.formats.yolo_lines import LinePolygon, class_and_score, with_outline
from bpr_cli.formats.yolo_names import read_names
from bpr_cli.masks import crop_mask, is_same
from bpr_cli.notices import InputWarning
from tests.conftest import run_bpr
from tests.formats.test_outlines import masks

DATA = Path(__file__).parents[1] / "data" / "formats" / "yolo"
SQUARE = "0.25 0.25 0.75 0.25 0.75 0.75 0.25 0.75"


@pytest.fixture
def data_set(example, tmp_path) -> Path:
    """The bundled labels beside their photos, as ultralytics lays a data set out."""
    root = shutil.copytree(DATA, tmp_path / "set")
    (root / "images" / "val").mkdir(parents=True)
    for path in (root / "labels" / "val").glob("*.txt"):
        shutil.copy(example.images / f"{path.stem}.jpg", root / "images" / "val")
    return root


def labels(folder, **texts):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / f"{name}.txt").write_text(text)
    return folder


def new_mask(height=8, width=8, part=np.s_[1:5, 2:7]):
    pixels_HW = np.zeros((height, width), np.uint8)
    pixels_HW[part] = 1
    return crop_mask(pixels_HW, 0, 0, height, width)


@pytest.mark.parametrize("given_folder", [".", "labels", "labels/val"])
def test_a_data_set_is_refined_to_labels_that_are_read_again(data_set, tmp_path, given_folder):
    ran = run_bpr("refine", data_set / given_folder, "-o", tmp_path / "out", "--speed", "fast", "--quiet")
    assert ran.returncode == 0, ran.stderr
    before, after = read_results(data_set / given_folder), read_results(tmp_path / "out")
    assert before.count == after.count == 3
    finder = ImageFinder(data_set / "images")
    moved = 0
    for old, new in zip(before.images, after.images, strict=True):
        with Image.open(finder.find(new.image)) as photo:
            width, height = photo.size
        for one, other in zip(old.instances, new.instances, strict=True):
            assert one.category_id == other.category_id
            first, second = decode_mask(one, height, width), decode_mask(other, height, width)
            assert second.area > 0.5 * first.area
            moved += not is_same(first, second)
    assert moved >= 2
    if given_folder == ".":
        assert (tmp_path / "out" / "data.yaml").read_bytes() == (data_set / "data.yaml").read_bytes()
        assert after.categories == {0: "person", 1: "car", 2: "bird", 3: "goat"}


def test_supervision_reads_what_is_written(data_set, tmp_path):
    sv = pytest.importorskip("supervision")
    results = read_results(data_set)
    segmentations = [encode_rle(new_mask(480, 854, np.s_[100:200, 300:400])) for _ in range(results.count)]
    write_results(results, segmentations, tmp_path / "out")
    read = sv.DetectionDataset.from_yolo(
        str(data_set / "images" / "val"),
        str(tmp_path / "out" / "labels" / "val"),
        str(tmp_path / "out" / "data.yaml"),
        force_masks=True,
    )
    for _, _, detections in read:
        assert all(9_500 < mask.sum() < 10_500 for mask in detections.mask)


def test_a_confidence_at_the_end_is_a_score_and_stays(tmp_path):
    folder = labels(tmp_path / "in", a=f"3 {SQUARE} 0.875\r\n\n0 {SQUARE}\n")
    results = read_results(folder)
    assert [(i.category_id, i.score) for i in results.images[0].instances] == [(3, 0.875), (0, None)]
    write_results(results, [encode_rle(new_mask()), None], tmp_path / "out")
    first, *rest = (tmp_path / "out" / "a.txt").read_bytes().decode().split("\n")
    assert first.startswith("3 0.")
    assert first.endswith(" 0.875\r")
    assert rest == ["", f"0 {SQUARE}", ""]
    (again,) = read_results(tmp_path / "out").images[0].instances[:1]
    assert is_same(decode_mask(again, 8, 8), new_mask())


def test_boxes_and_files_without_lines_stay_and_boxes_are_named(tmp_path):
    folder = labels(tmp_path / "in", a=f"1 0.5 0.5 0.2 0.2\n2 {SQUARE}\n", b="", c="1 0.5 0.5 0.2 0.2 0.9\n")
    (folder / "classes.txt").write_text("person\ncar\n")
    with pytest.warns(InputWarning, match="lines with a box"):
        results = read_results(folder)
    assert results.count == 1
    write_results(results, [encode_rle(new_mask())], tmp_path / "out")
    assert (tmp_path / "out" / "a.txt").read_text().startswith("1 0.5 0.5 0.2 0.2\n2 0.")
    for name in ("b.txt", "c.txt", "classes.txt"):
        assert (tmp_path / "out" / name).read_bytes() == (folder / name).read_bytes()


def test_a_mask_that_became_empty_keeps_its_line(tmp_path):
    folder = labels(tmp_path / "in", a=f"1 {SQUARE}\n")
    with pytest.warns(InputWarning, match="became empty"):
        write_results(read_results(folder), [encode_rle(new_mask(part=np.s_[0:0]))], tmp_path / "out")
    assert (tmp_path / "out" / "a.txt").read_text() == f"1 {SQUARE}\n"


@settings(deadline=None)
@given(masks(), st.sampled_from(["7 0 0 1 0 1 1", "7 0 0 1 0 1 1 0.5"]))
def test_a_line_is_the_mask_with_its_parts_and_holes(mask, line):
    """The same as the mask's polygons filled one by one."""
    height, width = mask.image_height, mask.image_width
    written = with_outline(f"{line}\n", mask_outline(mask), height, width)
    assert class_and_score(written) == class_and_score(line)
    refilled = LinePolygon(written, 1).to_mask(height, width)
    assert is_same(refilled, scaled_polygons_mask(mask_polygons(mask), height, width))


@settings(deadline=None)
@given(masks(), st.integers(0, 2**32 - 1))
def test_what_was_written_is_written_again_as_it_is(mask, seed):
    """In photos of any size: a fraction has digits enough."""
    side = int(np.random.default_rng(seed).integers(60, 20_000))
    placed = crop_mask(mask.pixels_HW, side - 60, side - 60, side, side + 7)
    line = with_outline("0 0 0 1 0 1 1", mask_outline(placed), side, side + 7)
    points = np.array(line.split()[1:], float).reshape(-1, 2) * [side + 7, side]
    assert np.abs(points.ravel() - mask_outline(placed)).max() < 1e-4


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (f"0 {SQUARE} 7", "an odd number of values ends in 7, which is no confidence"),
        ("0 0.1 0.1 0.2 0.2 x 0.3", "'x' is not a finite number"),
        ("0 0.1 0.1 200 0.2 300 0.3", "reaches from 0.1 to 300, its photo from 0 to 1"),
        ("cat 0.1 0.1 0.2 0.2 0.3 0.3", "'cat' is not the number of a class"),
        ("0 0.1 0.1", "2 values are no polygon"),
    ],
)
def test_a_broken_line_ends_the_run_with_its_place(tmp_path, line, problem):
    folder = labels(tmp_path / "labels", a=f"0 {SQUARE}\n{line}\n")
    Image.new("RGB", (40, 30)).save(folder / "a.png")
    ran = run_bpr("refine", folder, "-o", tmp_path / "out", "--speed", "fast", "--quiet")
    assert ran.returncode == 2
    assert "a.txt" in ran.stderr
    assert f"line 2: {problem}" in " ".join(ran.stderr.split())
    assert not list(tmp_path.glob("out/*"))
    ran = run_bpr("refine", folder, "-o", tmp_path / "out", "--speed", "fast", "--quiet", "--skip-bad")
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "out" / "a.txt").read_text().splitlines()[1] == line


def test_photos_above_a_folder_labels_are_not_taken(tmp_path):
    """Those are what `yolo predict` drew its masks on."""
    folder = labels(tmp_path / "predict" / "labels", a=f"0 {SQUARE}\n")
    Image.new("RGB", (8, 8)).save(tmp_path / "predict" / "a.jpg")
    ran = run_bpr("refine", folder, "-o", tmp_path / "out")
    assert ran.returncode == 2
    assert "no such folder of images" in ran.stderr


def test_boxes_alone_and_key_points_are_refused(tmp_path):
    with pytest.raises(InputError, match="boxes, which has no masks"), pytest.warns(InputWarning):
        read_results(labels(tmp_path / "boxes", a="", b="1 0.5 0.5 0.2 0.2\n"))
    pose = labels(tmp_path / "pose", a="0 0.5 0.5 0.2 0.2 " + "0.5 0.5 2 " * 17)
    (pose / "data.yaml").write_text("kpt_shape: [17, 3]\nnames: [person]\n")
    with pytest.raises(InputError, match="key points"):
        read_results(pose)


@pytest.mark.parametrize(
    "text",
    [
        "names: [person, 'car, old']\nnc: 2\n",
        'nc: 2\nnames:\n  0: person\n  1: "car, old"\npath: x\n',
        "names: {0: person, 1: 'car, old'}\n",
        "train: a # b\nnames: # classes\n- person\n- car, old\nval: x\n",
        "names:\n  [person,\n   'car, old']\n",
    ],
)
def test_names_are_read_however_yaml_writes_them(tmp_path, text):
    (tmp_path / "data.yaml").write_text(text)
    assert read_names(tmp_path / "data.yaml") == {0: "person", 1: "car, old"}


def test_names_that_cannot_be_read_are_said_to_be(tmp_path):
    (tmp_path / "data.yaml").write_text("names: &anchor\n  <<: *other\n")
    with pytest.warns(InputWarning, match="names cannot be read"):
        assert read_names(tmp_path / "data.yaml") == {}


def test_the_output_may_not_lie_in_the_input(tmp_path):
    folder = labels(tmp_path / "in", a=f"0 {SQUARE}\n")
    for out in (folder, folder / "out", tmp_path):
        with pytest.raises(InputError, match="lie in each other"):
            write_results(read_results(folder), [None], out)


def test_labels_of_photos_of_cityscapes_are_not_cityscapes_results(tmp_path):
    folder = labels(tmp_path / "in", frankfurt_000000_000294_leftImg8bit=f"0 {SQUARE}\n")
    assert read_results(folder).kind == "yolo"
