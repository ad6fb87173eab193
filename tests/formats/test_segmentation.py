"""From what a file writes to pixels."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco_mask

from bpr_cli.errors import InputError
from bpr_cli.formats import read_results
from bpr_cli.formats.records import Instance
from bpr_cli.formats.rle import encode_rle
from bpr_cli.formats.segmentation import decode_mask
from bpr_cli.masks import crop_mask, to_frame

SOURCE = Path("results.json")
quick = settings(max_examples=150, deadline=None)


def instance_of(segmentation, source=SOURCE):
    return Instance(3, 139, segmentation, 1, 0.5, False, {}, source)


def pixels_of(segmentation, height, width):
    return to_frame(decode_mask(instance_of(segmentation), height, width))


def refusal_of(segmentation, height=10, width=12):
    with pytest.raises(InputError) as refused:
        decode_mask(instance_of(segmentation), height, width)
    assert str(refused.value).startswith("results.json, image 139, annotation 3: ")
    assert refused.value.remedy
    return str(refused.value)


@st.composite
def frames(draw):
    """Masks with few and with many runs, up to 40x40."""
    height, width = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    frame = (random.random((height, width)) < draw(st.sampled_from([0, 0.02, 0.5, 0.98, 1]))).astype(np.uint8)
    block = draw(st.integers(1, 8))
    return np.ascontiguousarray(frame.repeat(block, 0).repeat(block, 1)[:height, :width])


def plain_counts(frame):
    """Uncompressed COCO counts, the slow and sure way."""
    counts, value = [0], 0
    for pixel in frame.T.ravel():
        if pixel != value:
            counts.append(0)
            value = pixel
        counts[-1] += 1
    return counts


def runs_written(counts):
    """Runs of a compressed string as the format defines them; None where the string ends within a number."""
    runs, position = [], 0
    while position < len(counts):
        number = shift = 0
        more = True
        while more:
            if position == len(counts):
                return None
            code = ord(counts[position]) - 48
            number |= (code & 31) << shift
            more, shift, position = bool(code & 32), shift + 5, position + 1
        if code & 16:
            number -= 1 << shift
        runs.append(number + (runs[-2] if len(runs) > 2 else 0))
    return runs


@quick
@given(frames())
def test_a_mask_comes_back_from_a_results_file_as_it_went_in(tmp_path_factory, frame):
    path = tmp_path_factory.mktemp("round") / "results.json"
    rle = encode_rle(crop_mask(frame, 0, 0, *frame.shape))
    path.write_text(json.dumps([{"image_id": 1, "category_id": 1, "score": 1.0, "segmentation": rle}]))
    ((instance,),) = (entry.instances for entry in read_results(path).images)
    assert np.array_equal(to_frame(decode_mask(instance, *frame.shape)), frame)


@quick
@given(frames())
def test_compressed_and_plain_rle_are_what_pycocotools_says(frame):
    compressed = coco_mask.encode(np.asfortranarray(frame))
    plain = {"size": list(frame.shape), "counts": plain_counts(frame)}
    as_text = {**compressed, "counts": compressed["counts"].decode()}
    for segmentation in (compressed, as_text, plain):
        assert np.array_equal(pixels_of(segmentation, *frame.shape), coco_mask.decode(compressed))


@quick
@given(frames(), st.data())
def test_runs_of_length_zero_change_nothing(frame, data):
    counts = plain_counts(frame)
    for _ in range(3):
        at = data.draw(st.integers(0, len(counts)))
        counts[at:at] = [0, 0] if at < len(counts) else [0]
    mask = decode_mask(instance_of({"size": list(frame.shape), "counts": counts}), *frame.shape)
    assert np.array_equal(to_frame(mask), frame)
    tight = crop_mask(frame, 0, 0, *frame.shape)
    assert mask.box_xyxy == tight.box_xyxy


counts_like = st.one_of(
    st.text(max_size=12),
    st.text(st.characters(min_codepoint=40, max_codepoint=120), max_size=12),
    st.lists(st.integers(0, 63).map(lambda code: chr(code + 48)), max_size=8).map("".join),
)


@settings(max_examples=500, deadline=None)
@given(frames(), counts_like, st.integers(0, 100), st.integers(0, 3))
def test_fuzzed_counts_are_refused_or_mean_what_the_format_says(frame, noise, at, dropped):
    height, width = frame.shape
    whole = coco_mask.encode(np.asfortranarray(frame))["counts"].decode()
    at %= len(whole) + 1
    for counts in (noise, whole[:at] + noise + whole[at + dropped :], whole[:at]):
        try:
            pixels = pixels_of({"size": [height, width], "counts": counts}, height, width)
        except InputError:
            continue
        runs = runs_written(counts)
        assert runs is not None
        assert min(runs) >= 0
        assert sum(runs) == height * width
        values = np.arange(len(runs)) % 2
        assert np.array_equal(pixels, np.repeat(values, runs).reshape(width, height).T)


@quick
@given(st.lists(st.lists(st.floats(-50, 450, width=32), min_size=6, max_size=6), min_size=1, max_size=3))
def test_polygons_are_what_pycocotools_says(polygons):
    assume(max(map(max, polygons)) > 2)  # less are fractions
    expected = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(polygons, 30, 40)))
    assert np.array_equal(pixels_of(polygons, 30, 40), expected)


def test_polygons_far_outside_the_image_are_cut_at_its_border_or_refused_never_bent():
    triangle = [[0, 0, 5000, 2500, 0, 2500]]
    expected = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(triangle, 30, 40)))
    assert np.array_equal(pixels_of(triangle, 30, 40), expected)
    assert "far outside any image" in refusal_of([[-1e9, -1e9, 1e9, -1e9, 1e9, 1e9, -1e9, 1e9]])
    assert "not a finite number" in refusal_of([[10**400, 1, 10**400, 5, 10**400, 9]])
    assert "outline is more than" in refusal_of([[0, 0, 1e7, 5, 0, 9]])  # memory without end in pycocotools


@pytest.mark.parametrize(
    ("segmentation", "says"),
    [
        ({"size": [12, 10], "counts": [120]}, "size [12, 10] is not the image's [10, 12]"),
        ({"size": [-10, 12], "counts": [120]}, "size is [-10, 12]"),
        ({"size": [10**40, 12], "counts": [120]}, "is not the image's"),
        ({"size": [10.5, 12], "counts": [120]}, "size is [10.5, 12]"),
        ({"size": 10, "counts": [120]}, "size is 10"),
        ({"counts": [120]}, "size is null"),
        ({"size": [10, 12]}, "counts are null"),
        ({"size": [10, 12], "counts": [100]}, "cover 100 pixels of 120"),
        ({"size": [10, 12], "counts": []}, "cover 0 pixels of 120"),
        ({"size": [10, 12], "counts": ""}, "cover 0 pixels of 120"),
        ({"size": [10, 12], "counts": [100, -10, 30]}, "negative run"),
        ({"size": [10, 12], "counts": [100, 20.0]}, "not all integers"),
        ({"size": [10, 12], "counts": [100, True, 19]}, "not all integers"),
        ({"size": [10, 12], "counts": [10**30]}, "absurd length"),
        ({"size": [10, 12], "counts": [2**62] * 4 + [120]}, "a run of"),
        ({"size": [10, 12], "counts": "€"}, "ASCII"),
        ({"size": [10, 12], "counts": b"\xff\x00"}, "malformed"),
        ({"size": [10, 12], "counts": "h"}, "malformed"),  # the last character says that more follow
        ({"size": [10, 12], "counts": "o" * 30 + "0"}, "malformed"),  # a number of 155 bits
        ([], "empty"),
        ([[]], "polygon 0 is not"),
        ([1, 2, 3, 4, 5, 6], "polygon 0 is not"),
        ([[1, 2, 3, 4, 5, 6, 7]], "polygon 0 is not"),
        ([[1, 2, 3, 4, 5, 6], [1, 2, 3, 4]], "polygon 1 is not"),
        ([[1, 2, 3, 4, 5, float("nan")]], "polygon 0 has a coordinate"),
        ([[1, 2, 3, 4, 5, float("inf")]], "polygon 0 has a coordinate"),
        ([[1, 2, 3, 4, 5, "6"]], "polygon 0 has a coordinate"),
        ([[1, 2, 3, 4, 5, None]], "polygon 0 has a coordinate"),
        ([{"x": 1}], "polygon 0 is not"),
        (None, "segmentation is null"),
        ("mask.png", "segmentation is 'mask.png' (a string)"),
    ],
)
def test_a_broken_segmentation_is_refused_with_its_place_and_a_remedy(segmentation, says):
    assert says in refusal_of(segmentation)


def test_an_image_too_large_for_pycocotools_is_refused():
    assert "too large" in refusal_of({"size": [100_000, 100_000], "counts": [10**10]}, 100_000, 100_000)


BLOB = np.zeros((10, 12), np.uint8)
BLOB[2:5, 3:9] = 1


def rgba(colour_HW, alpha_HW):
    return Image.fromarray(np.dstack([colour_HW] * 3 + [alpha_HW]).astype(np.uint8))


def palette(colours, indices_HW):
    image = Image.fromarray(indices_HW.astype(np.uint8)).convert("P")
    image.putdata(indices_HW.ravel().tolist())
    image.putpalette(colours)
    return image


PICTURES = {
    "0 and 1": Image.fromarray(BLOB),
    "0 and 255": Image.fromarray(BLOB * 255),
    "one bit": Image.fromarray(BLOB * 255).convert("1"),
    "16 bits": Image.fromarray(BLOB.astype(np.uint16) * 300),
    "colours": Image.fromarray(np.dstack([BLOB * 0, BLOB * 9, BLOB * 0])),
    "opaque": rgba(BLOB * 255, BLOB * 0 + 255),
    "grey, opaque": rgba(BLOB * 255, BLOB * 0 + 255).convert("LA"),
    "a cut-out": rgba(np.arange(120).reshape(10, 12), BLOB * 255),
    "alpha alone": rgba(BLOB * 0, BLOB * 255),
    "palette, 0 black": palette([0, 0, 0, 128, 0, 0], BLOB),
    "palette, 0 white": palette([255, 255, 255, 0, 0, 0], 1 - BLOB),
    "palette without black": palette([90, 90, 90, 128, 0, 0], BLOB),
}


@pytest.mark.parametrize("form", PICTURES)
def test_mask_images_of_all_kinds_give_one_mask(tmp_path, form):
    PICTURES[form].save(tmp_path / "mask.png")
    assert np.array_equal(pixels_of(tmp_path / "mask.png", 10, 12), BLOB)


def test_the_ripples_of_a_jpeg_are_no_foreground(tmp_path):
    Image.fromarray(BLOB.repeat(8, 0).repeat(8, 1) * 255).save(tmp_path / "mask.jpg", quality=60)
    assert np.array_equal(pixels_of(tmp_path / "mask.jpg", 80, 96), BLOB.repeat(8, 0).repeat(8, 1))


def test_a_mask_image_that_cannot_be_used_is_refused(tmp_path):
    Image.fromarray(BLOB.repeat(40, 0).repeat(40, 1)).save(tmp_path / "mask.png")
    assert "mask.png is 480x400, the photo 12x10" in refusal_of(tmp_path / "mask.png")
    whole = (tmp_path / "mask.png").read_bytes()
    for data in (whole[: len(whole) // 2], b"", b"no image"):
        (tmp_path / "mask.png").write_bytes(data)
        assert "mask.png cannot be read" in refusal_of(tmp_path / "mask.png")
    assert "none.png cannot be read" in refusal_of(tmp_path / "none.png")
