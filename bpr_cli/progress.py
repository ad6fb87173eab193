"""Progress with rate and ETA: a moving bar on a terminal, a line now and then in a log file."""

from __future__ import annotations

import sys
from typing import Any, TextIO

from tqdm import tqdm

LOG_INTERVAL_S = 15.0  # a line four times a minute keeps an hour's log under 300 lines


class _Lines:
    """A text stream that turns tqdm's carriage returns into lines."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> None:
        line = text.strip("\r\n ")
        if line:
            self.stream.write(line + "\n")

    def flush(self) -> None:
        self.stream.flush()


def progress_bar(total: int | None, description: str, unit: str, *, quiet: bool = False, initial: int = 0) -> Any:
    """A tqdm bar on stderr.

    Args:
        total: steps in all, None if unknown.
        description: what is going on, one or two words.
        unit: what is counted, singular ("image").
        quiet: show nothing.
        initial: steps already done (a resumed run).
    """
    settings: dict[str, Any] = {
        "total": total,
        "desc": description,
        "unit": f" {unit}",
        "disable": quiet,
        "initial": initial,
    }
    if sys.stderr.isatty():
        return tqdm(**settings, dynamic_ncols=True)
    return tqdm(**settings, file=_Lines(sys.stderr), mininterval=LOG_INTERVAL_S, maxinterval=LOG_INTERVAL_S, ncols=100)
