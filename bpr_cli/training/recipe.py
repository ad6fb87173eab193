"""What decides a training run, and two recipes: the paper's, and our default."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from bpr_cli.errors import InputError


@dataclass(frozen=True, slots=True)
class Recipe:
    """How the network is trained.

    Attributes:
        network: a name from `network.hrnet.CONFIGS`.
        input_size: side to which patches are enlarged for the network.
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
    """

    network: str = "hrnet-w18-small"
    input_size: int = 128
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
        rules = [
            (self.steps >= 1, "the number of steps must be at least 1"),
            (
                self.batch_size >= 2,
                "the batch size must be at least 2: batch normalisation needs more than one patch",
            ),
            (self.lr > 0, "the learning rate must be above 0"),
            (self.input_size >= 32 and self.input_size % 32 == 0, "the input size must be a multiple of 32"),
        ]
        for holds, rule in rules:
            if not holds:
                raise InputError(rule)


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

# W48 was trained at 256 in the paper, the small network at 128.
INPUT_SIZES = {"hrnet-w18-small": 128, "hrnet-w18": 128, "hrnet-w32": 128, "hrnet-w48": 256}


def choose_recipe(name: str, **changes: object) -> Recipe:
    """The named recipe with the given fields changed; None leaves a field as the recipe has it.

    Raises:
        InputError: no such recipe, or a field out of its range.
    """
    if name not in RECIPES:
        raise InputError(f"no recipe {name!r}", remedy=f"Choose from {', '.join(RECIPES)}")
    given = {key: value for key, value in changes.items() if value is not None}
    network = given.get("network")
    if network is not None and "input_size" not in given:
        if network not in INPUT_SIZES:
            raise InputError(f"no network {network!r}", remedy=f"Choose from {', '.join(INPUT_SIZES)}")
        given["input_size"] = INPUT_SIZES[str(network)]
    return replace(RECIPES[name], **given)  # type: ignore[arg-type]


def learning_rate(recipe: Recipe, step: int) -> float:
    """The learning rate of a 0-based step: a function of the step alone, so that a restart needs no state."""
    if step < recipe.warmup:
        return recipe.lr * (step + 1) / recipe.warmup
    done = (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup)
    share = (1.0 - done) ** 0.9 if recipe.schedule == "poly" else 0.5 * (1.0 + math.cos(math.pi * done))
    return recipe.final_lr + (recipe.lr - recipe.final_lr) * share
