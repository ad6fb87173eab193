"""The folder of a training run: its lock, its log, its state, its best weights.

run.json     what decided the run (see `run_record`)
log.jsonl    a line every so many steps, and one for each validation
last.pt      everything needed to go on exactly where the run stopped
best/        the weights that validated best: what `--model RUN` loads
.lock        held by the process that trains here
"""

from __future__ import annotations

import errno
import json
import math
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from bpr_cli.errors import InputError
from bpr_cli.files import ensure_folder, replacing
from bpr_cli.locks import holding
from bpr_cli.network.checkpoint import CONFIG_FILE
from bpr_cli.network.zoo import WEIGHTS_FILE

STATE_FILE, LOG_FILE, LOCK_FILE = "last.pt", "log.jsonl", ".lock"
FILES = (STATE_FILE, LOG_FILE, f"best/{WEIGHTS_FILE}", f"best/{CONFIG_FILE}")  # what a run writes, beside its record


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make the run's folder, keep others from training in it, and remove what a killed run left half written.

    Raises:
        InputError: another process trains there, or the folder cannot be made or written to.
    """
    ensure_folder(folder)
    with holding(folder / LOCK_FILE) as held:
        if held is False:
            raise InputError(
                "another process is training in this folder", file=folder, remedy="Wait for it, or choose another -o"
            )
        if held is None:
            warnings.warn(f"{folder}: no locks here; see to it that only one process trains there", stacklevel=3)
        for path in (*folder.glob(".*.part"), *(folder / "best").glob(".*.part")):
            path.unlink(missing_ok=True)
        yield


def has_begun(folder: Path) -> bool:
    """Whether a run has kept anything there; one that died before that is none."""
    state = folder / STATE_FILE
    return (state.is_file() and state.stat().st_size > 0) or (folder / "best" / WEIGHTS_FILE).is_file()


class RunLog:
    """log.jsonl, cut back to the step from which the run goes on."""

    def __init__(self, folder: Path, first_step: int) -> None:
        self.path = folder / LOG_FILE
        text = self.path.read_text(encoding="utf-8", errors="replace") if self.path.exists() else ""
        kept = [line for line in text.splitlines() if _step_of(line) <= first_step]
        with replacing(self.path) as temporary:
            temporary.write_text("".join(line + "\n" for line in kept), encoding="utf-8")

    def write(self, row: Mapping[str, Any]) -> None:
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(row) + "\n")

    def flush(self) -> None:
        """See to it that the lines outlive a power cut."""
        with self.path.open("a", encoding="utf-8") as stream:
            os.fsync(stream.fileno())


def _step_of(line: str) -> float:
    """Infinity for what is no line of ours: one that a kill cut short, say."""
    try:
        step = json.loads(line)["step"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return math.inf
    return step if type(step) is int else math.inf


def save_state(folder: Path, state: Mapping[str, Any]) -> None:
    """Replace last.pt as one step, so that a kill leaves the former state.

    Raises:
        OSError: the disk is full or the like.
    """
    path = folder / STATE_FILE
    with replacing(path) as temporary:
        try:
            torch.save(dict(state), temporary)
        except RuntimeError as error:  # what torch makes of a full disk
            reason = str(error).partition("\n")[0]
            problem = f"the state could not be written ({reason}); is the disk full?"
            raise OSError(errno.EIO, problem, str(path)) from error


def load_state(folder: Path) -> dict[str, Any] | None:
    """What `save_state` wrote, on the CPU; None, with a warning if it is broken, where there is none.

    Training is deterministic, so a run whose state is lost can begin again and get to the same weights.

    Raises:
        InputError: it is a file of another kind.
        OSError: it cannot be read.
    """
    path = folder / STATE_FILE
    if not path.is_file() or path.stat().st_size == 0:
        return None
    with path.open("rb") as stream:
        try:
            state = torch.load(stream, map_location="cpu", weights_only=True)
        except OSError:
            raise
        except Exception:  # torch.load has no error type of its own: a damaged file raises nearly anything
            warnings.warn(f"{path}: the saved state cannot be read; the run begins again", stacklevel=2)
            return None
    if not isinstance(state, dict):
        raise foreign_state(folder)
    return state


def foreign_state(folder: Path) -> InputError:
    """The error for a last.pt that is no state of this run."""
    return InputError(
        "the saved state is not one of this run", file=folder / STATE_FILE, remedy="Remove it to begin the run again"
    )
