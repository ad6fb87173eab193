"""What decides a training run, and two recipes: the paper's, and our default."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace

from bpr_cli.errors import InputError
from bpr_cli.network.config import ModelConfig

# Side of the input in px: W48 was trained at 256 in the paper, the small network at 128.
INPUT_SIZES = {"hrnet-w18-small": 128, "hrnet-w18": 128, "hrnet-w32": 128, "hrnet-w48": 256}

CHOICES = {
    "network": tuple(INPUT_SIZES),
    "optimizer": ("sgd", "adamw"),
    "schedule": ("poly", "cosine"),
    "loss": ("ce", "ce+dice"),
    "loss_at": ("input", "patch"),
}


@dataclass(frozen=True, slots=True)
class Recipe:
    """How the network is trained.

    Attributes:
        network: a name from `network.config.CONFIGS`.
        input_size: side to which patches are enlarged for the network.
        mask_patch: the network sees the coarse mask beside the photo; without is the ablation of the paper's table 2.
        steps: optimiser steps.
        batch_size: patches a step, over all processes.
        optimizer: "sgd" (momentum 0.9) or "adamw".
        lr, final_lr: learning rate after warm-up and at the end.
        schedule: "poly" (power 0.9) or "cosine" between the two.
        warmup: steps of linear warm-up.
        weight_decay: of convolution weights; normalisation weights and biases are spared under "adamw".
        loss: "ce" (softmax cross-entropy) or "ce+dice".
        loss_at: "input" compares at the enlarged size, as the paper; "patch" at the patch's own pixels,
            where results are pasted, at a quarter of the cost.
        rotations: all eight flips and quarter turns instead of the horizontal flip alone.
        color_jitter: photometric distortion.
        ema: decay of the weights' moving average that is validated and kept; 0 keeps the weights themselves.
        clip_norm: gradients are scaled down to this norm; 0 leaves them.
        seed: initial weights, order of patches, augmentation.

    Raises:
        InputError: a field is of another type, or out of its range.
    """

    network: str = "hrnet-w18-small"
    input_size: int = 128
    mask_patch: bool = True
    steps: int = 6000
    batch_size: int = 32
    optimizer: str = "adamw"
    lr: float = 2e-3
    final_lr: float = 2e-5
    schedule: str = "cosine"
    warmup: int = 200
    weight_decay: float = 0.02
    loss: str = "ce+dice"
    loss_at: str = "patch"
    rotations: bool = True
    color_jitter: bool = True
    ema: float = 0.998
    clip_norm: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        for field in fields(self):
            _check_type(field.name, str(field.type), getattr(self, field.name))
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise InputError(f"no {name} {getattr(self, name)!r}", remedy=f"Choose from {', '.join(choices)}")
        rules = [
            (self.steps >= 1, "steps", "at least 1"),
            (self.batch_size >= 2, "batch_size", "at least 2: batch normalisation needs more than one patch"),
            (32 <= self.input_size <= 2048 and self.input_size % 32 == 0, "input_size", "a multiple of 32, up to 2048"),
            (self.lr > 0, "lr", "above 0"),
            (self.final_lr >= 0, "final_lr", "0 or more"),
            (self.warmup >= 0, "warmup", "0 or more"),
            (self.weight_decay >= 0, "weight_decay", "0 or more"),
            (0 <= self.ema < 1, "ema", "in 0..1, without 1"),
            (self.clip_norm >= 0, "clip_norm", "0 or more"),
            (0 <= self.seed < 2**32, "seed", "in 0..4294967295"),
        ]
        for holds, name, rule in rules:
            if not holds:
                raise InputError(f"{name} is {getattr(self, name)!r}; it must be {rule}")


def _check_type(name: str, kind: str, value: object) -> None:
    """InputError unless a field's value is of its type; floats must be finite, and may be given as integers."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    fits = {
        "str": isinstance(value, str),
        "bool": isinstance(value, bool),
        "int": is_number and isinstance(value, int),
        "float": is_number and math.isfinite(value),  # type: ignore[arg-type]
    }
    if not fits[kind]:
        what = {"str": "a word", "bool": "true or false", "int": "an integer", "float": "a number"}[kind]
        raise InputError(f"{name} is {value!r}, not {what}")


DEFAULT = Recipe()

# Appendix A of the paper, and the learning-rate floor of its code base.
PAPER = Recipe(
    steps=160_000,
    optimizer="sgd",
    lr=0.01,
    final_lr=1e-4,
    schedule="poly",
    warmup=0,
    weight_decay=5e-4,
    loss="ce",
    loss_at="input",
    rotations=False,
    ema=0.0,
    clip_norm=0.0,
)

RECIPES = {"default": DEFAULT, "paper": PAPER}


def choose_recipe(name: str, start: ModelConfig | None = None, **changes: object) -> Recipe:
    """The named recipe with the given fields changed; None leaves a field as it would be without.

    Args:
        name: one of RECIPES.
        start: the model that the weights begin from, whose network, input size and mask patch the recipe then follows.
            Without it, the input size is that of the network.
        changes: fields of `Recipe`.

    Raises:
        InputError: no such recipe or field, or a field out of its range.
    """
    if name not in RECIPES:
        raise InputError(f"no recipe {name!r}", remedy=f"Choose from {', '.join(RECIPES)}")
    unknown = sorted(changes.keys() - {field.name for field in fields(Recipe)})
    if unknown:
        raise InputError(f"a recipe has no {', '.join(unknown)}")
    overrides = {key: value for key, value in changes.items() if value is not None}
    if start is not None:
        if start.network not in INPUT_SIZES:
            raise InputError(f"bpr train cannot go on with a {start.network}", remedy="See examples/tools/object_pass")
        of_model = {"network": start.network, "input_size": start.input_size, "mask_patch": start.mask_patch}
        overrides = {**of_model, **overrides}
    elif "network" in overrides and "input_size" not in overrides:
        overrides["input_size"] = INPUT_SIZES.get(str(overrides["network"]), DEFAULT.input_size)
    return replace(RECIPES[name], **overrides)  # type: ignore[arg-type]


def learning_rate(recipe: Recipe, step: int) -> float:
    """The learning rate of a 0-based step: a function of the step alone, so that a restart needs no state."""
    if step < recipe.warmup:
        return recipe.lr * (step + 1) / recipe.warmup
    done = (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup)
    share = (1.0 - done) ** 0.9 if recipe.schedule == "poly" else 0.5 * (1.0 + math.cos(math.pi * done))
    return recipe.final_lr + (recipe.lr - recipe.final_lr) * share
