"""The network that sees whole objects: its shapes, its channels, and the same answers on every engine."""

import numpy as np
import pytest
import torch

from bpr_cli.engines.engine import open_engine
from bpr_cli.errors import InputError
from bpr_cli.network import networks
from bpr_cli.network.config import GATE_FEATURES, ModelConfig
from bpr_cli.network.input_tensor import prepare

OBJECT = ModelConfig("unet-lite0", 128, 128, 0, "object")


def seeded():
    torch.manual_seed(0)
    return networks.build("unet-lite0").eval()


def test_logits_have_the_inputs_size():
    with torch.inference_mode():
        assert seeded()(torch.zeros(2, 5, 64, 96)).shape == (2, 2, 64, 96)


def test_mask_and_neighbours_are_two_channels():
    masks = torch.zeros((1, 128, 128, 2), dtype=torch.uint8)
    masks[0, :64, :, 0], masks[0, :, :64, 1] = 255, 51
    inputs = prepare(torch.zeros((1, 128, 128, 3), dtype=torch.uint8), masks, 128)
    assert inputs.shape == (1, 5, 128, 128)
    assert inputs[0, 3, 0, 0] == pytest.approx(1)
    assert inputs[0, 3, -1, 0] == pytest.approx(-1)
    assert inputs[0, 4, 0, 0] == pytest.approx(0.2)
    assert inputs[0, 4, 0, -1] == 0


def test_engines_agree():
    pytest.importorskip("openvino")
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, 128, 128, 3), np.uint8)
    masks = rng.integers(0, 256, (3, 128, 128, 2), np.uint8)
    cpu = torch.device("cpu")
    by_torch, by_openvino = (
        open_engine(seeded(), OBJECT, cpu, "fp32", name).predict(images, masks, flips=True)
        for name in ("torch", "openvino")
    )
    assert by_torch.std() > 0
    assert np.abs(by_torch - by_openvino).max() < 1e-3


@pytest.mark.parametrize("gate", [[1.0], "none", [float("nan")] * (1 + len(GATE_FEATURES))])
def test_a_gate_of_another_form_is_refused(gate):
    with pytest.raises(InputError, match="gate is"):
        ModelConfig("unet-lite0", 128, 128, 0, "object", gate)


def test_only_networks_that_see_neighbours_look_at_whole_objects():
    with pytest.raises(InputError, match="does not look at whole objects"):
        ModelConfig("hrnet-w18-small", scheme="object")
