"""run.json: everything that decided a run, and what has changed since.

What changes the weights must be the same for a run to go on: the recipe, the model it began from, the precision, how
often it is validated, the patches, how many processes share a batch. What changes no more than their rounding, or the
log, is said and written down.
"""

from __future__ import annotations

import json
import platform
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeGuard

import cv2
import numpy as np
import torch

import bpr_cli
from bpr_cli.errors import InputError
from bpr_cli.files import refuse_folder, replacing
from bpr_cli.training.recipe import Recipe
from bpr_cli.training.run_folder import FILES, foreign_state, has_begun, load_state

FILE = "run.json"
DECIDING = ("recipe", "init", "precision", "validate_every", "shards", "processes")
RECORDED_ONLY = ("device", "threads", "save_every", "versions")


@dataclass(frozen=True, slots=True)
class Opened:
    """How a run begins.

    Attributes:
        record: run.json's content.
        state: what to go on from; None: begin.
    """

    record: dict[str, Any]
    state: dict[str, Any] | None


def describe(
    recipe: Recipe,
    *,
    init: Mapping[str, str] | None,
    precision: str,
    validate_every: int,
    save_every: int,
    shards: list[dict[str, Any]],
    manifests: Mapping[str, Any],
    device: str,
    processes: int,
) -> dict[str, Any]:
    """run.json's content.

    Args:
        recipe: how the network is trained.
        init: `model`, as it was named, and `weights`, their hash; None: random weights.
        precision: the decided one, never "auto".
        validate_every, save_every: in steps.
        shards: as `patch_sets.fingerprint_shards` gives them.
        manifests: shard folder -> its manifest.
        device: for the record.
        processes: that share a batch.
    """
    return {
        "recipe": asdict(recipe),
        "init": dict(init) if init else None,
        "precision": precision,
        "validate_every": validate_every,
        "save_every": save_every,
        "shards": shards,
        "patches": dict(manifests),
        "device": device,
        "processes": processes,
        "threads": torch.get_num_threads(),
        "versions": {
            "bpr": bpr_cli.__version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
            "opencv": cv2.__version__,
        },
    }


def deciding(record: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a record that must be the same for a run to go on: what its saved states carry as `run`."""
    return {key: record[key] for key in DECIDING}


def open_run(folder: Path, now: dict[str, Any], resume: bool, precision_is_open: bool) -> Opened:
    """Begin a run, or go on with the one that is there.

    Args:
        folder: the run's folder, locked.
        now: what `describe` gives.
        resume: whether an existing run may be continued.
        precision_is_open: "auto" was asked for, so that a run goes on in the precision that it began in.

    Raises:
        InputError: a run is there and `resume` is off, it was made with other settings, or its files are of another
            kind, or folders.
    """
    for name in (FILE, *FILES):
        refuse_folder(folder / name)
    now = json.loads(json.dumps(now))  # as it will be read
    existing = _read(folder)
    if not has_begun(folder):
        return Opened(now, None)
    if not resume:
        raise InputError(
            "a run is there already", file=folder, remedy="Continue it with --resume, or choose another -o"
        )
    state = load_state(folder)
    kept = state.get("run") if state is not None else None
    if existing is None and _is_record(kept):
        existing = {**now, **kept}
    if existing is None:
        raise InputError(
            "what decided the run there is not recorded", file=folder / FILE, remedy="Choose another -o, or remove it"
        )
    if precision_is_open:
        now["precision"] = existing["precision"]
    changed = _differences(existing, now)
    if changed:
        raise InputError(
            f"the run there was made with other settings ({'; '.join(changed)})",
            file=folder,
            remedy="Give the same settings to continue it, or choose another -o",
        )
    if state is not None and (not _is_record(kept) or _differences(kept, existing)):
        raise foreign_state(folder)
    return Opened(_updated(existing, now, state), state)


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    """Write run.json."""
    with replacing(folder / FILE) as temporary:
        temporary.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def _read(folder: Path) -> dict[str, Any] | None:
    """run.json's content; None if there is none, or a power cut took it.

    Raises:
        InputError: it is a file of another kind.
    """
    path = folder / FILE
    if not path.exists():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        return None
    if not _is_record(record):
        raise InputError(
            "this file is no record of a run, or of one by an earlier version",
            file=path,
            remedy="Choose another -o, or remove it",
        )
    return record


def _is_record(record: object) -> TypeGuard[dict[str, Any]]:
    return (
        isinstance(record, dict)
        and record.keys() >= set(DECIDING)
        and isinstance(record["recipe"], dict)
        and isinstance(record["precision"], str)
        and isinstance(record["shards"], list)
        and all(isinstance(shard, dict) for shard in record["shards"])
        and isinstance(record["init"], (dict, type(None)))
    )


def _differences(existing: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What of all that decides the weights is another, a text each: "steps 1 -> 2"."""
    # Runs from before there was a choice had the mask patch.
    before, after = {"mask_patch": True, **existing["recipe"]}, now["recipe"]
    changed = [f"{key} {before.get(key)} -> {after.get(key)}" for key in after if before.get(key) != after.get(key)]
    if _weights(existing["init"]) != _weights(now["init"]):
        changed.append(f"init {_named(existing['init'])} -> {_named(now['init'])}")
    for key in ("precision", "validate_every", "processes"):
        if existing.get(key) != now[key]:
            changed.append(f"{key} {existing.get(key)} -> {now[key]}")
    if existing["shards"] != now["shards"]:
        changed.append(f"patches {_which_shards(existing['shards'], now['shards'])}")
    return changed


def _weights(init: Mapping[str, Any] | None) -> object:
    return init.get("weights") if init else None


def _named(init: Mapping[str, Any] | None) -> str:
    return f"{init.get('model')} ({str(init.get('weights'))[:8]})" if init else "random"


def _which_shards(existing: list[dict[str, Any]], now: list[dict[str, Any]]) -> str:
    if len(existing) != len(now):
        return f"{len(existing)} -> {len(now)} shards"
    before, after = next((old, new) for old, new in zip(existing, now, strict=True) if old != new)
    return f"{_shard(before)} -> {_shard(after)}"


def _shard(shard: Mapping[str, Any]) -> str:
    return f"{shard.get('file')} ({str(shard.get('sha256'))[:8]})"


def _updated(existing: Mapping[str, Any], now: Mapping[str, Any], state: Mapping[str, Any] | None) -> dict[str, Any]:
    """The record with what else has changed, which is said."""
    before, after = _flat(existing), _flat(now)
    changed = [f"{key} {before.get(key)} -> {value}" for key, value in after.items() if before.get(key) != value]
    if not changed:
        return dict(existing)
    warnings.warn(f"the run goes on with other settings ({'; '.join(changed)})", stacklevel=3)
    change = {"step": state.get("step") if state else 0, "changed": changed}
    history = existing.get("changes")
    earlier = history if isinstance(history, list) else []
    return {**existing, **{key: now[key] for key in RECORDED_ONLY}, "changes": [*earlier, change]}


def _flat(record: Mapping[str, Any]) -> dict[str, Any]:
    """What is said, with each version by itself."""
    found = {key: record.get(key) for key in RECORDED_ONLY}
    versions = found.pop("versions")
    return {**found, **(versions if isinstance(versions, dict) else {})}
