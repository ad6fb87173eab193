"""Locks that die with their process, and temporary folders that are known by them: a killed process leaves no lock."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK = ".lock"  # in a temporary folder, held as long as it is in use
TURN = 0.1  # seconds between looks at a lock that another process holds
STALE_AFTER = 3600  # seconds after which a temporary folder is a dead process's where there are no locks

if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError as error:
            raise BlockingIOError from error

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def holding(path: Path) -> Iterator[bool | None]:
    """Hold a lock as long as the context, or the process, lives. The file stays; it is the lock that counts.

    Args:
        path: an empty file, made if it is not there.

    Yields:
        True; False: another process holds it; None: the file system knows no locks.

    Raises:
        OSError: the file cannot be made or opened.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        held: bool | None = True
        try:
            _lock(descriptor)
        except BlockingIOError:
            held = False
        except OSError:
            held = None
        yield held
    finally:
        os.close(descriptor)


@contextmanager
def taking_turns(path: Path) -> Iterator[None]:
    """Wait for a lock and hold it (`holding`); where the file system knows none, nobody waits."""
    while True:
        with holding(path) as held:
            if held is not False:
                yield
                return
        time.sleep(TURN)


@contextmanager
def temporary_folder(parent: Path, prefix: str = "", suffix: str = "") -> Iterator[Path]:
    """A new folder in `parent`, removed at the end; what killed processes left of such ones is removed first.

    Raises:
        OSError: it cannot be made.
    """
    remove_leftovers(parent, prefix, suffix)
    while True:
        folder = parent / f"{prefix}{secrets.token_hex(8)}{suffix}"
        folder.mkdir()
        with contextlib.ExitStack() as stack:
            try:
                held = stack.enter_context(holding(folder / LOCK))
            except FileNotFoundError:  # removed, between its making and its locking
                continue
            if held is False or not (folder / LOCK).exists():  # being removed
                continue
            try:
                yield folder
            finally:
                stack.close()  # Windows removes no open file
                shutil.rmtree(folder, ignore_errors=True)
            return


def remove_leftovers(parent: Path, prefix: str = "", suffix: str = "") -> None:
    """Remove the temporary folders that killed processes left; never one in use."""
    for left in parent.glob(f"{prefix}*{suffix}"):
        with contextlib.suppress(OSError):  # gone, or not ours to remove
            age = time.time() - left.stat().st_mtime
            with holding(left / LOCK) as free:
                is_left = free or (free is None and age > STALE_AFTER)
                if is_left:
                    shutil.rmtree(left, ignore_errors=True)
            if is_left and sys.platform == "win32":  # which removes no open file
                shutil.rmtree(left, ignore_errors=True)
