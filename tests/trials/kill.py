"""Trial: kill -9 at random moments of every command.

Half of the moments are random in time, half follow a random one of the moments at which a name appears or vanishes in
what the command writes. Afterwards nothing half-written may stand under a final name and no process may be left; and
the same command, run again, must end with exactly what an undisturbed run writes.
"""

from __future__ import annotations

import random
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path

from tests.trials.common import (
    COMMANDS,
    Attempt,
    Figures,
    Undisturbed,
    changes_of,
    contents,
    differences,
    half_written,
    make_inputs,
    spread,
    wait_at_most,
    watch_undisturbed,
)

KILLS = 15  # of each command
TRIES = 3  # for each kill, at most
SEED = 1
MOST_DELAY = 0.03  # seconds from a moment of writing to the kill


@dataclass
class Tally:
    """What kills of one command led to; each is counted once, by the first of these."""

    kills: int = 0
    half_written: int = 0
    orphans: int = 0
    other_end: int = 0
    failures: list[str] = field(default_factory=list)


def run(out: Path, scale: float) -> Figures:
    """Kill every command."""
    rows, failures = [], []
    with tempfile.TemporaryDirectory(prefix="bpr-kill-") as name:
        folder = Path(name)
        make_inputs(folder / "in")
        for command in COMMANDS:
            undisturbed = watch_undisturbed(command, folder / "undisturbed" / command, folder / "in")
            tally = kill_command(undisturbed, max(2, round(scale * KILLS)), folder)
            rows.append([command, tally.kills, tally.half_written, tally.orphans, tally.other_end])
            print(*rows[-1], f"({undisturbed.seconds:.1f} s, {undisturbed.changes} changes)", flush=True)
            failures += [f"{command}: {line}" for line in tally.failures]
    rows.append(["all", *(sum(column) for column in list(zip(*rows, strict=True))[1:])])
    columns = ["command", "kills", "half-written files", "processes left", "other output when run again"]
    method = "`kill -9`, half of them at random times, half just after a random write; then the command is run again."
    return Figures("kill", method, columns, rows, rows[-1][1], sum(rows[-1][2:]), failures)


def kill_command(undisturbed: Undisturbed, count: int, folder: Path) -> Tally:
    """Kill one command `count` times; what ends before its kill does not count and is tried anew."""
    rng = random.Random(SEED)
    tally = Tally()
    moments = cycle(spread(count, rng))
    for number, moment in zip(range(TRIES * count), moments, strict=False):
        if tally.kills == count:
            break
        with tempfile.TemporaryDirectory(prefix="attempt-", dir=folder) as name:
            attempt = Attempt(Path(name, "run"), folder / "in")
            process = attempt.start(undisturbed.arguments)
            if number % 2 and undisturbed.changes:
                _wait_for_change(attempt, process, int(moment * undisturbed.changes))
                time.sleep(rng.random() * MOST_DELAY)
            else:
                wait_at_most(process, moment * undisturbed.seconds)
            killed = process.poll() is None
            process.send_signal(signal.SIGKILL)
            process.wait()
            tally.kills += killed
            for line in _look(attempt, undisturbed, tally):
                tally.failures.append(f"kill {number}, {moment:.3f}: {line}")
    return tally


def _wait_for_change(attempt: Attempt, process: subprocess.Popen[str], number: int) -> None:
    for position, _ in enumerate(changes_of(attempt, process)):
        if position == number:
            return


def _look(attempt: Attempt, undisturbed: Undisturbed, tally: Tally) -> list[str]:
    """What is wrong after a kill, and after the command was run again."""
    if left := attempt.orphans():
        tally.orphans += 1
        return [f"{len(left)} processes left"]
    if broken := half_written(attempt.folder, undisturbed.contents):
        tally.half_written += 1
        return [f"half-written: {', '.join(broken)}"]
    if not attempt.names():
        return []  # as if it had never been started
    code = attempt.run(undisturbed.arguments)
    found = differences(contents(attempt.folder), undisturbed.contents)
    if code != 0 or found:
        tally.other_end += 1
        return [f"exit code {code} when run again; {'; '.join(found[:5])}; {' '.join(attempt.said[-2:])[:300]}"]
    return []
