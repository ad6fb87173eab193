"""Trains in child processes that kill themselves at chosen moments, and goes on in others: run by `test_resume`.

    python -m tests.training.killed SHARDS OUT

A process of its own, because a child that is forked beside threads of torch would hang. The runs lie in OUT by the name
of their moment; `whole` is the one that nothing killed.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch._dynamo  # what the first step would import, once for all children

from bpr_cli.training import loop, train
from bpr_cli.training.recipe import choose_recipe
from bpr_cli.training.run_folder import RunLog

RECIPE = choose_recipe("default", steps=5, batch_size=2, input_size=32, seed=1)

# What is called, at which call, and whether the process dies before or after it, or half-way in its file.
MOMENTS: dict[str, tuple[Any, str, int, str]] = {
    "before the first step": (loop.Training, "_take_step", 1, "before"),
    "with the first weights kept and no state yet": (loop.checkpoint, "save", 1, "after"),
    "between a log line and its state": (RunLog, "write", 3, "after"),
    "half-way through a state": (torch, "save", 2, "within"),
    "with a state written and nothing more": (loop, "save_state", 2, "after"),
    "with the last weights kept and the last state missing": (loop.checkpoint, "save", 2, "after"),
}


def main(shards: Path, out: Path) -> None:
    in_child(lambda: run(shards, out / "whole", resume=False))
    for name, moment in MOMENTS.items():
        died_of = in_child(lambda moment=moment, name=name: run_and_die(shards, out / name, *moment))
        assert died_of == signal.SIGKILL, f"{name}: {died_of}"
        assert in_child(lambda name=name: run(shards, out / name, resume=True)) == 0, name


def in_child(work: Callable[[], object]) -> int:
    """0, or the signal that the child died of."""
    pid = os.fork()
    if pid == 0:
        work()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) * -1


def run(shards: Path, out: Path, resume: bool) -> None:
    train.train([shards], out, RECIPE, workers=0, validate_every=2, save_every=2, resume=resume, quiet=True)


def run_and_die(shards: Path, out: Path, owner: Any, name: str, call: int, when: str) -> None:
    original, calls = getattr(owner, name), []

    def deadly(*arguments: Any, **options: Any) -> Any:
        calls.append(name)
        last = len(calls) == call
        if last and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        answer = original(*arguments, **options)
        if last:
            if when == "within":
                os.truncate(arguments[1], 1_000_000)
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    setattr(owner, name, deadly)
    run(shards, out, resume=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
