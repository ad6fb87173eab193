"""bpr: masks whose boundaries are right, from any instance segmenter's results.

    from bpr_cli import Refiner, refine

What is offered here is loaded when it is first asked for, so that `import bpr_cli` does not wait for torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bpr_cli.comparing.compare import compare
    from bpr_cli.errors import InputError
    from bpr_cli.evaluation.evaluate import evaluate
    from bpr_cli.evaluation.evaluation_settings import EvaluationSettings
    from bpr_cli.extraction.extract import extract
    from bpr_cli.extraction.extraction_settings import ExtractionSettings
    from bpr_cli.refining.refine import refine
    from bpr_cli.refining.refiner import ImageRefiner, Refiner
    from bpr_cli.refining.settings import RefineSettings
    from bpr_cli.refining.speed import SPEEDS, choose_speed
    from bpr_cli.training.recipe import Recipe, choose_recipe
    from bpr_cli.training.train import train

__version__ = "0.1.0"
__all__ = [
    "SPEEDS",
    "EvaluationSettings",
    "ExtractionSettings",
    "ImageRefiner",
    "InputError",
    "Recipe",
    "RefineSettings",
    "Refiner",
    "choose_recipe",
    "choose_speed",
    "compare",
    "evaluate",
    "extract",
    "refine",
    "train",
]

_HOMES = {
    "SPEEDS": "bpr_cli.refining.speed",
    "EvaluationSettings": "bpr_cli.evaluation.evaluation_settings",
    "ExtractionSettings": "bpr_cli.extraction.extraction_settings",
    "ImageRefiner": "bpr_cli.refining.refiner",
    "InputError": "bpr_cli.errors",
    "Recipe": "bpr_cli.training.recipe",
    "RefineSettings": "bpr_cli.refining.settings",
    "Refiner": "bpr_cli.refining.refiner",
    "choose_recipe": "bpr_cli.training.recipe",
    "choose_speed": "bpr_cli.refining.speed",
    "compare": "bpr_cli.comparing.compare",
    "evaluate": "bpr_cli.evaluation.evaluate",
    "extract": "bpr_cli.extraction.extract",
    "refine": "bpr_cli.refining.refine",
    "train": "bpr_cli.training.train",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
