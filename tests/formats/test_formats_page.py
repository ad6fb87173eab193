"""The page that describes the formats tells the truth."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bpr_cli.errors import InputError
from bpr_cli.formats import read_results, write_results
from bpr_cli.formats.records import Instance
from bpr_cli.formats.rle import encode_rle
from bpr_cli.formats.segmentation import decode_mask
from bpr_cli.masks import bbox_xywh, to_frame

PAGE = (Path(__file__).parents[2] / "examples" / "FORMATS.md").read_text(encoding="utf-8")
FILES = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)


def records_of(document):
    return document if isinstance(document, list) else document["annotations"]


def decode(segmentation):
    return decode_mask(Instance(0, 139, segmentation, 1, None, False, {}, Path("in.json")), 6, 8)


@pytest.mark.parametrize(("before", "after"), [(FILES[0], FILES[1]), (FILES[2], FILES[3])], ids=["list", "dataset"])
def test_each_input_of_the_page_is_read_and_its_output_is_what_is_written(tmp_path, before, after):
    (tmp_path / "in.json").write_text(before)
    expected = json.loads(after)
    new = [encode_rle(decode(record["segmentation"])) for record in records_of(expected)]
    write_results(read_results(tmp_path / "in.json"), new, tmp_path / "out.json")
    assert json.loads((tmp_path / "out.json").read_text()) == expected


def test_the_three_segmentations_of_the_page_are_one_mask():
    forms = [
        json.loads(text) for text in re.findall(r"^\| (?:compressed RLE|plain RLE|polygons) \| `(.*?)`", PAGE, re.M)
    ]
    expected = np.zeros((6, 8), np.uint8)
    expected[1:4, 2:6] = 1
    assert len(forms) == 3
    for form in forms:
        assert np.array_equal(to_frame(decode(form)), expected)


def test_the_panoptic_file_of_the_page_is_read(tmp_path):
    ids = np.full((6, 8), 70_000)
    ids[1:4, 2:6] = 7
    (tmp_path / "panoptic").mkdir()
    rgb = np.stack([ids % 256, ids // 256 % 256, ids // 65_536], axis=-1).astype(np.uint8)
    Image.fromarray(rgb).save(tmp_path / "panoptic" / "street.png")
    (tmp_path / "panoptic.json").write_text(FILES[4])
    results = read_results(tmp_path / "panoptic.json")
    masks = [decode_mask(instance, 6, 8) for instance in results.images[0].instances]
    stated = json.loads(FILES[4])["annotations"][0]["segments_info"]
    assert [mask.area for mask in masks] == [segment["area"] for segment in stated]
    assert [bbox_xywh(mask) for mask in masks] == [segment["bbox"] for segment in stated]


def test_the_error_of_the_page_is_the_one_that_is_raised():
    broken = {"size": [6, 8], "counts": [47]}
    with pytest.raises(InputError) as caught:
        decode_mask(Instance(3, 139, broken, 1, None, False, {}, Path("results.json")), 6, 8)
    assert f"`{caught.value}`" in PAGE
