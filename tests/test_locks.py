"""Locks: one holder at a time, and none after its death."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import contextmanager

from bpr_cli import locks
from bpr_cli.locks import holding, remove_leftovers, temporary_folder

HOLD = "import sys\nfrom pathlib import Path\nfrom bpr_cli.locks import holding\n"


def test_a_lock_has_one_holder_at_a_time(tmp_path):
    with holding(tmp_path / "lock") as first, holding(tmp_path / "lock") as second:
        assert (first, second) == (True, False)
    with holding(tmp_path / "lock") as later:
        assert later


def test_a_killed_process_leaves_its_lock_to_the_next(tmp_path):
    script = HOLD + "with holding(Path(sys.argv[1])) as held:\n    print(held, flush=True)\n    sys.stdin.read()\n"
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "lock")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        with holding(tmp_path / "lock") as held:
            assert held is False
        process.kill()
        process.wait()
    with holding(tmp_path / "lock") as held:
        assert held


def test_a_temporary_folder_is_gone_at_the_end_and_what_was_left_before(tmp_path):
    (tmp_path / ".work-left").mkdir()
    (tmp_path / ".work-left" / "half").write_text("")
    (tmp_path / "other").mkdir()
    with temporary_folder(tmp_path, ".work-") as first, temporary_folder(tmp_path, ".work-") as second:
        assert sorted(tmp_path.iterdir()) == sorted([first, second, tmp_path / "other"])
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


def test_a_temporary_folder_that_is_removed_before_it_is_locked_is_made_again(tmp_path, monkeypatch):
    removed = []

    @contextmanager
    def removing(path):
        if not removed:
            removed.append(path.parent)
            path.parent.rmdir()
        with holding(path) as held:
            yield held

    monkeypatch.setattr(locks, "holding", removing)
    with temporary_folder(tmp_path) as folder:
        assert folder.is_dir()
        assert folder != removed[0]


def test_without_locks_only_old_folders_are_taken_for_left(tmp_path, monkeypatch):
    @contextmanager
    def unknowing(path):
        yield None

    monkeypatch.setattr(locks, "holding", unknowing)
    for name, age in (("old", 2 * locks.STALE_AFTER), ("new", 0)):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    remove_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
