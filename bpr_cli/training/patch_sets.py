"""The patches of a training run: whether they fit each other, and what tells them from others."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bpr_cli.errors import InputError
from bpr_cli.extraction.manifest import read_manifest
from bpr_cli.files import fingerprint
from bpr_cli.shards import SPLITS, list_shards
from bpr_cli.stores.names import with_addresses
from bpr_cli.training.loading import PatchDataset

NAMED = 3  # shards that an error message names
HASHERS = 4  # threads; a disk gives no more


@dataclass(frozen=True, slots=True, eq=False)
class PatchSets:
    """What a run learns from and is validated on.

    Attributes:
        manifests: folder, as it was given -> its manifest.
        train, val: all folders' patches of the split; val may be empty.
        patch_size, padding: in pixels, of every patch.
        scheme: by which the patches were cut; None: by several.
    """

    manifests: dict[str, dict[str, Any]]
    train: PatchDataset
    val: PatchDataset
    patch_size: int
    padding: int
    scheme: str | None


def read_patch_sets(folders: Sequence[Path]) -> PatchSets:
    """Read the manifests and the shards' tables of contents.

    Args:
        folders: what `bpr extract` made.

    Raises:
        InputError: a folder holds no finished extraction, other shards than its manifest names, or patches of another
            size; folders do not fit each other; or there is nothing to train on.
    """
    if not folders:
        raise InputError("there are no patches to train on", remedy="Give folders that bpr extract made")
    manifests = {str(folder): read_manifest(Path(folder)) for folder in folders}
    settings = [manifest["settings"] for manifest in manifests.values()]
    kinds = sorted({(each["patch_size"], each["padding"]) for each in settings})
    if len(kinds) > 1:
        listing = " and ".join(f"{size} px with a padding of {padding}" for size, padding in kinds)
        raise InputError(
            f"the patches differ in size or padding ({listing})",
            file=", ".join(manifests),
            remedy="Extract them with equal settings",
        )
    ((patch_size, padding),) = kinds
    schemes = {each["scheme"] for each in settings}
    for folder, manifest in manifests.items():
        _check_listed(Path(folder), manifest)
    train, val = (
        PatchDataset([shard for folder in folders for shard in list_shards(Path(folder), split)]) for split in SPLITS
    )
    if not len(train):
        what = "train shards hold no patches" if train.reader.shards else "there are no train shards"
        raise InputError(what, file=folders[0], remedy="Extract more photos, or set less aside: --val-fraction")
    for dataset in (train, val):
        dataset.reader.check_sides(patch_size + 2 * padding)
    shown = {with_addresses(folder): manifest for folder, manifest in manifests.items()}
    return PatchSets(shown, train, val, patch_size, padding, schemes.pop() if len(schemes) == 1 else None)


def fingerprint_shards(sets: PatchSets) -> list[dict[str, Any]]:
    """File name, bytes and hash of every shard, in the order in which the run numbers their patches."""
    with ThreadPoolExecutor(HASHERS) as threads:
        return list(threads.map(_fingerprint, sets.train.reader.shards + sets.val.reader.shards))


def _fingerprint(shard: Path) -> dict[str, Any]:
    size, sha256 = fingerprint(shard)
    return {"file": shard.name, "bytes": size, "sha256": sha256}


def _check_listed(folder: Path, manifest: dict[str, Any]) -> None:
    """InputError if there are shards that the manifest does not list."""
    for split, entry in manifest["splits"].items():
        others = [shard.name for shard in list_shards(folder, split) if shard.name not in entry["shards"]]
        if others:
            listing = ", ".join(others[:NAMED]) + (", ..." if len(others) > NAMED else "")
            raise InputError(
                f"shards are not in the manifest: {listing}", file=folder, remedy="Remove them, or extract again"
            )
