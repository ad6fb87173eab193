"""Recipes and schedules."""

from __future__ import annotations

import pytest

from bpr_cli.errors import InputError
from bpr_cli.training.recipe import DEFAULT, PAPER, choose_recipe, learning_rate


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


@pytest.mark.parametrize(
    ("name", "changes"),
    [("papier", {}), ("default", {"network": "resnet"}), ("default", {"steps": 0}), ("default", {"batch_size": 1})],
)
def test_what_makes_no_sense_is_refused(name, changes):
    with pytest.raises(InputError):
        choose_recipe(name, **changes)
