"""Addresses at the door of a command or function: within, they are local paths.

Inputs are copied to a temporary folder; of photos' folders only a name is made, and `folders` reads them one by one.
Outputs are made in a folder that is kept for their address, with all that a command keeps beside its output, and put
into the store at the end.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import shutil
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from functools import partial, wraps
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

from bpr_cli.errors import InputError
from bpr_cli.files import ensure_folder
from bpr_cli.locks import LOCK, holding, temporary_folder
from bpr_cli.stores import names
from bpr_cli.stores.addresses import Address, is_address, parse_address
from bpr_cli.stores.folders import stand_for, stand_no_more
from bpr_cli.stores.parallel import all_done
from bpr_cli.stores.shard_cache import cached_shards
from bpr_cli.stores.transfers import check_writable, fetch, find_entry, list_below, put

P = ParamSpec("P")
R = TypeVar("R")

LAST = ("manifest.json", "index.html")  # files of a folder that name the others


_OUTPUTS: dict[Path, Address] = {}  # of the calls that are under way


def output_address(path: Path) -> Address | None:
    """Where in a store an output goes that is made here; None for one that stays."""
    return _OUTPUTS.get(path)


def cache_folder() -> Path:
    """Where copies and unfinished outputs are: BPR_CACHE, else a folder in the user's cache."""
    if named := os.environ.get("BPR_CACHE"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bpr" / "stores"


def with_stores(
    *,
    inputs: Iterable[str] = (),
    photos: Iterable[str] = (),
    outputs: Iterable[str] = (),
    filled: Iterable[str] = (),
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let a function take addresses for some of its parameters; it gets local paths.

    Args:
        inputs: parameters of files and folders that it reads as a whole.
        photos: of folders of photos, or of one photo.
        outputs: of files and folders that it writes; they are put into the store when it has returned.
        filled: of folders that it fills by itself, piece by piece, at their `output_address`.
    """
    roles = [
        (Staging.input, inputs),
        (Staging.photos, photos),
        (Staging.output, outputs),
        (Staging.filled, filled),
    ]

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)

        @wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> R:
            if not any(map(_has_address, (*args, *kwargs.values()))):
                return function(*args, **kwargs)
            bound = signature.bind(*args, **kwargs)
            with Staging() as staging:
                for role, parameters in roles:
                    for name in parameters:
                        if _has_address(bound.arguments.get(name)):
                            bound.arguments[name] = _each(bound.arguments[name], partial(role, staging))
                staging.check()
                found = function(*bound.args, **bound.kwargs)
                staging.upload()
            return found

        return run

    return decorate


def shard_folders(folders: Any, stack: ExitStack, *, quiet: bool) -> Any:
    """Folders of shards, those in a store copied to this machine, where they stay as long as the stack is open.

    Args:
        folders: one or several; what is no address is given back as it is.
        stack: of the call that reads them.
        quiet: no progress bar.

    Raises:
        InputError: as `shard_cache.cached_shards`.
    """
    if not _has_address(folders):
        return folders
    staging = stack.enter_context(Staging())
    return _each(folders, partial(staging.shards, quiet=quiet))


def _has_address(value: Any) -> bool:
    return any(map(is_address, value)) if isinstance(value, (list, tuple)) else is_address(value)


def _each(value: Any, change: Callable[[Address], Path]) -> Any:
    if isinstance(value, (list, tuple)):
        return [_each(item, change) for item in value]
    return change(parse_address(value)) if is_address(value) else value


class Staging:
    """The local paths of one call; a context that removes them."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._inputs: list[Address] = []
        self._outputs: dict[Path, Address] = {}  # put into their store at the end
        self._filled: list[Path] = []

    def __enter__(self) -> Staging:
        self._cache = cache_folder()
        for name in ("inputs", "outputs", "shards"):
            ensure_folder(self._cache / name)
        self._cache = self._cache.resolve()  # as paths are that are shown as addresses
        self._root = self._stack.enter_context(temporary_folder(self._cache / "inputs"))
        self._numbers = count()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
        for path in (*self._outputs, *self._filled):
            if not any(other.is_file() and other.name != LOCK for other in path.parent.rglob("*")):
                shutil.rmtree(path.parent, ignore_errors=True)

    def input(self, address: Address) -> Path:
        """A copy of a file, or of all files of a folder.

        The folder in which a file lies stands for the one in the store, so that photos beside it are found.
        """
        self._inputs.append(address)
        entry = find_entry(address)
        if entry is None:
            return self._copied_folder(address)
        path = self._folder(address.parent) / address.name
        fetch(entry, path)
        return path

    def photos(self, address: Address) -> Path:
        """A folder that stands for one of photos; of an address that ends as photos do, a copy."""
        from bpr_cli.formats.finding import SUFFIXES  # with what reads formats, which commands load when they run

        return self.input(address) if Path(address.name).suffix.lower() in SUFFIXES else self._folder(address)

    def output(self, address: Address) -> Path:
        """Where a file or a folder is to be made. What an earlier process kept beside it is there.

        Raises:
            InputError: another process makes it, or it surely cannot be put there.
        """
        path = self._output_path(address)
        self._outputs[path] = address
        return path

    def filled(self, address: Address) -> Path:
        """A folder for pieces on their way to a store's; see `output`."""
        path = self._output_path(address)
        path.mkdir(exist_ok=True)
        self._filled.append(path)
        return path

    def shards(self, address: Address, *, quiet: bool) -> Path:
        """A copy of a folder of shards, which is kept for other runs (`shard_cache`)."""
        path = cached_shards(address, self._cache / "shards", self._stack, quiet)
        self._know(path, address)
        return path

    def _output_path(self, address: Address) -> Path:
        check_writable(address)
        folder = self._cache / "outputs" / hashlib.sha256(address.url.rstrip("/").encode()).hexdigest()[:16]
        ensure_folder(folder)
        if self._stack.enter_context(holding(folder / LOCK)) is False:
            raise InputError("another process is writing the same output", file=str(address))
        path = folder / address.name
        if address.names_a_folder:
            path.mkdir(exist_ok=True)
        _OUTPUTS[path] = address
        self._stack.callback(_OUTPUTS.pop, path)
        self._know(path, address)
        return path

    def check(self) -> None:
        """InputError if an output is an input."""
        inputs = {address.url.rstrip("/") for address in self._inputs}
        for address in self._outputs.values():
            if address.url.rstrip("/") in inputs:
                raise InputError("the output is the input itself", file=str(address), remedy="Choose another -o")

    def upload(self) -> None:
        """Put all outputs into their store; each file appears there whole or not at all.

        Raises:
            InputError: one cannot be put there; it is kept here, which is said.
        """
        for path, address in self._outputs.items():
            try:
                _upload(path, address)
            except InputError as error:
                names.forget(str(path))
                problem = f"{error.problem}; what was made is kept in {path}"
                raise InputError(problem, file=error.file, remedy=error.remedy) from None
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        for path in self._filled:
            shutil.rmtree(path)

    def _copied_folder(self, address: Address) -> Path:
        path = self._named(address)
        self._know(path, address)
        entries = list_below(address)
        all_done(fetch, [(entry, path / name) for name, entry in entries.items()])
        return path

    def _folder(self, address: Address) -> Path:
        path = self._named(address)
        stand_for(path, address)
        self._stack.callback(stand_no_more, path)
        return path

    def _named(self, address: Address) -> Path:
        """A new folder of the same name."""
        path = self._root / f"{next(self._numbers):02d}" / address.name
        path.mkdir(parents=True)
        return path

    def _know(self, path: Path, address: Address) -> None:
        names.know(str(path), str(address))
        self._stack.callback(names.forget, str(path))


def _upload(path: Path, address: Address) -> None:
    """Put a file, or all files of a folder; what says that the others are whole is put last."""
    if not path.is_dir():
        put(path, address)
        return
    files = [file for file in sorted(path.rglob("*")) if file.is_file() and not file.name.startswith(".")]
    last = [file for file in files if file.name in LAST]
    for group in ([file for file in files if file not in last], last):
        all_done(put, [(file, address.child(file.relative_to(path).as_posix())) for file in group])
