"""Where models lie, and what is known of those that ship: the machine-readable part of their cards."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from bpr_cli.errors import InputError

CARD_FILE = "card.json"
WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "config.json"
INT8_FILE = "int8.xml"  # and int8.bin: the same network in 8 bits, for OpenVINO (`bpr export --int8`)


@dataclass(frozen=True, slots=True)
class ZooModel:
    """One model that ships.

    Attributes:
        name: what `--model` takes.
        licence: of the weights.
        measured_on: the validation set of the figures.
        options: those of `bpr refine` that they were measured with.
        figures: figure -> (before, after) refinement, fractions 0..1.
    """

    name: str
    licence: str
    measured_on: str
    options: str
    figures: Mapping[str, tuple[float, float]]


def zoo_models() -> list[ZooModel]:
    """The models that ship, by name."""
    models = []
    for name in zoo_names():
        card = json.loads((zoo_folder() / name / CARD_FILE).read_text(encoding="utf-8"))
        figures = {key: (before, after) for key, (before, after) in card["figures"].items()}
        models.append(ZooModel(name, card["licence"], card["measured_on"], card["options"], figures))
    return models


def zoo_folder() -> Path:
    """Where the models that ship lie: `zoo/` in an installed package, `models/` beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "zoo"
    return installed if installed.is_dir() else package.parent / "models"


def zoo_names() -> list[str]:
    """Names of the models that ship, sorted."""
    return sorted(path.parent.name for path in zoo_folder().glob(f"*/{WEIGHTS_FILE}"))


def resolve(name_or_path: str | PathLike[str]) -> Path:
    """The weights file that a name or path stands for.

    Args:
        name_or_path: a zoo name, which goes before a folder of the same name (write `./NAME` for that one); a
            model's folder; a training run's folder, for its best weights; or a weights file.

    Raises:
        InputError: there is no such model, or the folder holds none.
    """
    name = str(name_or_path)
    if name in zoo_names():
        return zoo_folder() / name / WEIGHTS_FILE
    path = Path(name_or_path)
    if path.is_file():
        return path
    if not path.is_dir():
        raise InputError(f"there is no model {name!r}", remedy=choices())
    for folder in (path, path / "best"):
        if (folder / WEIGHTS_FILE).is_file():
            return folder / WEIGHTS_FILE
    if (path / "run.json").is_file():
        raise InputError("the training run has kept no weights yet", file=path, remedy="Let it train longer")
    raise InputError(f"the folder holds no {WEIGHTS_FILE}", file=path, remedy=choices())


def int8_file(name_or_path: str | PathLike[str]) -> Path | None:
    """The model's 8-bit form, if it has one; `name_or_path` as in `resolve`."""
    path = resolve(name_or_path).with_name(INT8_FILE)
    return path if path.is_file() else None


def choices() -> str:
    """What a model may be named by, for error messages."""
    names = zoo_names()
    ships = f"Models that ship: {', '.join(names)}" if names else "No model ships with this installation"
    return f"{ships}; or give a training run's folder, a model's folder, a .safetensors or a .pth file"
