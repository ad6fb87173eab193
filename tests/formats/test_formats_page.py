"""The page that describes the formats tells the truth."""

from __future__ import annotations

import json
import pickle
import re
import subprocess
import sys
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


@pytest.mark.parametrize(
    ("heading", "name"),
    [
        ("YOLO", "labels/street.txt"),
        ("labelme", "street.json"),
        ("CVAT", "annotations.xml"),
        ("Label Studio", "export.json"),
        ("Segment Anything", "masks.json"),
    ],
)
def test_each_other_input_of_the_page_is_read_and_its_output_is_what_is_written(tmp_path, heading, name):
    (section,) = re.findall(rf"^## {heading}\n(.*?)^## ", PAGE, re.DOTALL | re.M)
    before, after = re.findall(r"```(?:json|xml|text)\n(.*?)```", section, re.DOTALL)
    paths = {}
    for place, text in (("in", before), ("expected", after)):
        file = tmp_path / place / name
        file.parent.mkdir(parents=True)
        file.write_text(text)
        paths[place] = file.parent if file.suffix == ".txt" else file
    expected = read_results(paths["expected"])
    new = [encode_rle(decode(instance.segmentation)) for entry in expected.images for instance in entry.instances]
    out = tmp_path / "out" if paths["in"].is_dir() else tmp_path / name
    write_results(read_results(paths["in"]), new, out)
    written = (out / Path(name).name if out.is_dir() else out).read_text()
    if name.endswith(".json"):
        assert json.loads(written) == json.loads(after)
    else:
        assert written == after


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


def test_the_line_of_the_page_turns_a_pickle_of_mmdetection_into_results(tmp_path):
    """Made as its DumpDetResults writes them, but for tensors in the place of arrays."""
    rle = {"size": [6, 8], "counts": b"=3300000;"}
    instances = {"masks": [rle], "labels": np.array([2]), "scores": np.array([0.75], np.float32)}
    (tmp_path / "results.pkl").write_bytes(pickle.dumps([{"img_id": 139, "pred_instances": instances}]))
    (code,) = re.findall(r'python -c "(.*)"', PAGE)
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    (entry,) = read_results(tmp_path / "results.json").images
    assert (entry.image.id, entry.instances[0].category_id, entry.instances[0].score) == (139, 2, 0.75)
    assert decode(entry.instances[0].segmentation).area == 12
