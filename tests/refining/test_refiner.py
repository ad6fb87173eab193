"""What a refiner says of itself: how it computes, and whether its models fit its settings."""

from __future__ import annotations

import warnings

import pytest
import torch

from bpr_cli.engines.engine import Network
from bpr_cli.engines.torch_engine import TorchEngine
from bpr_cli.network.config import ModelConfig
from bpr_cli.refining.refiner import Refiner
from bpr_cli.refining.settings import RefineSettings


def network(precision="fp32", **config):
    engine = TorchEngine(torch.nn.Identity(), ModelConfig(**config), torch.device("cpu"), precision)
    return Network(engine, engine.config)


def test_it_names_engine_precision_and_device_of_each_network_that_differs():
    refiner = Refiner([network(), network(), network("bf16")], RefineSettings(passes=3))
    assert refiner.engine == "torch fp32 on cpu, torch bf16 on cpu"


@pytest.mark.parametrize("scheme", [None, "dense"])
def test_a_model_of_the_settings_scheme_or_an_unrecorded_one_is_taken_without_a_word(scheme):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Refiner([network(scheme=scheme)], RefineSettings(passes=1))


def test_a_model_that_was_trained_by_another_scheme_is_warned_of():
    with pytest.warns(UserWarning, match="trained on patches of the grid scheme.*use --scheme grid"):
        Refiner([network(scheme="grid")], RefineSettings(passes=1))
