"""Outputs appear whole or not at all: written under a temporary name, then moved into place."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bpr_cli.errors import InputError


def ensure_folder(folder: Path) -> None:
    """Make `folder` (and its parents); InputError if that is impossible or it cannot be written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"the output folder cannot be made ({error.strerror})", file=folder, remedy="Choose another -o"
        ) from error
    try:  # permissions do not tell all: read-only and virtual file systems
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(
            f"the output folder cannot be written to ({error.strerror})", file=folder, remedy="Choose another -o"
        ) from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; move it over `path` on success, remove it on any failure.

    The temporary file ends in `.part`, so that what a killed process leaves behind is recognised.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
