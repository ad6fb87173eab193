"""Outputs appear whole or not at all, and stay: written under a temporary name, flushed to the disk, moved into place.

A temporary file of `out.json` is `.out.json.0.part`, locked while it is written. What a killed process leaves is
unlocked, so whoever writes `out.json` next takes it over; one that is locked belongs to a running process, and the next
number is used instead.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from bpr_cli.errors import InputError
from bpr_cli.stores.addresses import is_address, parse_address

if sys.platform != "win32":
    import fcntl

BLOCK = 1 << 20  # bytes read at once

PathLike = str | os.PathLike[str]


class Fingerprint(NamedTuple):
    """What tells whether a file, or a folder's files, are still the same.

    Attributes:
        size: bytes, of all files.
        sha256: of the bytes; of a folder, of its files' names and fingerprints.
    """

    size: int
    sha256: str


def as_path(value: PathLike, name: str) -> Path:
    """A path given to a function as str or Path; InputError, which calls it `name`, for anything else."""
    if not isinstance(value, (str, os.PathLike)):
        raise InputError(f"{name} is {type(value).__name__}, not a path", remedy="Give a str or a Path")
    if is_address(value):
        shown = str(parse_address(value))
        raise InputError(f"{name} cannot be in a store or on a server", file=shown, remedy="Give a local path")
    if "\0" in os.fspath(value) or not os.fspath(value):
        raise InputError(f"{name} is {os.fspath(value)!r}, not a path", remedy="Give the path of a file or folder")
    return Path(value)


def as_paths(values: PathLike | Iterable[PathLike], name: str) -> list[Path]:
    """One path or several; see `as_path`."""
    if isinstance(values, (str, os.PathLike)):
        return [as_path(values, name)]
    if not isinstance(values, Iterable):
        raise InputError(f"{name} is {type(values).__name__}, not a list of paths", remedy="Give a list of paths")
    return [as_path(value, name) for value in values]


def ensure_folder(folder: Path) -> None:
    """Make `folder` (and its parents); InputError if that is impossible or it cannot be written to."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in missing:
            _sync_folder(path.parent)
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


def check_file_output(source: Path, out: Path, kind: str) -> None:
    """Make sure that a file made from `source` can be written to `out`.

    Raises:
        InputError: `out` is the input itself or a folder, where a file of this kind is to be named, or its folder
            cannot be made or written to.
    """
    if out.exists() and out.samefile(source):
        raise InputError("the output is the input itself", file=out, remedy="Choose another -o")
    if out.is_dir():
        raise InputError("the output is a folder", file=out, remedy=f"Name {kind} file with -o")
    ensure_folder(out.parent)


def refuse_folder(path: Path) -> None:
    """InputError if a folder stands where a file is to be."""
    if path.is_dir():
        raise InputError("a folder is there", file=path, remedy="Remove it, or name another file or folder with -o")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary file beside `path`; move it over `path` on success, remove it on any failure.

    The file's mode follows the umask. After a power cut there is the former file or the new one, never half of one.

    Raises:
        InputError: a folder is there.
        OSError: the disk is full or the like; its `filename` is `path`, or another file's at fault.
    """
    refuse_folder(path)
    try:
        with _claimed(path) as temporary:
            mode = temporary.stat().st_mode
            yield temporary
            if temporary.stat().st_mode != mode:  # the writer made a file of its own
                temporary.chmod(mode)
            with temporary.open("r+b") as stream:
                os.fsync(stream.fileno())
            temporary.replace(path)
            _sync_folder(path.parent)
    except OSError as error:
        if error.filename is None or Path(os.fsdecode(error.filename)).name.startswith(f".{path.name}."):
            error.filename = str(path)
        raise


def remove_leftover(path: Path) -> None:
    """Remove what killed processes left of writing `path`; never what a running one writes."""
    for temporary in _temporaries(path):
        if not temporary.exists():
            return
        descriptor = _claim(temporary)
        if descriptor is not None:
            temporary.unlink(missing_ok=True)
            os.close(descriptor)


def fingerprint(path: Path) -> Fingerprint:
    """Size and hash of a file, or of a folder's .png, .txt and .json files; hidden ones do not count.

    Raises:
        OSError: it cannot be read.
    """
    if not path.is_dir():
        return _file_fingerprint(path)
    digest, size = hashlib.sha256(), 0
    for file in sorted(path.rglob("*")):
        if file.suffix.lower() in (".png", ".txt", ".json") and not file.name.startswith(".") and file.is_file():
            found = _file_fingerprint(file)
            size += found.size
            digest.update(f"{file.relative_to(path).as_posix()}\0{found.sha256}\n".encode(errors="surrogateescape"))
    return Fingerprint(size, digest.hexdigest())


def _file_fingerprint(path: Path) -> Fingerprint:
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as stream:
        while block := stream.read(BLOCK):
            digest.update(block)
            size += len(block)
    return Fingerprint(size, digest.hexdigest())


def _temporaries(path: Path) -> Iterator[Path]:
    return (path.with_name(f".{path.name}.{number}.part") for number in itertools.count())


@contextmanager
def _claimed(path: Path) -> Iterator[Path]:
    """An empty temporary file that no other process writes to, removed at the end if it is still there."""
    temporary, descriptor = _first_free(path)
    try:
        os.ftruncate(descriptor, 0)
        if sys.platform == "win32":  # an open file can be neither replaced nor removed there
            os.close(descriptor)
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)
        if sys.platform != "win32":
            os.close(descriptor)


def _first_free(path: Path) -> tuple[Path, int]:
    for temporary in _temporaries(path):
        descriptor = _claim(temporary)
        if descriptor is not None:
            return temporary, descriptor
    raise AssertionError("there is no last number")


if sys.platform == "win32":

    def _claim(temporary: Path) -> int | None:
        """Descriptor of the file, made anew; None where another process has it open."""
        try:
            temporary.unlink(missing_ok=True)
            return os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_BINARY, 0o666)
        except (PermissionError, FileExistsError):
            if not temporary.exists():
                raise
            return None

    def _sync_folder(folder: Path) -> None:
        """Nothing: folders cannot be flushed there."""

else:

    def _claim(temporary: Path) -> int | None:
        """Locked descriptor of the file, made or taken over; None where it is another's."""
        while True:
            made, descriptor = _open(temporary)
            if descriptor is None:
                return None
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                return None
            except OSError:  # a file system without locks: what is there may be a running process's
                if made:
                    return descriptor
                os.close(descriptor)
                return None
            if _is_at(temporary, descriptor):
                return descriptor
            os.close(descriptor)  # moved into place or removed between opening and locking

    def _open(temporary: Path) -> tuple[bool, int | None]:
        """Whether the file was made, and its descriptor: None if what is there is no file of ours to write to."""
        flags = os.O_RDWR | os.O_NOFOLLOW
        try:
            return True, os.open(temporary, flags | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            pass
        if not (temporary.is_file() and not temporary.is_symlink() and os.access(temporary, os.R_OK | os.W_OK)):
            return False, None
        return False, os.open(temporary, flags | os.O_CREAT, 0o666)

    def _is_at(path: Path, descriptor: int) -> bool:
        try:
            return os.path.samestat(path.stat(follow_symlinks=False), os.fstat(descriptor))
        except FileNotFoundError:
            return False

    def _sync_folder(folder: Path) -> None:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
