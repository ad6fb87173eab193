"""Shards of a store on this machine: copied whole, once for all processes and runs, kept as long as there is room.

SET/NAME/           a folder as `bpr extract` makes it; SET tells its address and its manifest's content
SET/users/          a locked file for each process that reads it
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

from bpr_cli.errors import InputError
from bpr_cli.files import fingerprint, replacing
from bpr_cli.locks import holding, taking_turns
from bpr_cli.progress import progress_bar
from bpr_cli.stores.addresses import Address
from bpr_cli.stores.parallel import each_done
from bpr_cli.stores.transfers import Entry, fetch, find_entry, read_bytes

MANIFEST = "manifest.json"
LIMIT, MOST_GIB = "BPR_CACHE_GIB", 100.0  # environment variable; of all sets together
GIB = 1 << 30
SPARE = GIB  # bytes that are left free on the disk
TRIES = 3  # of a shard that comes with other content


def cached_shards(address: Address, cache: Path, stack: ExitStack, quiet: bool) -> Path:
    """A local folder with the manifest and the shards of one in a store.

    Args:
        address: of the folder.
        cache: where sets are kept.
        stack: as long as it is open, the set stays.
        quiet: no progress bar.

    Raises:
        InputError: it cannot be read, a shard is not the one that the manifest names, or there is no room for it.
        OSError: the disk is full or the like.
    """
    entry = find_entry(address.child(MANIFEST))
    assert entry is not None  # it does not end in a slash
    data = read_bytes(entry)
    shards = _listed(data)
    key = hashlib.sha256(address.url.rstrip("/").encode() + hashlib.sha256(data).digest()).hexdigest()[:16]
    folder = cache / key / address.name
    (cache / key / "users").mkdir(parents=True, exist_ok=True)
    with taking_turns(cache / ".lock"):
        user = cache / key / "users" / secrets.token_hex(8)
        stack.enter_context(holding(user))
        stack.callback(_remove, user)
        os.utime(cache / key)
        _make_room(cache, key, sum(size or 0 for size, _ in shards.values()), address)
    with taking_turns(cache / key / ".lock"):
        folder.mkdir(exist_ok=True)
        missing = [
            (address.child(name), folder / name, *shards[name]) for name in shards if not (folder / name).is_file()
        ]
        with (
            progress_bar(len(missing), "fetch shards", "shard", quiet=quiet or not missing) as bar,
            closing(each_done(_fetch_shard, missing)) as done,
        ):
            for _ in done:
                bar.update()
        with replacing(folder / MANIFEST) as temporary:
            temporary.write_bytes(data)
    return folder


def _listed(data: bytes) -> dict[str, tuple[int | None, str | None]]:
    """Name -> size and SHA-256, as far as they are recorded; nothing of a manifest that its reader will refuse."""
    try:
        manifest: dict[str, Any] = json.loads(data)
        recorded = manifest.get("shards", {})
        names = [Path(name).name for entry in manifest["splits"].values() for name in entry["shards"]]
        return {name: (recorded.get(name, {}).get("size"), recorded.get(name, {}).get("sha256")) for name in names}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _fetch_shard(address: Address, path: Path, size: int | None, sha256: str | None) -> None:
    arrived = path.with_name(f".{path.name}.arrived")
    for _ in range(TRIES):
        fetch(Entry(address, None if address.is_on_the_web else size), arrived)
        if sha256 is None or fingerprint(arrived).sha256 == sha256:
            arrived.replace(path)
            return
    raise InputError(
        "it is not the shard that manifest.json names", file=str(address), remedy="Extract the patches again"
    )


def _make_room(cache: Path, key: str, size: int, address: Address) -> None:
    """Remove sets that no process reads, the one that was used longest ago first, until there is room for another."""
    most = _limit()
    sizes = {folder: _size(folder) for folder in cache.iterdir() if folder.is_dir()}
    there = sizes.pop(cache / key)
    unused = sorted((folder for folder in sizes if not _is_used(folder)), key=lambda folder: folder.stat().st_mtime)

    def lacks_room() -> bool:
        return size + sum(sizes.values()) > most or size - there + SPARE > shutil.disk_usage(cache).free

    while lacks_room() and unused:
        shutil.rmtree(unused[0], ignore_errors=True)
        del sizes[unused.pop(0)]
    if lacks_room():
        free = shutil.disk_usage(cache).free / GIB
        raise InputError(
            f"its shards take {size / GIB:.1f} GiB; the cache may hold {most / GIB:g} ({LIMIT}), and its disk has "
            f"{free:.1f} free",
            file=str(address),
            remedy="Set BPR_CACHE to a folder with more room",
        )


def _limit() -> float:
    """Bytes that all sets may take; InputError for what is no number."""
    text = os.environ.get(LIMIT, "")
    try:
        return (float(text) if text else MOST_GIB) * GIB
    except ValueError:
        raise InputError(f"{LIMIT} is {text!r}, not a number", remedy="Set it to GiB, or not at all") from None


def _remove(user: Path) -> None:
    with suppress(OSError):  # Windows removes no open file; whoever makes room will
        user.unlink()


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*.tar") if path.is_file())


def _is_used(folder: Path) -> bool:
    """Whether a process holds one of the set's locks; the files of those that are gone are removed."""
    for user in (folder / "users").glob("*"):
        with holding(user) as free:
            if not free:
                return True
        user.unlink(missing_ok=True)
    return False
