"""Where a training run goes that nobody named: runs/1, runs/2 and so on."""

from __future__ import annotations

import os
from pathlib import Path

from bpr_cli.errors import InputError

RUNS = Path("runs")


def choose_run(resume: bool, runs: Path = RUNS) -> Path:
    """The folder of the next run; with `resume` the last one that is there.

    Raises:
        InputError: there are several processes (torchrun), which might choose differently.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise InputError("several processes train one run", remedy="Name its folder with -o")
    numbers = [int(path.name) for path in runs.glob("*") if path.is_dir() and path.name.isdecimal()]
    last = max(numbers, default=0)
    return runs / str(max(last, 1) if resume else last + 1)
