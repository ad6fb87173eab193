"""Inputs that are folders: their files, and the folder that is written."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from bpr_cli.errors import InputError
from bpr_cli.files import ensure_folder, replacing


def files_below(folder: Path, endings: Collection[str]) -> list[Path]:
    """Files of these endings (lower case, with the dot) in a folder and those in it, sorted; hidden ones left out."""
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [
            Path(parent, name) for name in names if not name.startswith(".") and name.lower().endswith(tuple(endings))
        ]
    return sorted(found)


def check_folder_output(source: Path, out: Path) -> None:
    """Make sure that a folder like `source` can be written to `out`.

    Raises:
        InputError: `out` is a file, one of the two lies in the other, or it cannot be made or written to.
    """
    if out.exists() and not out.is_dir():
        raise InputError("the output is a file", file=out, remedy="Name a folder with -o")
    inside, target = source.resolve(), out.resolve()
    if target == inside or inside in target.parents or target in inside.parents:
        raise InputError("the output and the input lie in each other", file=out, remedy="Choose another -o")
    ensure_folder(out)


def write_file(out: Path, data: bytes) -> None:
    """Write a file and the folders that it lies in; it appears whole or not at all."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as temporary:
        temporary.write_bytes(data)
