"""Under torchrun: a process that is killed comes back, and the weights are those of an undisturbed run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.training.states import equal, state_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="finds torchrun's processes in /proc"),
]


def start(shards: Path, out: Path, processes: int) -> subprocess.Popen[str]:
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes),
        "--max-restarts", "3", "-m", "bpr_cli", "train", "--patches", str(shards), "-o", str(out), "--resume",
        "--steps", "12", "--batch-size", "6", "--input-size", "32", "--save-every", "2", "--workers", "0",
        "--device", "cpu", "--precision", "fp32", "-q",
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "300"}
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)


def test_a_killed_process_comes_back_to_the_same_weights_and_other_numbers_are_refused(shard_folder, tmp_path):
    whole = start(shard_folder, tmp_path / "whole", 2)
    whole.communicate(timeout=120)
    assert whole.returncode == 0
    run = start(shard_folder, tmp_path / "killed", 2)
    while not (tmp_path / "killed" / "last.pt").exists():
        assert run.poll() is None
        time.sleep(0.05)
    children = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
    os.kill(int(children[-1]), signal.SIGKILL)
    said = run.communicate(timeout=120)[1]
    assert "exitcode: -9" in said
    assert run.returncode == 0
    assert equal(state_of(tmp_path / "whole"), state_of(tmp_path / "killed"))
    other = start(shard_folder, tmp_path / "killed", 3)
    said = other.communicate(timeout=120)[1]
    assert other.returncode != 0
    assert "processes 2 -> 3" in said
    assert "Traceback" not in said.split("processes 2 -> 3")[0]
