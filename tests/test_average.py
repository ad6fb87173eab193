"""The mean of runs' ends is the mean of their moving averages, not of their best weights."""

from __future__ import annotations

import subprocess
import sys

import torch

from bpr_cli.network import checkpoint, hrnet
from bpr_cli.network.config import ModelConfig
from tests.conftest import ROOT


def make_run(folder, seed):
    torch.manual_seed(seed)
    config = ModelConfig(input_size=64)
    checkpoint.save(folder / "best", hrnet.build(config.network), config)
    end = hrnet.build(config.network)
    averaged = torch.optim.swa_utils.AveragedModel(end)
    torch.save({"ema": averaged.state_dict()}, folder / "last.pt")
    return end.state_dict()


def test_the_mean_of_two_runs_ends(tmp_path):
    ends = []
    for seed, name in enumerate(("a", "b")):
        (tmp_path / name).mkdir()
        ends.append(make_run(tmp_path / name, seed))
    program = ROOT / "examples" / "tools" / "average.py"
    subprocess.run([sys.executable, program, tmp_path / "a", tmp_path / "b", "-o", tmp_path / "mean"], check=True)
    module, config = checkpoint.load(tmp_path / "mean")
    assert config.input_size == 64
    for name, tensor in module.state_dict().items():
        expected = (ends[0][name].double() + ends[1][name].double()) / 2
        assert torch.allclose(tensor.double(), expected, atol=1e-3), name
