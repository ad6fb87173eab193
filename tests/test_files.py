"""Outputs appear whole or not at all."""

from __future__ import annotations

import os
import pickle

import pytest

from bpr_cli.errors import InputError
from bpr_cli.files import ensure_folder, replacing


def test_a_failure_while_writing_leaves_the_former_file_and_nothing_else(tmp_path):
    path = tmp_path / "out.json"
    path.write_text("former")
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "former"
    assert os.listdir(tmp_path) == ["out.json"]


def test_success_replaces_the_file(tmp_path):
    path = tmp_path / "out.json"
    path.write_text("former")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "former"
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["out.json"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be made") as caught:
        ensure_folder(tmp_path / "file" / "out")
    assert str(tmp_path / "file" / "out") in str(caught.value)


def test_an_error_says_where_what_and_the_remedy():
    error = InputError("the size is wrong", file="r.json", image_id=7, index=3, remedy="Mend it")
    assert str(error) == "r.json, image 7, annotation 3: the size is wrong. Mend it."


def test_an_error_survives_the_way_back_from_a_worker_process():
    error = InputError("the size is wrong", file="r.json", image_id=7, index=3, remedy="Mend it")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
