"""Whether the models that ship are whole: their files against the hashes in their cards."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from bpr_cli.network import zoo


@dataclass(frozen=True, slots=True)
class ModelState:
    """One model that ships.

    Attributes:
        name: its folder's.
        size: bytes of its files.
        faults: what is wrong with which file; none: it is whole.
    """

    name: str
    size: int
    faults: tuple[str, ...]


def model_states() -> list[ModelState]:
    """The models that ship, by name: those that have a card, or weights."""
    folders = {path.parent for name in (zoo.CARD_FILE, zoo.WEIGHTS_FILE) for path in zoo.zoo_folder().glob(f"*/{name}")}
    return [_state(folder) for folder in sorted(folders)]


def file_hash(path: Path) -> str:
    """SHA-256 of a file; of an .xml with line ends as they are in the repository, which git may change."""
    data = path.read_bytes()
    return hashlib.sha256(data.replace(b"\r\n", b"\n") if path.suffix == ".xml" else data).hexdigest()


def _state(folder: Path) -> ModelState:
    faults = []
    hashes: dict[str, str] = {}
    for name in (zoo.CARD_FILE, zoo.CONFIG_FILE):
        try:
            document = json.loads((folder / name).read_text(encoding="utf-8"))
            if name == zoo.CARD_FILE:
                hashes = dict(document["sha256"])
        except OSError as error:
            faults.append(f"{name}: {error.strerror}")
        except (ValueError, KeyError, TypeError) as error:
            faults.append(f"{name}: damaged ({type(error).__name__})")
    for name, expected in hashes.items():
        try:
            if file_hash(folder / name) != expected:
                faults.append(f"{name}: damaged ({(folder / name).stat().st_size:,} bytes)")
        except OSError as error:
            faults.append(f"{name}: {error.strerror}")
    size = sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
    return ModelState(folder.name, size, tuple(faults))
