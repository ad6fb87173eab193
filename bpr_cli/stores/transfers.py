"""What is asked of a store: what there is, its bytes, and to keep some. Each is tried again where that may help."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

from bpr_cli.errors import InputError
from bpr_cli.files import BLOCK, replacing
from bpr_cli.stores.addresses import Address
from bpr_cli.stores.retrying import INSTALL, PACKAGES, CutOffError, with_retries

CONNECT_TIMEOUT, READ_TIMEOUT = 5, 15  # seconds without an answer; what fsspec's configuration says goes before
PIECE = 32 * BLOCK  # bytes asked for at once
TRIES_INSIDE = 2  # of s3fs itself, for each page of a listing


class Entry(NamedTuple):
    """An object.

    Attributes:
        address: of it.
        size: bytes; None where the store does not say.
        changed: when, in ns, to the second; None where the store does not say.
    """

    address: Address
    size: int | None = None
    changed: int | None = None


def find_entry(address: Address) -> Entry | None:
    """The object at an address; None for a folder, and on the web for what ends in a slash.

    Raises:
        InputError: there is neither, or it cannot be asked.
    """
    if address.names_a_folder:
        return None
    if address.is_on_the_web:
        return Entry(address)
    store = _store(address)
    found = with_retries(address, "read", lambda: store.info(address.url))
    return _entry(address, found) if found.get("type") == "file" else None


def list_below(folder: Address, *, may_be_empty: bool = False) -> dict[str, Entry]:
    """Name relative to the folder -> object, of all that lie below it; on the web, of all that its pages link to.

    Raises:
        InputError: it cannot be listed, or is empty where it may not be.
    """
    if folder.is_signed:
        raise InputError(
            "what is signed is one file, not a folder", file=str(folder), remedy="Give the address of a file"
        )
    store = _store(folder)
    root = f"{folder.url.rstrip('/')}/"
    listed = with_retries(folder, "listed", lambda: store.find(root, detail=True))
    found = {}
    for name, info in listed.items():
        address = Address(name if folder.is_on_the_web else str(store.unstrip_protocol(name)))
        relative = address.url.removeprefix(root)
        if relative and relative != address.url and not relative.endswith("/") and "?" not in relative[-1:]:
            found[unquote(relative) if folder.is_on_the_web else relative] = _entry(address, info)
    if not found and not may_be_empty:
        raise InputError("there is no such folder, or nothing in it", file=str(folder), remedy="Check the address")
    return found


def read_bytes(entry: Entry) -> bytes:
    """All of an object; InputError if it cannot be read whole."""
    return b"".join(_pieces(entry))


def fetch(entry: Entry, path: Path) -> None:
    """Copy an object to a local file, which appears whole or not at all.

    Raises:
        InputError: it cannot be read whole.
        OSError: the disk is full or the like.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary, temporary.open("wb") as stream:
        for piece in _pieces(entry):
            stream.write(piece)


def put(path: Path, address: Address) -> None:
    """Copy a local file into a store, where it appears whole or not at all; InputError if that fails."""
    store, size = _store(address), path.stat().st_size

    def upload() -> None:
        store.put_file(str(path), address.url)
        store.invalidate_cache()
        if store.info(address.url)["size"] != size:
            raise CutOffError("it is shorter there")

    with_retries(address, "written", upload)


def check_writable(address: Address) -> None:
    """InputError, before any work, for an address that surely cannot be written to."""
    if address.is_on_the_web:
        raise InputError("web servers are only read from", file=str(address), remedy="Name a local output, or s3://")
    _store(address)


def _pieces(entry: Entry) -> Iterator[bytes]:
    """An object's bytes, in order; each piece is tried again by itself."""
    address, size = entry.address, entry.size
    store = _store(address)
    if size is None:
        yield with_retries(address, "read", lambda: store.cat_file(address.url))
        return
    before = with_retries(address, "read", lambda: store.info(address.url)) if size > PIECE else None
    for start in range(0, size, PIECE):
        yield with_retries(address, "read", partial(_piece, store, address, start, min(start + PIECE, size)))
    if before is not None:
        after = with_retries(address, "read", lambda: store.info(address.url))
        if _version(before) != _version(after) or before["size"] != size:
            raise InputError("it was changed while it was read", file=str(address), remedy="Run it again")


def _piece(store: Any, address: Address, start: int, end: int) -> bytes:
    data = bytes(store.cat_file(address.url, start=start, end=end))
    if len(data) != end - start:
        raise CutOffError(f"{len(data)} of {end - start} bytes")
    return data


def _version(info: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(info.get(key) for key in ("size", "ETag", "etag", "LastModified", "updated", "blob_id"))


def _entry(address: Address, info: dict[str, Any]) -> Entry:
    changed = next((info[key] for key in ("LastModified", "updated", "mtime") if info.get(key)), None)
    if isinstance(changed, str):
        try:
            changed = datetime.fromisoformat(changed.replace("Z", "+00:00"))
        except ValueError:
            changed = None
    stamp = int(changed.timestamp()) * 10**9 if isinstance(changed, datetime) else None
    return Entry(address, info.get("size"), stamp)


def _store(address: Address) -> Any:
    """fsspec's file system of an address; InputError where a package is missing."""
    try:
        import fsspec
        from fsspec.config import conf

        options = _options(address, conf.get(address.scheme, {}))
        store = fsspec.filesystem(address.scheme, use_listings_cache=False, **options)
    except ImportError:
        raise InputError(
            f"{address.scheme}:// needs {PACKAGES[address.scheme]}", file=str(address), remedy=INSTALL[address.scheme]
        ) from None
    if address.scheme == "s3":
        store.retries = TRIES_INSIDE
    return store


def _options(address: Address, configured: dict[str, Any]) -> dict[str, Any]:
    """What a file system is opened with, beside what fsspec's configuration says."""
    if address.scheme == "s3":
        timeouts = {"connect_timeout": CONNECT_TIMEOUT, "read_timeout": READ_TIMEOUT, "retries": {"max_attempts": 0}}
        return {"config_kwargs": {**timeouts, **configured.get("config_kwargs", {})}}
    if address.is_on_the_web:
        from aiohttp import ClientTimeout

        timeout = ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT, sock_read=READ_TIMEOUT)
        # What is quoted already, a signature above all, is not to be quoted anew.
        return {
            "client_kwargs": {"timeout": timeout, **configured.get("client_kwargs", {})},
            "encoded": "%" in address.url,
        }
    return {}
