"""Every network by its name."""

from __future__ import annotations

import torch
from torch import nn

from bpr_cli.errors import InputError
from bpr_cli.network import hrnet
from bpr_cli.network.config import CONFIGS, NETWORKS, UNET
from bpr_cli.network.unet import UNetSegmenter


def build(name: str, mask_patch: bool = True) -> nn.Module:
    """A network with fresh random weights (torch's global generator).

    Args:
        name: one of NETWORKS.
        mask_patch: whether it sees the coarse mask; a U-Net always does.

    Raises:
        InputError: no such network.
    """
    if name not in NETWORKS:
        raise InputError(f"no network {name!r}", remedy=f"Choose from {', '.join(NETWORKS)}")
    return UNetSegmenter() if name == UNET else hrnet.build(name, mask_patch)


def empty(name: str, mask_patch: bool = True) -> nn.Module:
    """A network as `build` makes it, whose weights have shapes and no memory."""
    with torch.device("meta"):
        return UNetSegmenter() if name == UNET else hrnet.HRNetSegmenter(CONFIGS[name], mask_patch)
