"""The network is the paper's: names, sizes, arithmetic."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from bpr_cli.errors import InputError
from bpr_cli.network import hrnet, networks
from bpr_cli.network.config import CONFIGS
from bpr_cli.network.input_tensor import prepare
from tests.network.seeded import seeded_network, seeded_patches

DATA = Path(__file__).parent.parent / "data"

# SHA-256 of "name shape dtype" lines, sorted, of the checkpoints that the paper's authors published.
KEYS = {
    "hrnet-w18-small": "0b128106394e04fa9a600242459d58b2e56399b035098c440565687f31c688ad",
    "hrnet-w48": "d5127d8e92a774eeea2c480b1639833dbba8d5e8645c957a24869120389ebf10",
}


@pytest.mark.parametrize(
    ("name", "parameters"), [("hrnet-w18-small", 3_935_278), ("hrnet-w48", 65_846_978)]
)  # fmt: skip
def test_names_shapes_and_number_of_parameters_are_the_published_ones(name, parameters):
    with torch.device("meta"):
        network = hrnet.HRNetSegmenter(CONFIGS[name])
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters
    lines = [f"{key} {list(tensor.shape)} {tensor.dtype}" for key, tensor in network.state_dict().items()]
    assert hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest() == KEYS[name]


def test_outputs_of_seeded_weights_are_those_stored():
    # Stored after the network had agreed with the first implementation's outputs to 4e-5.
    images, masks = (torch.from_numpy(array) for array in seeded_patches())
    with torch.inference_mode():
        logits = seeded_network()(prepare(images, masks, 128)).numpy()
    stored = np.load(DATA / "w18s_seeded_logits.npz")["logits"]
    assert logits.shape == (3, 2, 32, 32)
    assert np.abs(logits - stored).max() < 1e-4 * np.abs(stored).max()


@pytest.mark.parametrize("name", ["hrnet-w18", "hrnet-w32"])
def test_the_sizes_between_run_too(name):
    network = hrnet.build(name).eval()
    with torch.inference_mode():
        assert network(torch.zeros(1, 4, 64, 96)).shape == (1, 2, 16, 24)


def test_without_the_mask_patch_a_network_answers_by_the_photo_alone():
    torch.manual_seed(0)
    blind, seeing = hrnet.build("hrnet-w18-small", mask_patch=False).eval(), seeded_network()
    photos, masks = (torch.from_numpy(array) for array in seeded_patches())
    with torch.inference_mode():
        for network, cares in ((blind, False), (seeing, True)):
            answers = [network(prepare(photos, coarse, 64)) for coarse in (masks, 1 - masks)]
            assert torch.equal(*answers) != cares
    assert set(seeing.state_dict()) - set(blind.state_dict()) == {"backbone.conv_mask.weight"}


def test_an_unknown_network_is_answered_with_the_known_ones():
    with pytest.raises(InputError, match="hrnet-w18-small"):
        networks.build("resnet")


def test_memory_order_does_not_change_the_outputs():
    network = seeded_network()
    inputs = prepare(*(torch.from_numpy(array) for array in seeded_patches()), 128)
    with torch.inference_mode():
        plain = network(inputs.contiguous())
        channels_last = network.to(memory_format=torch.channels_last)(inputs)
    assert torch.allclose(plain, channels_last, atol=1e-3)
