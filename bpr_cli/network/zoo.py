"""What is known of the models that ship: the machine-readable part of their cards."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from bpr_cli.network.checkpoint import zoo_folder, zoo_names

CARD_FILE = "card.json"


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
