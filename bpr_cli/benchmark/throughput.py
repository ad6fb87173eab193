"""Patches a second of networks by themselves, over engines, batch sizes, input sizes and backbones."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import nn

from bpr_cli.engines.devices import INT8, knows_bfloat16
from bpr_cli.engines.engine import open_engine
from bpr_cli.network.config import CONFIGS, ModelConfig
from bpr_cli.network.hrnet import build
from bpr_cli.network.input_tensor import prepare
from bpr_cli.network.logits import foreground_probabilities
from bpr_cli.progress import progress_bar

PLAIN = "plain torch, fp32"


@dataclass(slots=True)
class Throughput:
    """One way to run a network, and the least time it took.

    Attributes:
        way: engine and precision.
        network, input_size, batch_size: as named.
        seconds: a patch.
    """

    way: str
    network: str
    input_size: int
    batch_size: int
    seconds: float = float("inf")


Trial = tuple[Throughput, Callable[[], object]]


def over_batch_sizes(
    module: nn.Module,
    config: ModelConfig,
    device: torch.device,
    batch_sizes: Sequence[int],
    int8: Path | None = None,
    *,
    quiet: bool = False,
) -> list[Throughput]:
    """Every engine and precision that there is here at every batch size, against plain float32 torch at 1."""
    trials: list[Trial] = [(Throughput(PLAIN, config.network, config.input_size, 1), _plain(module, config, device))]
    precisions = ["fp32", "bf16"] if knows_bfloat16(device) else ["fp32"]
    engines = [("torch", precision) for precision in precisions]
    if device.type == "cpu" and find_spec("openvino") is not None:
        engines += [("openvino", precision) for precision in precisions]
        if int8 is not None:
            engines.append(("openvino", INT8))
    for engine, precision in engines:
        trials += _trials(module, config, device, engine, precision, batch_sizes, int8)
    return _measure(trials, "engines", quiet)


def over_networks(
    module: nn.Module,
    config: ModelConfig,
    device: torch.device,
    engine: str,
    input_sizes: Sequence[int],
    batch_size: int,
    *,
    quiet: bool = False,
) -> list[Throughput]:
    """The model's network at other input sizes, and the other networks (random weights) at the model's."""
    trials: list[Trial] = []
    for size in input_sizes:
        trials += _trials(module, replace(config, input_size=size), device, engine, "auto", [batch_size])
    for name in CONFIGS:
        if name != config.network:
            trials += _trials(
                build(name, config.mask_patch), replace(config, network=name), device, engine, "auto", [batch_size]
            )
    return _measure(trials, "networks", quiet)


def _trials(
    module: nn.Module,
    config: ModelConfig,
    device: torch.device,
    engine: str,
    precision: str,
    batch_sizes: Sequence[int],
    int8: Path | None = None,
) -> list[Trial]:
    opened = open_engine(module, config, device, precision, engine, int8)
    images, masks = _noise(config, max(batch_sizes))
    way = f"{opened.name}, {opened.precision}"
    trials: list[Trial] = []
    for size in batch_sizes:
        throughput = Throughput(way, config.network, config.input_size, size)
        trials.append((throughput, partial(opened.predict, images[:size], masks[:size])))
    return trials


def _plain(module: nn.Module, config: ModelConfig, device: torch.device) -> Callable[[], object]:
    """One patch at a time, as one would write it first."""
    images, masks = _noise(config, 1)
    module = module.to(device).eval()

    @torch.inference_mode()
    def run() -> object:
        inputs = prepare(torch.from_numpy(images).to(device), torch.from_numpy(masks).to(device), config.input_size)
        logits = module(inputs.contiguous())
        return foreground_probabilities(logits, images.shape[1:3]).cpu()

    return run


def _noise(config: ModelConfig, count: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    shape = (count, *(config.patch_size + 2 * config.padding,) * 2)
    return rng.integers(0, 256, (*shape, 3), np.uint8), rng.integers(0, 2, shape, np.uint8)


def _measure(trials: list[Trial], description: str, quiet: bool) -> list[Throughput]:
    """Each trial's least time a patch. Rounds of all trials alternate, so that a busy machine favours none."""
    rounds = 6  # the first warms up; as the slowest it drops out
    with progress_bar(rounds * len(trials), description, "run", quiet=quiet) as bar:
        for _ in range(rounds):
            for throughput, run in trials:
                start = time.perf_counter()
                run()
                seconds = (time.perf_counter() - start) / throughput.batch_size
                throughput.seconds = min(throughput.seconds, seconds)
                bar.update()
    return [throughput for throughput, _ in trials]
