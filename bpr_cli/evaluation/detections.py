"""Detections to evaluate: of a file, or of a folder of parts, of which one is in memory at a time."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path
from typing import NamedTuple

from bpr_cli.formats import holds_parts, part_folders
from bpr_cli.formats.records import Results


class Detected(NamedTuple):
    """What was read of a file.

    Attributes:
        results: with the ground truth's ids of images and classes.
        records: how many there are in the file; some may have been left out.
    """

    results: Results
    records: int


class Detections:
    """Detections of a file, which is read at once, or of the parts of a folder, which are read when asked for.

    Args:
        path: the file or folder.
        read: reads either of them.

    Attributes:
        files: the parts, or the one file.

    Raises:
        InputError: the file cannot be used, or the folder is no folder of parts alone.
    """

    def __init__(self, path: Path, read: Callable[[Path], Detected]) -> None:
        self.path = path
        self.files = part_folders.list_parts(path) if holds_parts(path) else [path]
        self._read = read
        if len(self.files) == 1:
            assert self.whole

    @cached_property
    def whole(self) -> Detected:
        """All of it, as one."""
        return self._read(self.path)

    def part(self, number: int) -> Detected:
        """One part by itself."""
        return self.whole if len(self.files) == 1 else self._read(self.files[number])


class Pair(NamedTuple):
    """The same detections before and after refinement, as far as they are read at once; None without a baseline."""

    after: Detected
    before: Detected | None


def pairs(after: Detections, before: Detections | None) -> list[Callable[[], Pair]]:
    """What reads pairs one by one: part by part where both are in parts of the same names, else all at once."""
    if before is None:
        return [partial(_pair, partial(after.part, number), None) for number in range(len(after.files))]
    if len(after.files) == 1 or [path.name for path in after.files] != [path.name for path in before.files]:
        return [lambda: Pair(after.whole, before.whole)]
    return [
        partial(_pair, partial(after.part, number), partial(before.part, number)) for number in range(len(after.files))
    ]


def _pair(after: Callable[[], Detected], before: Callable[[], Detected] | None) -> Pair:
    return Pair(after(), None if before is None else before())
