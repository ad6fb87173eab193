"""COCO JSON as other tools write it, and outputs that must not hurt an input."""

from __future__ import annotations

import json

import numpy as np
import pytest

from bpr_cli.errors import InputError
from bpr_cli.formats import read_results, write_results
from bpr_cli.formats.rle import encode_rle
from bpr_cli.masks import crop_mask

MASK = encode_rle(crop_mask(np.eye(10, 12), 0, 0, 10, 12))
RECORD = {"image_id": 139, "category_id": 1, "score": 0.5, "segmentation": MASK}


def read_text(tmp_path, text, encoding="utf-8"):
    (tmp_path / "in.json").write_text(text, encoding=encoding)
    return read_results(tmp_path / "in.json")


def read_refused(tmp_path, text, says):
    with pytest.raises(InputError, match=says) as caught:
        read_text(tmp_path, text)
    assert "in.json" in str(caught.value)
    assert caught.value.remedy


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_the_encodings_of_windows_are_read(tmp_path, encoding):
    assert read_text(tmp_path, json.dumps([RECORD]), encoding).count == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (" \n", "the file is empty"),
        ("[" * 100_000, "not JSON that can be read"),
        ('{"images": []}', "no annotations"),
        ('{"annotations": []}', "found an object with annotations"),
        ("{}", "found an object with nothing in it"),
    ],
)
def test_what_is_no_results_file_is_refused(tmp_path, text, says):
    read_refused(tmp_path, text, says)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"segmentation": None}, "image 139, annotation 1: there is no segmentation"),
        ({"score": float("inf")}, "image 139, annotation 1: the score is inf"),
        ({"score": True}, "image 139, annotation 1: the score is True"),
        ({"iscrowd": "yes"}, "image 139, annotation 1: iscrowd is 'yes'"),
        ({"image_id": None}, "annotation 1: its image_id is null"),
        ({"image_id": float("nan")}, "annotation 1: its image_id is nan"),
        ({"image_id": [139]}, "annotation 1: its image_id is"),
    ],
)
def test_a_field_that_makes_no_sense_is_refused_with_its_place(tmp_path, changes, says):
    read_refused(tmp_path, json.dumps([RECORD, {**RECORD, **changes}]), says)


def test_a_score_that_no_float_holds_is_refused(tmp_path):
    read_refused(tmp_path, json.dumps([{**RECORD, "score": 10**400}]), "annotation 0: the score is 1000")


def test_an_id_that_a_table_turned_into_a_float_is_that_integer_and_is_written_as_it_was(tmp_path):
    results = read_text(tmp_path, json.dumps([{**RECORD, "image_id": 139.0}, RECORD]))
    assert [entry.image.id for entry in results.images] == [139]
    write_results(results, [None, None], tmp_path / "out.json")
    assert '"image_id": 139.0' in (tmp_path / "out.json").read_text()


def test_a_record_without_a_new_mask_is_written_exactly_as_it_was(tmp_path):
    record = {**RECORD, "segmentation": [[1, 2.50, 3, 4, 5, 6]], "bbox": None, "area": -1, "note": "\u00e9\u4e2d"}
    results = read_text(tmp_path, json.dumps([record]))
    write_results(results, [None], tmp_path / "out.json")
    assert json.loads((tmp_path / "out.json").read_text(encoding="utf-8")) == [record]


@pytest.mark.parametrize("way", ["path", "relative", "symlink", "hard link"])
def test_the_input_is_never_replaced(tmp_path, way, monkeypatch):
    results = read_text(tmp_path, json.dumps([RECORD]))
    out = tmp_path / "in.json"
    if way == "relative":
        (tmp_path / "sub").mkdir()
        out = tmp_path / "sub" / ".." / "in.json"
    elif way != "path":
        out = tmp_path / "out.json"
        try:
            out.symlink_to(results.path) if way == "symlink" else out.hardlink_to(results.path)
        except OSError:
            pytest.skip("no links here")
    before = results.path.read_bytes()
    with pytest.raises(InputError, match="the output is the input itself"):
        write_results(results, [MASK], out)
    assert results.path.read_bytes() == before


def test_a_failed_write_leaves_the_former_output_and_nothing_else(tmp_path):
    results = read_text(tmp_path, json.dumps([RECORD]))
    (tmp_path / "out.json").write_text("former")
    with pytest.raises(TypeError):
        write_results(results, [{"size": [10, 12], "counts": object()}], tmp_path / "out.json")
    assert (tmp_path / "out.json").read_text() == "former"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.json", "out.json"]


def test_writing_leaves_the_document_that_was_read_alone(tmp_path):
    results = read_text(tmp_path, json.dumps([{**RECORD, "bbox": [0, 0, 1, 1], "area": 1}]))
    write_results(results, [MASK], tmp_path / "out.json")
    assert results.source.document[0]["bbox"] == [0, 0, 1, 1]
    assert json.loads((tmp_path / "out.json").read_text())[0]["bbox"] == [0.0, 0.0, 10.0, 10.0]
