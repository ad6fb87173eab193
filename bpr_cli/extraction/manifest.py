"""What a folder of shards holds and how it was made.

manifest.json      settings; inputs with their sizes and hashes; whether all is done. Once it is: counts, and each
                   shard's patches, size and hash
SHARD.report.json  what one shard was made from and holds. It is written after the shard, so a shard is done if its
                   report says the size and hash that it has
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bpr_cli.errors import InputError
from bpr_cli.extraction.extraction_settings import ExtractionSettings
from bpr_cli.files import fingerprint, replacing

NAME, REPORT = "manifest.json", ".report.json"
DECISIVE = ("patch_size", "padding", "scheme")  # settings that whoever uses the patches must know


@dataclass(frozen=True, slots=True)
class ShardReport:
    """What became of one shard.

    Attributes:
        name: of the shard, without ending.
        made_from: `digest` of the extraction's settings and inputs.
        size, sha256: of the tar.
        photos: path within the folder of photos -> size and time of change (ns) when it was read.
        counts: what was used and what was left out.
        skipped: the bad images that were left out, a line each.
        notices: text and file of each `InputWarning`.
    """

    name: str
    made_from: str
    size: int
    sha256: str
    photos: dict[str, list[int]]
    counts: dict[str, int]
    skipped: list[str]
    notices: list[tuple[str, str]]


def describe(settings: ExtractionSettings, gt: Path, results: Sequence[Path]) -> dict[str, Any]:
    """Settings and inputs of an extraction, as JSON gives them back."""
    inputs = {"gt": _described(gt), "results": [_described(path) for path in results]}
    return {"settings": {**asdict(settings), "scales": list(settings.scales)}, "inputs": inputs}


def _described(path: Path) -> dict[str, Any]:
    return {"name": path.name, **fingerprint(path)._asdict()}


def digest(description: Mapping[str, Any]) -> str:
    """One word for the settings and the inputs' content."""
    text = json.dumps([description["settings"], description["inputs"]], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def differences(existing: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What sets two descriptions apart, a phrase each."""
    before, after = existing["settings"], now["settings"]
    found = [f"{key} {before.get(key)} -> {value}" for key, value in after.items() if before.get(key) != value]
    old, new = existing["inputs"], now["inputs"]
    if len(old["results"]) != len(new["results"]):
        found.append(f"{len(old['results'])} -> {len(new['results'])} results")
    pairs = [(old["gt"], new["gt"]), *zip(old["results"], new["results"], strict=False)]
    return found + [phrase for pair in pairs if (phrase := _difference(*pair))]


def _difference(before: Any, after: Mapping[str, Any]) -> str | None:
    if before == after:
        return None
    if not isinstance(before, dict):  # a name alone, as this tool once wrote it
        return f"what was in {before} is not recorded"
    if before.get("name") != after["name"]:
        return f"{before.get('name')} -> {after['name']}"
    return f"{after['name']} has changed"


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write `manifest.json` of a shard folder."""
    with replacing(folder / NAME) as temporary:
        temporary.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def read_any_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of an extraction, finished or not; None if there is none, or nothing in it (a power cut).

    Raises:
        InputError: it is broken, or no manifest of an extraction.
    """
    path = folder / NAME
    try:
        data = path.read_bytes()
        if not data.strip(b"\0 \t\r\n"):
            return None
        manifest = json.loads(data)
        _check_manifest(manifest)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"the manifest cannot be read ({error.strerror})", file=path) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError("the manifest is broken", file=path, remedy="Extract the patches again") from error
    return manifest


def _check_manifest(manifest: Any) -> None:
    """Some error or other unless it has the form that `extract` writes."""
    settings = manifest["settings"]
    if not set(DECISIVE) <= settings.keys():
        raise ValueError("settings are missing")
    if any(type(settings[key]) is not int for key in ("patch_size", "padding")):
        raise TypeError("sizes are no whole numbers")
    ExtractionSettings(**{**settings, "scales": tuple(settings.get("scales", (1.0,)))})
    inputs = manifest["inputs"]
    recorded = manifest.get("shards", {})
    if not (isinstance(inputs["results"], list) and "gt" in inputs and isinstance(recorded, dict)):
        raise TypeError("the inputs are not recorded")
    if not isinstance(manifest["complete"], bool):
        raise TypeError("whether all is done is not recorded")
    if manifest["complete"]:
        for entry in manifest["splits"].values():
            if not all(isinstance(name, str) for name in entry["shards"]) or type(entry["patches"]) is not int:
                raise TypeError("the splits are not recorded")
            if not all(type(recorded[name]["size"]) is int for name in entry["shards"] if name in recorded):
                raise TypeError("the shards are not recorded")


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a finished extraction whose shards are all there.

    Raises:
        InputError: there is none, it is broken, the extraction was not finished, or a shard is missing or of another
            size.
    """
    manifest = read_any_manifest(folder)
    if manifest is None and not (folder / NAME).exists():
        raise InputError("there are no patches here", file=folder, remedy="Make them with bpr extract -o")
    if manifest is None or not manifest["complete"]:
        raise InputError("the extraction was not finished", file=folder, remedy="Run the same bpr extract again")
    for entry in manifest["splits"].values():
        for name in entry["shards"]:
            _check_shard(folder / Path(name).name, manifest.get("shards", {}).get(name))
    return manifest


def _check_shard(shard: Path, recorded: Mapping[str, Any] | None) -> None:
    if not shard.is_file():
        raise InputError("the shard is missing", file=shard, remedy="Run the same bpr extract again")
    if recorded is not None and shard.stat().st_size != recorded["size"]:
        raise InputError(
            f"the shard has {shard.stat().st_size} bytes, not the {recorded['size']} that were written",
            file=shard,
            remedy="Run the same bpr extract again",
        )


def report_path(out: Path, name: str) -> Path:
    """Where the report of a shard lies."""
    return out / f"{name}{REPORT}"


def write_report(out: Path, report: ShardReport) -> None:
    """Write a shard's report beside it."""
    with replacing(report_path(out, report.name)) as temporary:
        temporary.write_text(json.dumps(asdict(report)), encoding="utf-8")


def read_report(out: Path, name: str, made_from: str) -> ShardReport | None:
    """The report of a shard; None if it is missing, broken, or of another extraction."""
    try:
        report = ShardReport(**json.loads(report_path(out, name).read_bytes()))
        return report if report.name == name and report.made_from == made_from and _is_well_formed(report) else None
    except (OSError, ValueError, TypeError, RecursionError):
        return None


def finished_shard(out: Path, name: str, made_from: str) -> ShardReport | None:
    """The report of a shard that is done; None if there is none such, or it is not of this tar."""
    report = read_report(out, name, made_from)
    try:
        tar = out / f"{name}.tar"
        if report is None or tar.stat().st_size != report.size or fingerprint(tar) != (report.size, report.sha256):
            return None
    except OSError:
        return None
    return report


def _is_well_formed(report: ShardReport) -> bool:
    """Whether what a file says has the types of a `ShardReport`."""

    def is_mapping(value: object, of: Callable[[object], bool]) -> bool:
        return isinstance(value, dict) and all(map(of, value.values()))

    def is_count(value: object) -> bool:
        return type(value) is int and value >= 0

    def is_stamp(value: object) -> bool:
        return isinstance(value, list) and all(type(number) is int for number in value)

    def is_text(value: object) -> bool:
        return isinstance(value, str)

    def is_notice(value: object) -> bool:
        return isinstance(value, list) and len(value) == 2 and all(map(is_text, value))

    return (
        is_mapping(report.photos, is_stamp)
        and is_mapping(report.counts, is_count)
        and isinstance(report.skipped, list)
        and all(map(is_text, report.skipped))
        and isinstance(report.notices, list)
        and all(map(is_notice, report.notices))
    )
