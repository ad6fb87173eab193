"""Weights and patches that are the same everywhere: from numpy's generator, whose streams are stable."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from bpr_cli.network.config import CONFIGS
from bpr_cli.network.hrnet import HRNetSegmenter


def seeded_network(name: str = "hrnet-w18-small") -> HRNetSegmenter:
    """A network in evaluation mode with seeded weights and batch-norm statistics unlike their defaults."""
    rng = np.random.default_rng(2021)
    network = HRNetSegmenter(CONFIGS[name])
    state = {}
    for key, tensor in network.state_dict().items():
        shape = tuple(tensor.shape)
        if key.endswith("num_batches_tracked"):
            values = np.zeros(shape)
        elif key.endswith("running_var"):
            values = rng.uniform(0.5, 1.5, shape)
        elif tensor.ndim == 4:
            values = rng.standard_normal(shape) * np.sqrt(2.0 / np.prod(shape[1:]))
        elif key.endswith("weight"):
            values = rng.uniform(0.3, 0.6, shape)
        else:
            values = rng.standard_normal(shape) * 0.1
        state[key] = torch.from_numpy(np.asarray(values)).to(tensor.dtype)
    network.load_state_dict(state)
    return network.eval()


def seeded_patches(count: int = 3, size: int = 64) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """uint8 RGB patches (N, S, S, 3) and masks (N, S, S), 0 or 1."""
    rng = np.random.default_rng(7)
    coarse = rng.integers(0, 256, (count, size // 8, size // 8, 3), np.uint8)
    images = coarse.repeat(8, axis=1).repeat(8, axis=2)
    return images, (images[..., 0] > 127).astype(np.uint8)
