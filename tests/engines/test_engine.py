"""Inference: the same answer in any batch, at any precision, with or without memory to spare."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bpr_cli.engines.devices import autocast_dtype, choose_device
from bpr_cli.engines.engine import Network, open_engine
from bpr_cli.engines.recording import RECORD_AT
from bpr_cli.engines.torch_engine import TorchEngine
from bpr_cli.errors import InputError
from bpr_cli.network.config import ModelConfig
from bpr_cli.network.input_tensor import prepare
from bpr_cli.network.logits import foreground_probabilities
from tests.network.seeded import seeded_network, seeded_patches

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def network():
    network = seeded_network()
    # Logits spread like a trained network's, so that probabilities differ.
    network.decode_head.conv_seg.weight.data *= 5.0
    return network


def reference(network, images, masks):
    inputs = prepare(torch.from_numpy(images), torch.from_numpy(masks), 128)
    with torch.inference_mode():
        return foreground_probabilities(network(inputs), (64, 64)).numpy()


def test_the_engine_computes_the_networks_probabilities(network):
    images, masks = seeded_patches()
    expected = reference(network, images, masks)
    assert expected.std() > 0.05
    assert np.abs(TorchEngine(network, ModelConfig(), CPU, "fp32").predict(images, masks) - expected).max() < 1e-4
    assert np.abs(TorchEngine(network, ModelConfig(), CPU, "bf16").predict(images, masks) - expected).mean() < 0.02


def test_a_patch_does_not_depend_on_its_batch(network):
    engine = TorchEngine(network, ModelConfig(), CPU, "fp32")
    images, masks = seeded_patches(5)
    together = engine.predict(images, masks)
    for i in range(5):
        assert np.abs(engine.predict(images[i : i + 1], masks[i : i + 1]) - together[i]).max() < 1e-4


def test_flips_average_the_patch_and_its_mirror_image(network):
    engine = TorchEngine(network, ModelConfig(), CPU, "fp32")
    images, masks = seeded_patches()
    mirrored = engine.predict(images[:, :, ::-1], masks[:, :, ::-1])[:, :, ::-1]
    expected = (engine.predict(images, masks) + mirrored) / 2
    assert np.abs(engine.predict(images, masks, flips=True) - expected).max() < 1e-5


def test_padding_is_seen_but_not_returned(network):
    images, masks = seeded_patches(2, size=80)
    padded = TorchEngine(network, ModelConfig(input_size=160, padding=8), CPU, "fp32").predict(images, masks)
    whole = TorchEngine(network, ModelConfig(input_size=160, patch_size=80), CPU, "fp32").predict(images, masks)
    assert padded.shape == (2, 64, 64)
    assert np.array_equal(padded, whole[:, 8:72, 8:72])


class Greedy(torch.nn.Module):
    """Runs out of memory above `limit` patches."""

    def __init__(self, limit: int, message: str = "CUDA out of memory. Tried to allocate 2 GiB") -> None:
        super().__init__()
        self.limit, self.message, self.batches = limit, message, []

    def forward(self, inputs):
        if len(inputs) > self.limit:
            raise RuntimeError(self.message)
        self.batches.append(len(inputs))
        return torch.zeros(len(inputs), 2, 32, 32)


def test_batches_are_halved_until_they_fit_and_stay_so():
    engine = TorchEngine(Greedy(3), ModelConfig(), CPU, "fp32")
    images, masks = seeded_patches(20)
    assert engine.predict(images, masks).shape == (20, 64, 64)
    assert engine.max_batch == 2
    assert engine.module.batches == [2] * 10


def test_what_does_not_fit_at_all_and_other_errors_are_not_hidden():
    images, masks = seeded_patches(2)
    with pytest.raises(InputError, match="does not fit"):
        TorchEngine(Greedy(0), ModelConfig(), CPU, "fp32").predict(images, masks)
    with pytest.raises(RuntimeError, match="broken"):
        TorchEngine(Greedy(0, "broken"), ModelConfig(), CPU, "fp32").predict(images, masks)


def test_no_patches_give_no_probabilities(network):
    empty = np.zeros((0, 64, 64, 3), np.uint8)
    assert TorchEngine(network, ModelConfig(), CPU, "fp32").predict(empty, empty[..., 0]).shape == (0, 64, 64)


def test_cuda_graphs_are_off_unless_asked_for_by_name(network, monkeypatch):
    monkeypatch.setattr("bpr_cli.engines.torch_engine.record_cuda_graph", lambda compute, example: compute)
    for asked, recorded in ((False, False), (True, True)):
        engine = TorchEngine(network, ModelConfig(input_size=64), CPU, "fp32", cuda_graphs=asked)
        images, masks = seeded_patches(1)
        for _ in range(RECORD_AT):
            engine.predict(images, masks)
        assert engine.recordings[False].forget() is recorded
    with pytest.raises(InputError, match="not on cpu"):
        open_engine(network, ModelConfig(), CPU, name="cuda-graphs")


def test_a_network_says_how_it_computes(network):
    engine = TorchEngine(network, ModelConfig(), CPU, "fp32")
    assert str(Network(engine, ModelConfig())) == "torch fp32 on cpu"


def test_devices_and_precisions_that_are_not_there_are_refused():
    assert choose_device("cpu") == CPU
    for name in ("cuda:99", "tpu", "nonsense"):
        with pytest.raises(InputError, match=name):
            choose_device(name)
    with pytest.raises(InputError, match="fp8"):
        autocast_dtype(CPU, "fp8")
    with pytest.raises(InputError, match="fp16"):
        autocast_dtype(CPU, "fp16")
