"""Locks: one holder at a time, and none after its death."""

from __future__ import annotations

import subprocess
import sys

from bpr_cli.locks import holding

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
