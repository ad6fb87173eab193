"""Trial: ten equal runs of one command while all processors are busy; there may be one output only."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.trials.common import COMMANDS, Attempt, Figures, contents, make_inputs

RUNS = 10
BUSY = 2  # processes that do nothing but compute, for each processor
# As people start them: model, engine and precision are what the command itself chooses.
REPEATED = {
    "refine": ("refine", "in/results.json", "--images", "in/photos", "-o", "out/refined.json", "-q"),
    "train": tuple(word for word in COMMANDS["train"] if word not in ("--precision", "fp32")),
}


def run(out: Path, scale: float) -> Figures:
    """Run each command again and again."""
    rows, failures = [], []
    runs = max(2, round(scale * RUNS))
    with tempfile.TemporaryDirectory(prefix="bpr-equal-") as name, busy_processors():
        folder = Path(name)
        make_inputs(folder / "in")
        for command, arguments in REPEATED.items():
            ends = [_output(arguments, folder) for _ in range(runs)]
            distinct = [end for position, end in enumerate(ends) if end not in ends[:position]]
            rows.append([command, runs, len(distinct)])
            print(*rows[-1], flush=True)
            others = {path for end in distinct for path in end if end.get(path) != distinct[0].get(path)}
            failures += [f"{command}: {', '.join(sorted(others))}"] * (len(distinct) > 1)
    tried, lost = (sum(column) for column in ([row[1] for row in rows], [row[2] - 1 for row in rows]))
    method = f"The same command again and again while {BUSY} other processes compute on each processor."
    return Figures("equal", method, ["command", "runs", "different outputs"], rows, tried, lost, failures)


def _output(arguments: Sequence[str], folder: Path) -> dict[str, str]:
    with tempfile.TemporaryDirectory(prefix="attempt-", dir=folder) as name:
        attempt = Attempt(Path(name, "run"), folder / "in")
        code = attempt.run(arguments)
        return {"exit code": str(code), **contents(attempt.folder)}


@contextmanager
def busy_processors() -> Iterator[None]:
    """Keep all processors busy."""
    count = BUSY * (os.cpu_count() or 1)
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()
