"""Trial: SIGTERM, and Ctrl-C (SIGINT to the whole process group), at random moments of every command.

Each ends with one line, exit code 143 or 130, no traceback and no process left. Before the interpreter has got to the
command itself, the signal ends it as it ends any process: without a word, and the shell shows the same codes.
"""

from __future__ import annotations

import os
import random
import signal
import tempfile
from pathlib import Path

from tests.trials.common import (
    COMMANDS,
    Attempt,
    Figures,
    Undisturbed,
    half_written,
    make_inputs,
    problems_of,
    spread,
    wait_at_most,
    watch_undisturbed,
)

SIGNALS = 5  # of each kind, to each command
SEED = 2
NAMES = {signal.SIGTERM: "SIGTERM", signal.SIGINT: "Ctrl-C"}


def run(out: Path, scale: float) -> Figures:
    """Interrupt every command in both ways."""
    rows, failures = [], []
    count = max(2, round(scale * SIGNALS))
    with tempfile.TemporaryDirectory(prefix="bpr-signals-") as name:
        folder = Path(name)
        make_inputs(folder / "in")
        for command in COMMANDS:
            undisturbed = watch_undisturbed(command, folder / "undisturbed" / command, folder / "in")
            for sent, named in NAMES.items():
                found = {}
                for moment in spread(count, random.Random(SEED)):
                    if problems := interrupt(undisturbed, sent, moment * undisturbed.seconds, folder):
                        found[moment] = problems
                rows.append([f"{command}, {named}", count, len(found)])
                print(*rows[-1], flush=True)
                failures += [f"{command}, {named} at {at:.2f}: {'; '.join(lines)}" for at, lines in found.items()]
    rows.append(["all", *(sum(column) for column in list(zip(*rows, strict=True))[1:])])
    method = "SIGTERM to the process, SIGINT to its group, at random times."
    return Figures(
        "signals", method, ["command", "signals", "ended otherwise"], rows, rows[-1][1], rows[-1][2], failures
    )


def interrupt(undisturbed: Undisturbed, sent: signal.Signals, seconds: float, folder: Path) -> list[str]:
    """What is wrong with the end of a command that is sent a signal after some seconds."""
    with tempfile.TemporaryDirectory(prefix="attempt-", dir=folder) as name:
        attempt = Attempt(Path(name, "run"), folder / "in")
        process = attempt.start(undisturbed.arguments)
        wait_at_most(process, seconds)
        if process.poll() is None:
            (os.killpg if sent == signal.SIGINT else os.kill)(process.pid, sent)
        code = process.wait()
        # Zero: it came when all was done.
        problems = problems_of(code, attempt.said, (128 + sent, -sent, 0))
        if code == 128 + sent and len(attempt.said) != 1:
            problems.append(f"{len(attempt.said)} lines")
        problems += [f"half-written: {path}" for path in half_written(attempt.folder, undisturbed.contents)]
        return problems + [f"{len(left)} processes left" for left in [attempt.orphans()] if left]
