"""CVAT's XML: refined, it is CVAT's XML with the same objects."""

from __future__ import annotations

import shutil
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings

from bpr_cli.errors import InputError
from bpr_cli.formats import read_results, write_results
from bpr_cli.formats.cvat_shapes import Shapes, mask_attributes
from bpr_cli.formats.rle import encode_rle
from bpr_cli.formats.segmentation import decode_mask
from bpr_cli.masks import crop_mask, is_same
from bpr_cli.notices import InputWarning
from tests.conftest import run_bpr
from tests.formats.test_outlines import masks

DATA = Path(__file__).parents[1] / "data" / "formats" / "cvat" / "annotations.xml"
POLYGON = '<polygon label="cat" occluded="1" points="1.00,1.00;6.00,1.00;6.00,5.00" z_order="3"{}>{}</polygon>'
ATTRIBUTE = '<attribute name="pose">sitting</attribute>'
MASK = '<mask label="cat" source="manual" rle="2, 1, 3" left="4" top="2" width="3" height="2" z_order="0"></mask>'


def annotations(*shapes):
    image = f'<image id="7" name="a.jpg" width="9" height="8">{"".join(shapes)}</image>'
    return f"<annotations><version>1.1</version><!-- kept -->{image}</annotations>"


def mask_of(*parts):
    pixels_HW = np.zeros((8, 9), np.uint8)
    for part in parts:
        pixels_HW[part] = 1
    return crop_mask(pixels_HW, 0, 0, 8, 9)


@pytest.fixture
def written(tmp_path):
    """The shapes that are written for others, with new masks of the objects."""

    def write(text, *new):
        (tmp_path / "in.xml").write_text(text)
        results = read_results(tmp_path / "in.xml")
        segmentations = [None if mask is None else encode_rle(mask) for mask in new]
        write_results(results, segmentations, tmp_path / "out.xml")
        return list(ElementTree.parse(tmp_path / "out.xml").getroot().find("image"))

    return write


def kept(element):
    """All of an element but where its shapes lie."""
    attributes = {key: value for key, value in element.attrib.items() if key not in ("points", "group_id")}
    return element.tag, attributes, (element.text or "").strip(), [kept(child) for child in element]


def test_a_file_is_refined_to_a_file_with_the_same_objects(example, tmp_path):
    out = tmp_path / "out.xml"
    ran = run_bpr("refine", DATA, "-o", out, "--images", example.images, "--speed", "fast", "--quiet")
    assert ran.returncode == 0, ran.stderr
    assert "shapes that are neither polygons nor masks" in ran.stdout + ran.stderr
    before, after = read_results(DATA), read_results(out)
    assert before.count == after.count == 2
    assert before.categories == after.categories == {1: "goat", 2: "person"}
    for old, new in zip(before.images, after.images, strict=True):
        assert old.image == new.image
        for one, other in zip(old.instances, new.instances, strict=True):
            first, second = decode_mask(one, 480, 854), decode_mask(other, 480, 854)
            assert second.area > 0.5 * first.area
            assert not is_same(first, second)
    trees = [ElementTree.parse(path).getroot() for path in (DATA, out)]
    images = [[list(dict.fromkeys(str(kept(shape)) for shape in image)) for image in t.iter("image")] for t in trees]
    assert images[0] == images[1]
    for tree in trees:
        for image in tree.findall("image"):
            tree.remove(image)
    assert kept(trees[0]) == kept(trees[1])


def test_datumaro_reads_what_is_written(example, tmp_path):
    datumaro = pytest.importorskip("datumaro")
    results = read_results(DATA)
    new = np.zeros((480, 854), np.uint8)
    new[100:200, 300:400] = 1
    (tmp_path / "out" / "images").mkdir(parents=True)
    for entry in results.images:
        shutil.copy(example.images / entry.image.file_name, tmp_path / "out" / "images")
    write_results(results, [encode_rle(crop_mask(new, 0, 0, 480, 854))] * 2, tmp_path / "out" / "a.xml")
    polygons = [
        annotation
        for item in datumaro.Dataset.import_from(str(tmp_path / "out"), "cvat")
        for annotation in item.annotations
        if annotation.type.name == "polygon"
    ]
    assert [round(polygon.get_area(), -2) for polygon in polygons] == [10_000, 10_000]
    assert all(polygon.attributes["pose"] == "running" for polygon in polygons)


def test_datumaro_reads_the_masks_that_are_written(example, tmp_path):
    datumaro = pytest.importorskip("datumaro")
    text = DATA.read_text().replace("</image>", MASK.replace("cat", "goat") + "</image>", 1)
    (tmp_path / "in.xml").write_text(text)
    results = read_results(tmp_path / "in.xml")
    new_HW = np.zeros((480, 854), np.uint8)
    new_HW[100:200, 300:400], new_HW[150, 350] = 1, 0
    (tmp_path / "out" / "images").mkdir(parents=True)
    for entry in results.images:
        shutil.copy(example.images / entry.image.file_name, tmp_path / "out" / "images")
    mask = encode_rle(crop_mask(new_HW, 0, 0, 480, 854))
    write_results(results, [None, mask, None], tmp_path / "out" / "a.xml")
    items = datumaro.Dataset.import_from(str(tmp_path / "out"), "cvat")
    (found,) = [a for item in items for a in item.annotations if a.type.name == "mask"]
    assert np.array_equal(found.image, new_HW)


