"""What a folder of shards holds and how it was made."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bpr_cli.errors import InputError
from bpr_cli.files import replacing

NAME = "manifest.json"


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write `manifest.json` of a shard folder."""
    with replacing(folder / NAME) as temporary:
        temporary.write_text(json.dumps(manifest, indent=2) + "\n")


def read_any_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of an extraction, finished or not; None if there is none.

    Raises:
        InputError: it is broken.
    """
    path = folder / NAME
    if not path.exists():
        return None
    try:
        manifest = json.loads(path.read_text())
        manifest["complete"], manifest["settings"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError("the manifest is broken", file=path, remedy="Extract the patches again") from error
    return manifest


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a finished extraction.

    Raises:
        InputError: there is none, it is broken, or the extraction was not finished.
    """
    manifest = read_any_manifest(folder)
    if manifest is None:
        raise InputError("there are no patches here", file=folder, remedy="Make them with bpr extract -o")
    if not manifest["complete"]:
        raise InputError("the extraction was not finished", file=folder, remedy="Run the same bpr extract again")
    return manifest
