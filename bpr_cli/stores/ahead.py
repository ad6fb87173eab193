"""Photos of a store, read ahead of those who need them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bpr_cli.errors import InputError
from bpr_cli.stores.folders import folder_of, read_from_store
from bpr_cli.stores.parallel import THREADS
from bpr_cli.stores.retrying import stop_trying_when

MOST_AHEAD = 16  # photos begun and not yet taken
MOST_BYTES_AHEAD = 256 << 20  # of their files: nothing is begun as long as more wait


class _ReadAhead:
    """Reads files in order, by threads that end with the process."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._waiting = deque(paths)
        self._begun: set[Path] = set()
        self._ready: dict[Path, bytes | Exception] = {}
        self._changed = threading.Condition()
        self._ended = threading.Event()
        for _ in range(min(THREADS, len(paths))):
            threading.Thread(target=self._work, name="bpr-store", daemon=True).start()

    def end(self) -> None:
        """Begin nothing more."""
        with self._changed:
            self._ended.set()
            self._changed.notify_all()

    def take(self, path: Path, keep: bool) -> bytes | None:
        """The bytes of a file; None if it has not been begun, which leaves it to the caller."""
        with self._changed:
            if path not in self._begun:
                if path in self._waiting:
                    self._waiting.remove(path)
                return None
            while path not in self._ready:
                self._changed.wait()
            found = self._ready[path]
            if not keep:
                del self._ready[path]
                self._begun.remove(path)
                self._changed.notify_all()
        if isinstance(found, Exception):
            raise found
        return found

    def _work(self) -> None:
        stop_trying_when(self._ended)
        while True:
            with self._changed:
                while not self._ended.is_set() and self._waiting and not self._has_room():
                    self._changed.wait()
                if self._ended.is_set() or not self._waiting:
                    return
                path = self._waiting.popleft()
                self._begun.add(path)
            found: bytes | Exception
            try:
                found = read_from_store(path) or b""
            except (InputError, OSError) as error:
                found = error
            with self._changed:
                self._ready[path] = found
                self._changed.notify_all()

    def _has_room(self) -> bool:
        held = sum(len(found) for found in self._ready.values() if isinstance(found, bytes))
        return len(self._begun) < MOST_AHEAD and held < MOST_BYTES_AHEAD


_current: list[_ReadAhead] = []


@contextmanager
def reading_ahead(paths: Sequence[Path]) -> Iterator[None]:
    """Within, photos that are in a store are read before they are asked for, in this order, within bounds of memory.

    Args:
        paths: of photos; local ones among them are left alone.
    """
    remote = [path for path in dict.fromkeys(paths) if folder_of(path) is not None]
    if not remote:
        yield
        return
    ahead = _ReadAhead(remote)
    _current.append(ahead)
    try:
        yield
    finally:
        _current.remove(ahead)
        ahead.end()


def photo_bytes(path: Path, keep: bool = False) -> bytes | None:
    """The bytes of a photo that is in a store; None for a local one.

    Args:
        path: of the photo.
        keep: it will be asked for again: after a look at its header.

    Raises:
        InputError: it cannot be read whole.
    """
    for ahead in list(_current):
        if (found := ahead.take(path, keep)) is not None:
            return found
    return read_from_store(path)
