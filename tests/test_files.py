"""Outputs appear whole or not at all."""

from __future__ import annotations

import errno
import os
import pickle
import sys
from pathlib import Path

import pytest

from bpr_cli.errors import InputError
from bpr_cli.files import as_path, as_paths, ensure_folder, fingerprint, remove_leftover, replacing

posix = pytest.mark.skipif(sys.platform == "win32", reason="locks and modes are POSIX")


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


def killed_while_writing(path, text="half of a longer text"):
    """What a process that was killed while it wrote `path` leaves."""
    child = os.fork()
    if child == 0:
        with replacing(path) as temporary:
            temporary.write_text(text)
            os._exit(9)
    os.waitpid(child, 0)


@posix
def test_what_a_killed_process_left_is_gone_after_the_next_writing(tmp_path):
    path = tmp_path / "out.json"
    killed_while_writing(path)
    assert [name.endswith(".part") for name in os.listdir(tmp_path)] == [True]
    with replacing(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["out.json"]


@posix
def test_what_a_killed_process_left_can_be_removed_and_no_other_file_is(tmp_path):
    path = tmp_path / "out.json"
    killed_while_writing(path)
    (tmp_path / ".out.json.part").write_text("another's")
    (tmp_path / ".other.json.0.part").write_text("another's")
    remove_leftover(path)
    assert sorted(os.listdir(tmp_path)) == [".other.json.0.part", ".out.json.part"]


@posix
def test_two_that_write_the_same_output_do_not_touch_each_others_temporary_file(tmp_path):
    path = tmp_path / "out.json"
    with replacing(path) as first:
        first.write_text("first")
        with replacing(path) as second:
            assert second != first
            second.write_text("second")
            remove_leftover(path)
            assert first.read_text() == "first"
        assert path.read_text() == "second"
    assert path.read_text() == "first"
    assert os.listdir(tmp_path) == ["out.json"]


@posix
def test_a_link_in_the_temporary_files_place_is_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / ".out.json.0.part").symlink_to(victim)
    with replacing(tmp_path / "out.json") as temporary:
        temporary.write_text("new")
    assert victim.read_text() == "precious"
    assert (tmp_path / "out.json").read_text() == "new"


@posix
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o007, 0o660), (0o077, 0o600)])
def test_the_mode_follows_the_umask_even_if_the_writer_makes_a_file_of_its_own(tmp_path, umask, mode):
    def plainly(temporary):
        temporary.write_text("new")

    def privately(temporary):
        temporary.unlink()
        os.close(os.open(temporary, os.O_CREAT | os.O_RDWR, 0o600))

    former = os.umask(umask)
    try:
        for write in (plainly, privately):
            with replacing(tmp_path / "out.json") as temporary:
                write(temporary)
            assert (tmp_path / "out.json").stat().st_mode & 0o777 == mode
    finally:
        os.umask(former)


@posix
def test_file_and_folder_are_flushed_to_the_disk_before_and_after_the_move(tmp_path, monkeypatch):
    flushed, path = [], tmp_path / "out.json"

    def flush(descriptor):
        flushed.append((os.fstat(descriptor).st_ino, path.exists()))

    monkeypatch.setattr(os, "fsync", flush)
    with replacing(path) as temporary:
        temporary.write_text("new")
    assert flushed == [(path.stat().st_ino, False), (tmp_path.stat().st_ino, True)]


def test_a_full_disk_is_told_of_the_output_and_other_faults_of_their_own_file(tmp_path):
    with pytest.raises(OSError, match=r"out\.json") as caught, replacing(tmp_path / "out.json"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert caught.value.errno == errno.ENOSPC
    with pytest.raises(FileNotFoundError, match="absent"), replacing(tmp_path / "out.json"):
        (tmp_path / "absent").read_text()


def test_a_fingerprint_tells_files_and_folders_of_other_content(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.png").write_bytes(b"one")
    whole, file = fingerprint(tmp_path / "a"), fingerprint(tmp_path / "a" / "1.png")
    assert whole.size == file.size == 3
    (tmp_path / "a" / "1.png").write_bytes(b"two")
    assert fingerprint(tmp_path / "a") != whole
    assert fingerprint(tmp_path / "a" / "1.png") != file
    (tmp_path / "a" / "1.png").write_bytes(b"one")
    assert fingerprint(tmp_path / "a") == whole
    (tmp_path / "a" / "1.png").rename(tmp_path / "a" / "2.png")
    assert fingerprint(tmp_path / "a") != whole


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


def test_paths_are_taken_as_str_and_path_and_nothing_else():
    assert as_path("a/b", "images") == as_path(Path("a/b"), "images") == Path("a/b")
    assert as_paths("a", "masks") == as_paths(["a"], "masks") == as_paths((Path("a"),), "masks") == [Path("a")]
    for value in (None, 3, b"a", "", "a\0b"):
        with pytest.raises(InputError, match=r"images is .*, not a path"):
            as_path(value, "images")
        with pytest.raises(InputError, match=r"masks is .*, not a"):
            as_paths(value if value is None or value == 3 else [value], "masks")


def test_names_with_line_breaks_and_escapes_stay_one_plain_line():
    error = InputError("no file for a\nb\x1b[31m\ud800.jpg", image_id="i" * 500)
    assert "\n" not in str(error)
    assert "a\\nb\\x1b[31m\\ud800.jpg" in str(error)
    assert len(str(error)) < 150


def test_a_folder_in_a_files_place_is_named_before_anything_is_written(tmp_path):
    (tmp_path / "out.json").mkdir()
    with pytest.raises(InputError, match="a folder is there") as caught, replacing(tmp_path / "out.json"):
        pytest.fail("it was to be written")
    assert caught.value.file == tmp_path / "out.json"
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]
