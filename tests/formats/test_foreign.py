"""Files of other tools are called by their name, with a way out."""

from __future__ import annotations

import bz2
import io
import json
import lzma
import pickle
import re
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from PIL import Image

from bpr_cli.errors import InputError
from bpr_cli.formats import read_results

BOX = {"image_id": 1, "category_id": 1, "score": 0.5, "bbox": [1, 2, 3, 4]}
POLYGON = [[1, 2, 30, 4, 5, 60]]
RESULT = {**BOX, "segmentation": POLYGON}


def saved_by(save):
    stream = io.BytesIO()
    save(stream)
    return stream.getvalue()


def zipped(name):
    def save(stream):
        with zipfile.ZipFile(stream, "w") as archive:
            archive.writestr(name, "[]")

    return saved_by(save)


BYTES = {
    "bzip2": bz2.compress(b"[]"),
    "xz": lzma.compress(b"[]"),
    "ZIP": zipped("results.json"),
    "PyTorch": zipped("archive/data.pkl"),
    "NumPy array": saved_by(lambda stream: np.save(stream, np.zeros(3))),
    "arrays": saved_by(lambda stream: np.savez(stream, masks=np.zeros(3))),
    "pickle": pickle.dumps([RESULT]),
    "PNG": saved_by(lambda stream: Image.new("L", (3, 3)).save(stream, "PNG")),
    "JPEG": saved_by(lambda stream: Image.new("L", (3, 3)).save(stream, "JPEG")),
    "safetensors": (20).to_bytes(8, "little") + b'{"w": 1}',
    "Git LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n",
    "HTML": b"\n<!DOCTYPE html><html><body>Sign in</body></html>",
    "an XML file": b'<?xml version="1.0"?>\n<gpx><trk/></gpx>',
    "VOC XML": b"<annotation><folder>JPEGImages</folder></annotation>",
    "one text file of YOLO's segmentations": b"0 0.61 0.38 0.59 0.36 0.57 0.36\n2 0.1 0.2 0.3 0.4 0.5 0.6\n",
    "YOLO's text form of boxes": b"0 0.5 0.5 0.25 0.1\n1 0.2 0.2 0.1 0.1\n",
    "Cityscapes results": b"frankfurt_000000_000294_0.png 26 0.98\n",
    "CSV": b"ImageId,EncodedPixels\n0001.jpg,1 3 10 5\n",
    "printed Python": repr([RESULT]).encode(),
    "YAML": b"names:\n  0: cat\n",
}


@pytest.mark.parametrize("name", BYTES)
def test_a_file_that_is_not_json_is_called_by_its_name(tmp_path, name):
    path = tmp_path / "results.json"
    path.write_bytes(BYTES[name])
    with pytest.raises(InputError, match=f"this is .*{name}") as refused:
        read_results(path)
    assert refused.value.remedy


def test_the_line_that_turns_a_pickle_into_json_does(tmp_path):
    rle = {"size": [6, 8], "counts": b"=3300000;"}
    (tmp_path / "results.pkl").write_bytes(pickle.dumps([{**BOX, "segmentation": rle}]))
    with pytest.raises(InputError) as refused:
        read_results(tmp_path / "results.pkl")
    (code,) = re.findall(r'python -c "(.*)"', refused.value.remedy)
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    assert read_results(tmp_path / "results.json").count == 1


DOCUMENTS = {
    "panoptic": [{"image_id": 1, "file_name": "1.png", "segments_info": []}],
    "keypoints": {"images": [{"id": 1}], "annotations": [{**BOX, "keypoints": [1, 2, 2]}]},
    "captions": {"images": [{"id": 1}], "annotations": [{"image_id": 1, "caption": "a cat"}]},
    "boxes without masks": [BOX, {**BOX, "segmentation": None}],
    "YouTube-VIS": {"videos": [], "annotations": [], "categories": []},
    "YouTube-VIS results": [{"video_id": 1, "segmentations": []}],
    "JSON-MIN": [{"id": 1, "image": "a.jpg", "label": [], "annotator": 1, "annotation_id": 1}],
    "one task of Label Studio": {"id": 1, "data": {"image": "a.jpg"}, "annotations": []},
    "GeoJSON": {"type": "FeatureCollection", "features": []},
    "VGG Image Annotator": {"a.jpg123": {"filename": "a.jpg", "size": 123, "regions": []}},
    "BDD100K": [{"name": "a.jpg", "labels": []}],
    "Datumaro": {"info": {}, "categories": {}, "items": []},
    "one image": {"labels": [1], "scores": [0.5], "bboxes": [[1, 2, 3, 4]], "masks": []},
    "one result": RESULT,
    r"within an object \(predictions\)": {"predictions": [RESULT]},
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_json_of_another_tool_is_called_by_its_name(tmp_path, name):
    (tmp_path / "results.json").write_text(json.dumps(DOCUMENTS[name]))
    with pytest.raises(InputError, match=f"this is .*{name}") as refused:
        read_results(tmp_path / "results.json")
    assert refused.value.remedy


@pytest.mark.parametrize(
    ("file_name", "text", "name"),
    [
        ("a.xml", "<annotations><version>1.1</version></annotations>", "CVAT XML"),
        ("instances.json", json.dumps({"images": [], "annotations": []}), "the JSON file instances.json"),
    ],
)
def test_a_folder_of_another_tool_is_called_by_its_name(tmp_path, file_name, text, name):
    path = tmp_path / "folder" / file_name
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(InputError, match=f"this is a folder with .*{name}"):
        read_results(tmp_path / "folder")


def test_fields_of_other_tools_in_results_do_not_make_them_foreign(tmp_path):
    records = [{**RESULT, "keypoints": [1], "segments_info": [], "predicted_iou": 0.9, "data": 1, "caption": "a"}, BOX]
    (tmp_path / "results.json").write_text(json.dumps(records[:1]))
    assert read_results(tmp_path / "results.json").count == 1
    (tmp_path / "results.json").write_text(json.dumps(records))
    with pytest.raises(InputError, match="annotation 1: there is no segmentation"):
        read_results(tmp_path / "results.json")


@pytest.mark.parametrize("cut", range(0, 60, 7))
def test_a_broken_file_of_ours_is_not_taken_for_another_tools(tmp_path, cut):
    text = json.dumps([RESULT, RESULT], indent=1)
    (tmp_path / "results.json").write_text(text[: len(text) - 1 - cut])
    with pytest.raises(InputError, match="not valid JSON"):
        read_results(tmp_path / "results.json")