def test_a_second_writing_does_not_know_of_the_first(tmp_path):
    results = read_results(DATA)
    new = np.zeros((480, 854), np.uint8)
    new[9:90, 9:90] = 1
    write_results(results, [encode_rle(crop_mask(new, 0, 0, 480, 854))] * 2, tmp_path / "out.xml")
    write_results(results, [None] * 2, tmp_path / "out.xml")
    assert (tmp_path / "out.xml").read_bytes().strip() == DATA.read_bytes().strip()


def test_a_file_whose_masks_stay_is_written_as_it_was(tmp_path):
    results = read_results(DATA)
    write_results(results, [None] * results.count, tmp_path / "out.xml")
    assert (tmp_path / "out.xml").read_bytes().strip() == DATA.read_bytes().strip()


def test_comments_stay(written, tmp_path):
    written(annotations(POLYGON.format("", "")), None)
    assert "<!-- kept -->" in (tmp_path / "out.xml").read_text()


def test_an_object_in_more_parts_is_more_shapes_of_one_group(written):
    text = annotations(POLYGON.format(' group_id="4"', ""), POLYGON.format("", ATTRIBUTE))
    first, *others = written(text, None, mask_of(np.s_[1:3, 1:3], np.s_[5:7, 5:8]))
    assert first.attrib["group_id"] == "4"
    assert [shape.attrib["group_id"] for shape in others] == ["5", "5"]
    old = ElementTree.fromstring(POLYGON.format("", ATTRIBUTE))
    assert [kept(shape) for shape in others] == [kept(old)] * 2


def test_shapes_of_one_label_and_group_are_one_object(written):
    shape = POLYGON.format(' group_id="1"', "")
    text = annotations(shape, shape.replace("cat", "dog"), shape, POLYGON.format(' group_id="0"', ""))
    after = written(text, mask_of(np.s_[1:3, 1:3]), None, None)
    assert [shape.attrib["label"] for shape in after] == ["cat", "dog", "cat"]


def test_a_mask_is_written_as_a_mask(written, tmp_path):
    new = mask_of(np.s_[2:7, 3:5], np.s_[0:1, 0:1])
    (shape,) = written(annotations(MASK), new)
    assert (shape.tag, shape.attrib["source"]) == ("mask", "manual")
    (old,) = read_results(tmp_path / "in.xml").images[0].instances
    (again,) = read_results(tmp_path / "out.xml").images[0].instances
    assert is_same(decode_mask(old, 8, 9), mask_of(np.s_[2:3, 6:7]))
    assert is_same(decode_mask(again, 8, 9), new)


@settings(deadline=None)
@given(masks())
def test_runs_are_the_mask(mask):
    attributes = mask_attributes(mask)
    again = Shapes((("mask", attributes),)).to_mask(mask.image_height, mask.image_width)
    assert is_same(again, mask)
    runs = [int(run) for run in attributes["rle"].split(", ")]
    assert sum(runs) == int(attributes["width"]) * int(attributes["height"])
    assert all(runs[1:])


def test_a_mask_that_became_empty_keeps_its_shape(written):
    with pytest.warns(InputWarning, match="became empty"):
        (shape,) = written(annotations(POLYGON.format("", "")), mask_of())
    assert shape.attrib == ElementTree.fromstring(POLYGON.format("", "")).attrib


@pytest.mark.parametrize(
    ("shape", "problem"),
    [
        (POLYGON.format("", "").replace("6.00,5.00", "6.00"), "are not x,y;x,y"),
        (POLYGON.format("", "").replace("6.00,5.00", "nan,2"), "not a finite number"),
        (MASK.replace('left="4"', 'left="8"'), "does not lie in the photo of 9x8"),
        (MASK.replace('left="4"', 'left="-1"'), "left, top, width and height are"),
        (MASK.replace("2, 1, 3", "2, 1"), "runs cover 3 pixels of 6"),
        (MASK.replace("2, 1, 3", "2, x"), "not a list of runs"),
    ],
)
def test_a_broken_shape_is_named(tmp_path, shape, problem):
    (tmp_path / "in.xml").write_text(annotations(POLYGON.format("", ""), shape))
    _, broken = read_results(tmp_path / "in.xml").images[0].instances
    with pytest.raises(InputError, match=f"image a.jpg, annotation 1: .*{problem}"):
        decode_mask(broken, 8, 9)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('<!DOCTYPE a [<!ENTITY b "cc">]><annotations>&b;</annotations>', "has a document type"),
        ("<annotations><image></annotations>", "not XML that can be read"),
        ("<annotations><track id='0'/></annotations>", "CVAT XML of a video"),
        ("<annotations><image id='1'/></annotations>", "an image has no name"),
        (annotations("<polygon points='1,2;3,4'/>"), "a polygon has no label"),
        ("<annotations>" + "<image id='1' name='a'/>" * 2 + "</annotations>", "the image is listed twice"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_file_that_cannot_be_used_is_refused(tmp_path, text, problem, encoding):
    (tmp_path / "in.xml").write_text(text, encoding=encoding)
    with pytest.raises(InputError, match=problem) as refused:
        read_results(tmp_path / "in.xml")
    assert refused.value.remedy
