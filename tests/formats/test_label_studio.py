"""Label Studio's export: refined, it is an export with the same tasks and results."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpr_cli.errors import InputError
from bpr_cli.formats import read_results, write_results
from bpr_cli.formats.brush_rle import decode_brush, encode_brush
from bpr_cli.formats.rle import BrokenSegmentationError, encode_rle
from bpr_cli.formats.segmentation import decode_mask
from bpr_cli.masks import crop_mask, is_same, to_frame
from bpr_cli.notices import InputWarning
from tests.conftest import run_bpr
from tests.formats.test_outlines import masks

DATA = Path(__file__).parents[1] / "data" / "formats" / "label_studio" / "export.json"
SIZE = {"original_width": 9, "original_height": 8, "image_rotation": 0, "to_name": "image"}
POLYGON = {
    **SIZE,
    "id": "p",
    "from_name": "label",
    "type": "polygonlabels",
    "value": {"points": [[0, 0], [100, 0], [100, 50]], "closed": True, "polygonlabels": ["cat"]},
}


def tasks(*results, image="a.jpg", **fields):
    return [{"id": 5, "data": {"image": image}, "annotations": [{"id": 1, "result": list(results), **fields}]}]


def mask_of(*parts):
    pixels_HW = np.zeros((8, 9), np.uint8)
    for part in parts:
        pixels_HW[part] = 1
    return crop_mask(pixels_HW, 0, 0, 8, 9)


def brush(mask):
    value = {"format": "rle", "rle": encode_brush(mask), "brushlabels": ["dog"]}
    return {**SIZE, "id": "b", "from_name": "brush", "type": "brushlabels", "value": value}


@pytest.fixture
def read(tmp_path):
    def read_document(document):
        (tmp_path / "in.json").write_text(json.dumps(document))
        return read_results(tmp_path / "in.json")

    return read_document


def kept(document):
    """All of an export but where its masks lie."""
    text = json.dumps(document)
    return json.loads(text, object_hook=lambda found: {**found, **{k: 0 for k in ("rle", "points") if k in found}})


def test_an_export_is_refined_to_an_export_with_the_same_results(example, tmp_path):
    out = tmp_path / "out.json"
    ran = run_bpr("refine", DATA, "-o", out, "--images", example.images, "--speed", "fast", "--quiet")
    assert ran.returncode == 0, ran.stderr
    before, after = json.loads(DATA.read_text()), json.loads(out.read_text())
    assert kept(before) == kept(after)
    old, new = read_results(DATA), read_results(out)
    assert old.categories == new.categories == {1: "goat", 2: "person"}
    assert old.count == 6
    assert [i.score for i in old.images[0].instances] == [None, None, 0.75]
    for one, other in zip(old.images, new.images, strict=True):
        assert one.image == other.image
        for first, second in zip(one.instances, other.instances, strict=True):
            masks_of = [decode_mask(instance, 480, 854) for instance in (first, second)]
            assert masks_of[1].area > 0.5 * masks_of[0].area
            assert not is_same(*masks_of)


@settings(deadline=None)
@given(masks())
def test_a_brush_is_the_mask(mask):
    assert is_same(decode_brush(encode_brush(mask), mask.image_height, mask.image_width), mask)


@settings(deadline=None, max_examples=40)
@given(masks())
def test_label_studio_packs_and_unpacks_the_same(mask):
    real = pytest.importorskip("label_studio_converter.brush")
    frame_HW = to_frame(mask)
    packed = encode_brush(mask)
    unpacked = real.decode_rle(packed).reshape(mask.image_height, mask.image_width, 4)
    assert np.array_equal(unpacked[..., 3] > 0, frame_HW > 0)
    assert np.array_equal(unpacked[..., 3], unpacked[..., 0])
    theirs = real.mask2rle(frame_HW * np.uint8(255))
    assert theirs[: len(packed)] == packed  # it ends with a byte more where none is needed
    assert is_same(decode_brush(theirs, mask.image_height, mask.image_width), mask)


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0, 1, 100, 255]))
def test_pictures_of_any_colours_are_unpacked(seed, opacity):
    """As an own, plain packer writes them: single values, runs of both kinds, sizes of counts of their own."""
    generator = np.random.default_rng(seed)
    values = generator.integers(0, 256, (4, 5, 4)).astype(np.uint8)
    values[..., 3] = opacity * generator.integers(0, 2, (4, 5))
    bits = f"{values.size:032b}{7:05b}" + "".join(f"{size - 1:04b}" for size in (2, 5, 1, 9))
    flat, place = values.ravel().tolist(), 0
    while place < len(flat):
        index = int(generator.integers(4))
        count = min(int(generator.integers(1, 1 + 2 ** (2, 5, 1, 9)[index])), len(flat) - place)
        same = len(set(flat[place : place + count])) == 1
        bits += f"{int(same)}{index:02b}{count - 1:0{(2, 5, 1, 9)[index]}b}"
        bits += "".join(f"{value:08b}" for value in flat[place : place + (1 if same else count)])
        place += count
    packed = [int(bits[start : start + 8].ljust(8, "0"), 2) for start in range(0, len(bits), 8)]
    assert np.array_equal(to_frame(decode_brush(packed, 4, 5)), values[..., 3] > 0)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda packed: packed[:-3], "ends too early"),
        (lambda packed: [*packed, 256], "not a list of bytes"),
        (lambda packed: [*packed[:3], packed[3] + 4, *packed[4:]], "4 times as many pixels"),
        (lambda packed: [*packed[:4], packed[4] ^ 0x80, *packed[5:]], "values of 24 bits"),
        (lambda packed: [], "ends too early"),
    ],
)
def test_broken_brushes_are_refused(change, problem):
    with pytest.raises(BrokenSegmentationError, match=problem):
        decode_brush(change(encode_brush(mask_of(np.s_[1:3, 1:3]))), 8, 9)


def test_a_polygon_in_percent_holds_all_parts_of_its_mask(read, tmp_path):
    results = read(tasks({"type": "choices", "value": {"choices": ["day"]}}, POLYGON))
    (instance,) = results.images[0].instances
    assert decode_mask(instance, 8, 9).box_xyxy == (1, 0, 9, 4)
    new = mask_of(np.s_[1:3, 1:3], np.s_[5:7, 5:8])
    write_results(results, [encode_rle(new)], tmp_path / "out.json")
    (again,) = read_results(tmp_path / "out.json").images[0].instances
    assert is_same(decode_mask(again, 8, 9), new)


def test_masks_that_became_empty_keep_their_polygon_or_are_empty_brushes(read, tmp_path):
    results = read(tasks(POLYGON, brush(mask_of(np.s_[1:3, 1:3]))))
    with pytest.warns(InputWarning, match="became empty"):
        write_results(results, [encode_rle(mask_of())] * 2, tmp_path / "out.json")
    first, second = json.loads((tmp_path / "out.json").read_text())[0]["annotations"][0]["result"]
    assert first == POLYGON
    assert decode_brush(second["value"]["rle"], 8, 9).area == 0


def test_results_on_turned_photos_stay_and_are_named(read):
    with pytest.warns(InputWarning, match="image_rotation"):
        assert read(tasks({**POLYGON, "image_rotation": 90}, POLYGON)).count == 1


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("/data/upload/3/0a1b2c3d-goat.jpg", "goat.jpg"),
        ("/data/local-files/?d=set/val%20one/goat.jpg", "set/val one/goat.jpg"),
        ("https://example.org/a/goat.jpg?X-Signature=1", "a/goat.jpg"),
        ("s3://bucket/a/goat.jpg", "a/goat.jpg"),
        ("goat.jpg", "goat.jpg"),
    ],
)
def test_a_photos_name_is_taken_from_whatever_names_it(read, image, name):
    assert read(tasks(POLYGON, image=image)).images[0].image.file_name == name


def test_an_upload_that_kept_its_prefix_is_found_by_it(read, tmp_path):
    (tmp_path / "0a1b2c3d-goat.jpg").write_bytes(b"")
    results = read(tasks(POLYGON, image="/data/upload/3/0a1b2c3d-goat.jpg"))
    assert results.images[0].image.file_name == "0a1b2c3d-goat.jpg"


def test_tasks_without_photos_or_with_one_for_two_are_refused(read):
    with pytest.raises(InputError, match="the data of task 0 name no photo"):
        read(tasks(POLYGON, image="some text"))
    with pytest.raises(InputError, match=r"two tasks have the photo a.jpg"):
        read(tasks(POLYGON) * 2)


def test_a_broken_polygon_is_named(read):
    (instance,) = read(tasks({**POLYGON, "value": {"points": [[1, 2], [3]]}})).images[0].instances
    with pytest.raises(InputError, match=r"image a.jpg, annotation 0: the polygon's points are not"):
        decode_mask(instance, 8, 9)
