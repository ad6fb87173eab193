"""The network with all that surrounds it in one graph, for other runtimes: 8-bit patches in, probabilities out."""

from __future__ import annotations

import copy
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from bpr_cli.network.config import ModelConfig
from bpr_cli.network.input_tensor import prepare
from bpr_cli.network.logits import foreground_probabilities

INPUTS, OUTPUT = ("images", "masks"), "probabilities"


class PatchGraph(nn.Module):
    """Enlarge, normalise, segment, resize, softmax, drop the padding.

    Its batch normalisation is folded into the convolutions.

    Args:
        module: a network of `networks.build`; it is copied, not changed.
        config: what it expects.
    """

    def __init__(self, module: nn.Module, config: ModelConfig) -> None:
        super().__init__()
        self.network = fold_batch_norm(copy.deepcopy(module).cpu().float().eval())
        self.config = config

    def forward(self, images_NHWC: Tensor, masks: Tensor) -> Tensor:
        """Foreground probability of patches.

        Args:
            images_NHWC: (N, S, S, 3) uint8 RGB, S = patch size + 2 padding.
            masks: uint8 (N, S, S) or (N, S, S, 2), see `input_tensor.prepare`.

        Returns:
            (N, P, P) float32, 0..1, P the patch size.
        """
        logits = self.network(prepare(images_NHWC, masks, self.config.input_size))
        side, padding = self.side, self.config.padding
        probabilities = foreground_probabilities(logits, (side, side))
        return probabilities[:, padding : side - padding, padding : side - padding]

    @property
    def side(self) -> int:
        """S: the side in pixels of the patches it takes."""
        return self.config.patch_size + 2 * self.config.padding

    def example(self, batch: int = 2) -> tuple[Tensor, Tensor]:
        """Empty patches of the right shapes, to trace the graph with."""
        shape = (batch, self.side, self.side)
        masks = (*shape, 2) if self.config.sees_neighbours else shape
        return torch.zeros((*shape, 3), dtype=torch.uint8), torch.zeros(masks, dtype=torch.uint8)


def fold_batch_norm(module: nn.Module) -> nn.Module:
    """Fold every batch normalisation that directly follows a convolution into it, in place.

    Pairs are a `Sequential`'s neighbours and attributes such as conv1 and bn1. The stem's first one stays: two
    convolutions feed it.
    """
    for child in module.children():
        fold_batch_norm(child)
    names = [name for name, _ in module.named_children()]
    if isinstance(module, nn.Sequential):
        pairs = list(pairwise(names))
    else:
        pairs = [(name, name.replace("conv", "bn")) for name in names if name.startswith("conv")]
    for conv_name, norm_name in pairs:
        conv, norm = getattr(module, conv_name), getattr(module, norm_name, None)
        joined = conv_name == "conv1" and hasattr(module, "conv_mask")
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d) and not joined:
            setattr(module, conv_name, fuse_conv_bn_eval(conv, norm))
            setattr(module, norm_name, nn.Identity())
    return module
