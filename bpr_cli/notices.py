"""What the user should know of an input that was used all the same: warnings, said once each."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import PurePath
from typing import Any

NAMED = 3  # files named in a line; the rest are counted


class InputWarning(UserWarning):
    """An input was used, but may be meant otherwise.

    Its text says the same of every file, so that Python shows it once; `file` is the one that it was raised for.

    Args:
        text: what was done and how to have it otherwise, without a full stop.
        file: the file concerned.
    """

    def __init__(self, text: str, file: str | PathLike[str]) -> None:
        super().__init__(text)
        self.text = text
        self.file = str(file)


def warn_of_input(text: str, file: str | PathLike[str]) -> None:
    """Issue an `InputWarning`, which `collected_warnings` gathers."""
    warnings.warn(InputWarning(text, file), stacklevel=2)


@contextmanager
def collected_warnings() -> Iterator[list[InputWarning]]:
    """Gather the input's warnings of all threads, instead of showing them; others are shown as ever."""
    found: list[InputWarning] = []
    with warnings.catch_warnings():
        warnings.simplefilter("always", InputWarning)
        show = warnings.showwarning

        def keep(message: Any, *details: Any) -> None:
            if isinstance(message, InputWarning):
                found.append(message)
            else:
                show(message, *details)

        warnings.showwarning = keep  # type: ignore[assignment]
        yield found


def notice_lines(found: Iterable[InputWarning]) -> list[str]:
    """One line for each text, with the files that it was said of."""
    files_of: dict[str, set[str]] = {}
    for warning in found:
        files_of.setdefault(warning.text, set()).add(warning.file)
    lines = []
    for text, files in files_of.items():
        named = ", ".join(PurePath(file).name for file in sorted(files)[:NAMED])
        more = f" and {len(files) - NAMED} more" if len(files) > NAMED else ""
        lines.append(f"{named}{more}: {text}")
    return lines
