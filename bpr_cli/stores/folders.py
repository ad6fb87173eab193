"""Folders in a store for which local ones stand: listed once, their files read when they are needed.

The path of a photo in a store lies in such a folder, though no file is there. Known to one process; workers are told.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from bpr_cli.errors import InputError
from bpr_cli.stores import names
from bpr_cli.stores.addresses import Address
from bpr_cli.stores.transfers import Entry, find_entry, list_below, read_bytes

_FOLDERS: dict[Path, StoreFolder] = {}


class StoreFolder:
    """A folder in a store.

    Args:
        path: the local one that stands for it.
        address: of it.
    """

    def __init__(self, path: Path, address: Address) -> None:
        self.path, self.address = path, address
        self._entries: dict[str, Entry] | None = None
        self._listing = threading.Lock()

    def __reduce__(self) -> tuple[object, ...]:
        return StoreFolder, (self.path, self.address)

    @property
    def entries(self) -> dict[str, Entry]:
        """Name relative to the folder -> object; asked for once."""
        with self._listing:
            if self._entries is None:
                self._entries = list_below(self.address)
            return self._entries

    def entry(self, path: Path) -> Entry:
        """The object for which a path stands; InputError if there is none."""
        name = path.relative_to(self.path).as_posix()
        if self._entries is not None and name in self._entries:
            return self._entries[name]
        found = find_entry(self.address.child(name))
        if found is None:
            raise InputError("this is a folder", file=path, remedy="Check the address")
        return found


def stand_for(path: Path, address: Address) -> None:
    """Let a local folder, which is there, stand for one in a store."""
    know_folders((StoreFolder(path, address),))


def stand_no_more(path: Path) -> None:
    """It is a local folder like others again."""
    _FOLDERS.pop(path, None)
    names.forget(str(path))


def known_folders() -> tuple[StoreFolder, ...]:
    """All that are known, for `know_folders`."""
    return tuple(_FOLDERS.values())


def know_folders(folders: Sequence[StoreFolder]) -> None:
    """Let another process know them too; they may be pickled on the way."""
    for folder in folders:
        _FOLDERS[folder.path] = folder
        names.know(str(folder.path), str(folder.address))


def folder_of(path: Path) -> StoreFolder | None:
    """The folder in a store in which a path lies, unless the file itself is here (as it is of what was copied)."""
    if not _FOLDERS:
        return None
    found = next((_FOLDERS[above] for above in path.parents if above in _FOLDERS), None)
    return None if found is None or path.exists() else found


def names_below(folder: Path) -> list[str] | None:
    """Relative names of all files below a folder that stands for one in a store, sorted; None for any other."""
    found = _FOLDERS.get(folder)
    if found is None:
        return None
    return sorted(name for name in found.entries if not any(part.startswith(".") for part in name.split("/")))


def read_from_store(path: Path) -> bytes | None:
    """The bytes of a file that is in a store; None for a local one. InputError if it cannot be read whole."""
    folder = folder_of(path)
    return None if folder is None else read_bytes(folder.entry(path))


def file_state(path: Path) -> list[int]:
    """Size and time of change (ns) of a file, as far as its store tells; nothing of one that is not there."""
    try:
        if (folder := folder_of(path)) is not None:
            entry = folder.entry(path)
            return [number for number in (entry.size, entry.changed) if number is not None]
        found = path.stat()
    except OSError:
        return []
    return [found.st_size, found.st_mtime_ns]
