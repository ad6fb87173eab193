"""Recipes and schedules."""

from __future__ import annotations

import math
from typing import Literal, get_args, get_origin, get_type_hints

import pytest

from bpr_cli.commands.train import train
from bpr_cli.engines.devices import DTYPES
from bpr_cli.errors import InputError
from bpr_cli.network.config import CONFIGS, ModelConfig
from bpr_cli.training.recipe import CHOICES, DEFAULT, PAPER, RECIPES, choose_recipe, learning_rate


def test_the_paper_recipe_is_the_papers():
    assert (PAPER.optimizer, PAPER.lr, PAPER.weight_decay, PAPER.steps, PAPER.batch_size) == (
        "sgd", 0.01, 5e-4, 160_000, 32,
    )  # fmt: skip
    assert learning_rate(PAPER, 0) == pytest.approx(0.01)
    # Poly with power 0.9: half-way, the part above the floor has fallen to 0.5 ** 0.9.
    assert learning_rate(PAPER, 80_000) == pytest.approx(1e-4 + (0.01 - 1e-4) * 0.5**0.9)
    assert learning_rate(PAPER, 159_999) == pytest.approx(1e-4, rel=0.01)


def test_the_default_warms_up_and_ends_at_its_floor():
    rates = [learning_rate(DEFAULT, step) for step in range(DEFAULT.steps)]
    assert rates[0] < rates[DEFAULT.warmup // 2] < rates[DEFAULT.warmup] == pytest.approx(DEFAULT.lr)
    assert rates[-1] == pytest.approx(DEFAULT.final_lr, rel=0.01)
    assert all(later <= earlier for earlier, later in zip(rates[DEFAULT.warmup :], rates[DEFAULT.warmup + 1 :]))  # noqa: B905


def test_what_is_not_given_stays_as_the_recipe_has_it():
    chosen = choose_recipe("paper", steps=10, lr=None)
    assert (chosen.steps, chosen.lr) == (10, PAPER.lr)


def test_w48_is_trained_at_its_own_input_size():
    assert choose_recipe("default", network="hrnet-w48").input_size == 256
    assert choose_recipe("default", network="hrnet-w48", input_size=128).input_size == 128


def test_the_recipe_follows_the_model_that_the_weights_begin_from():
    start = ModelConfig("hrnet-w48", input_size=64)
    chosen = choose_recipe("default", start)
    assert (chosen.network, chosen.input_size) == ("hrnet-w48", 64)
    assert choose_recipe("paper", start, input_size=256).input_size == 256


@pytest.mark.parametrize(
    "changes",
    [
        {"network": "resnet"}, {"network": 3}, {"steps": 0}, {"steps": 10.0}, {"steps": "10"}, {"steps": True},
        {"batch_size": 1}, {"input_size": 0}, {"input_size": 100}, {"input_size": 64_000}, {"optimizer": "adam"},
        {"optimizer": "SGD"}, {"optimizer": ["sgd"]}, {"lr": 0.0}, {"lr": -1.0}, {"lr": math.inf}, {"lr": math.nan},
        {"lr": "0.1"}, {"final_lr": -1e-9}, {"final_lr": math.nan}, {"schedule": "linear"}, {"warmup": -1},
        {"weight_decay": -0.1}, {"loss": "focal"}, {"loss_at": "output"}, {"rotations": 1}, {"color_jitter": "yes"},
        {"ema": 1.0}, {"ema": -0.1}, {"clip_norm": -1.0}, {"seed": -1}, {"seed": 2**32}, {"seed": 1.5}, {"mood": 1},
        {"mask_patch": 0},
    ],
)  # fmt: skip
def test_a_field_that_makes_no_sense_is_named(changes):
    with pytest.raises(InputError, match=next(iter(changes))):
        choose_recipe("default", **changes)


def test_an_unknown_recipe_is_answered_with_those_that_are():
    with pytest.raises(InputError, match="default, paper"):
        choose_recipe("papier")


def test_an_integer_is_a_number_too():
    assert choose_recipe("default", clip_norm=1, lr=1).clip_norm == 1


def choices_of(option):
    """The words that an option of `bpr train` takes."""
    hint = get_type_hints(train)[option]
    optional = [inner for inner in get_args(hint) if get_origin(inner) is Literal]
    return get_args(optional[0] if optional else hint)


def test_the_command_line_offers_what_there_is():
    assert choices_of("network") == CHOICES["network"] == tuple(CONFIGS)
    assert choices_of("recipe") == tuple(RECIPES)
    assert choices_of("precision") == ("auto", *DTYPES)
