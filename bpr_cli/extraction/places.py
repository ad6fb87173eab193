"""Where the shards of an extraction go: a local folder, or a store, to which each goes as soon as it is whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bpr_cli.extraction import manifest
from bpr_cli.extraction.manifest import ShardReport, report_path
from bpr_cli.stores.addresses import Address
from bpr_cli.stores.parallel import all_done
from bpr_cli.stores.staging import output_address
from bpr_cli.stores.transfers import fetch, list_below, put


@dataclass(frozen=True, slots=True)
class LocalShards:
    """A folder of shards.

    Attributes:
        path: the folder, which is there.
    """

    path: Path

    def unlisted(self, made_from: str) -> list[str]:
        """Shards that no report tells to be of this extraction; empty files, as a power cut leaves them, do not count.

        Args:
            made_from: `manifest.digest` of the extraction.
        """
        tars = [tar for tar in self.path.glob("*.tar") if tar.stat().st_size]
        return [tar.name for tar in tars if self.finished(tar.stem, made_from) is None]

    def finished(self, name: str, made_from: str) -> ShardReport | None:
        """The report of a shard that is there, whole; None for any other."""
        return manifest.finished_shard(self.path, name, made_from)

    def keep(self, report: ShardReport) -> None:
        """Take a shard that was made in `path`."""
        manifest.write_report(self.path, report)

    def write_manifest(self, content: Mapping[str, Any]) -> None:
        """Write `manifest.json`."""
        manifest.write_manifest(self.path, content)


@dataclass(frozen=True, slots=True)
class StoreShards:
    """A folder of shards in a store.

    Attributes:
        path: a local folder that holds the manifest, the reports, and shards on their way.
        address: of the folder.
        sizes: bytes of what was there at the beginning, by name.
    """

    path: Path
    address: Address
    sizes: Mapping[str, int | None]

    def unlisted(self, made_from: str) -> list[str]:
        """See `LocalShards`."""
        tars = [name for name in self.sizes if name.endswith(".tar") and "/" not in name]
        return [name for name in tars if self.finished(name.removesuffix(".tar"), made_from) is None]

    def finished(self, name: str, made_from: str) -> ShardReport | None:
        """See `LocalShards`. What is in the store is told by its report and its size."""
        if (left := manifest.finished_shard(self.path, name, made_from)) is not None:
            self.keep(left)  # it was stopped on its way
            return left
        report = manifest.read_report(self.path, name, made_from)
        return report if report is not None and self.sizes.get(f"{name}.tar") == report.size else None

    def keep(self, report: ShardReport) -> None:
        """See `LocalShards`. The report follows the shard, which it says to be whole."""
        manifest.write_report(self.path, report)
        tar = self.path / f"{report.name}.tar"
        for file in (tar, report_path(self.path, report.name)):
            put(file, self.address.child(file.name))
        tar.unlink()

    def write_manifest(self, content: Mapping[str, Any]) -> None:
        """See `LocalShards`."""
        manifest.write_manifest(self.path, content)
        put(self.path / manifest.NAME, self.address.child(manifest.NAME))


def place_of(out: Path) -> LocalShards | StoreShards:
    """Where the shards go that are to be made in `out`, a folder that is there."""
    address = output_address(out)
    if address is None:
        return LocalShards(out)
    entries = list_below(address, may_be_empty=True)
    (out / manifest.NAME).unlink(missing_ok=True)  # what is in the store counts, as another machine may have put it
    wanted = [name for name in entries if name == manifest.NAME or _is_report(name)]
    all_done(fetch, [(entries[name], out / name) for name in wanted])
    return StoreShards(out, address, {name: entry.size for name, entry in entries.items()})


def _is_report(name: str) -> bool:
    return name.endswith(manifest.REPORT) and "/" not in name
