"""What a long command has done, kept beside its output until that is written; started again, it goes on from there.

OUTPUT.unfinished/made_from.json  inputs, models and settings: what must be the same to go on
OUTPUT.unfinished/000012.json     what became of a block, after the SHA-256 of that line
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from bpr_cli.errors import InputError
from bpr_cli.files import ensure_folder, remove_leftover, replacing
from bpr_cli.locks import LOCK, holding

T = TypeVar("T")

MADE_FROM = "made_from.json"
SUFFIX = ".unfinished"
LEAST_HASH = 32  # characters; what is as long tells people nothing


class Unfinished:
    """Finished blocks of a command's work; a context that holds them for this process alone.

    Args:
        output: what the command will write.
        made_from: inputs, models and settings, by name, as JSON gives them back.

    Raises:
        InputError: what is kept there was made from others, or another process is at work on it (on entering).
    """

    def __init__(self, output: Path, made_from: Mapping[str, Any]) -> None:
        self.folder = folder_of(output)
        self._made_from = dict(made_from)
        self._lock = ExitStack()

    def __enter__(self) -> Unfinished:
        ensure_folder(self.folder)
        with ExitStack() as stack:
            if stack.enter_context(holding(self.folder / LOCK)) is False:
                raise InputError("another process is writing the same output", file=self.folder)
            self._check()
            self._lock = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.close()
        if kind is None or not any(self.folder.glob("[0-9]*.json")):
            shutil.rmtree(self.folder, ignore_errors=True)

    def read(self, block: int) -> Any | None:
        """What was kept of a block; None if nothing was, or what is there is not whole (a power cut)."""
        try:
            checksum, _, line = self._path(block).read_text(encoding="utf-8").partition("\n")
            return json.loads(line) if checksum == _checksum(line) else None
        except (OSError, ValueError):
            return None

    def write(self, block: int, value: Any) -> None:
        """Keep a block, as JSON.

        Raises:
            OSError: the disk is full or the like.
        """
        line = json.dumps(value, separators=(",", ":"))
        with replacing(self._path(block)) as temporary:
            temporary.write_text(f"{_checksum(line)}\n{line}", encoding="utf-8")

    def _path(self, block: int) -> Path:
        return self.folder / f"{block:06d}.json"

    def _check(self) -> None:
        """Note what this work is made from, or make sure that what is there is made from the same."""
        path = self.folder / MADE_FROM
        try:
            before = json.loads(path.read_bytes())
        except FileNotFoundError:
            before = None
        except (OSError, ValueError, RecursionError) as error:
            raise InputError("the unfinished work is broken", file=path, remedy="Remove that folder") from error
        if before is None:
            remove_leftover(path)
            with replacing(path) as temporary:
                temporary.write_text(json.dumps(self._made_from, indent=2) + "\n", encoding="utf-8")
        elif changed := _differences(before, self._made_from):
            raise InputError(
                f"the unfinished work there is of other inputs or settings ({'; '.join(changed)})",
                file=self.folder,
                remedy="Use the same ones to go on, or remove that folder to begin anew",
            )


def blocks_of(items: Iterable[T], count: Callable[[T], int], most_items: int, most_counted: int) -> Iterator[list[T]]:
    """Items in blocks, in the order given: each as long as neither limit allows one more, or of a single item.

    Args:
        items: to be dealt with together, block by block.
        count: what is counted of each beside the item itself.
        most_items, most_counted: in a block.
    """
    block: list[T] = []
    counted = 0
    for item in items:
        more = count(item)
        if block and (len(block) == most_items or counted + more > most_counted):
            yield block
            block, counted = [], 0
        block.append(item)
        counted += more
    if block:
        yield block


def folder_of(output: Path) -> Path:
    """Where unfinished work on an output is kept."""
    named = output if output.name not in ("", "..") else output.resolve()
    return named.with_name(named.name + SUFFIX)


def _differences(before: Any, now: Mapping[str, Any]) -> list[str]:
    """What sets two descriptions apart, a phrase each."""
    if not isinstance(before, dict):
        return ["what it was made from is not recorded"]
    return [
        _difference(name, before.get(name), now.get(name))
        for name in dict.fromkeys([*now, *before])
        if before.get(name) != now.get(name)
    ]


def _difference(name: str, before: Any, after: Any) -> str:
    if any(isinstance(value, str) and len(value) >= LEAST_HASH for value in (before, after)):
        return f"{name} has changed"
    return f"{name} {json.dumps(before)} -> {json.dumps(after)}"


def _checksum(line: str) -> str:
    return hashlib.sha256(line.encode()).hexdigest()
