"""What networks answer with: logits of background and foreground."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

FOREGROUND = 1  # channel of the logits; 0 is the background's


def resize(logits: Tensor, size: tuple[int, int] | torch.Size) -> Tensor:
    """Logits, or any other maps (N, C, h, w), at another size, bilinear."""
    return F.interpolate(logits, size=tuple(size), mode="bilinear", align_corners=False)


def foreground_probabilities(logits: Tensor, size: tuple[int, int] | torch.Size) -> Tensor:
    """Foreground probability (N, H, W), 0..1, of logits (N, 2, h, w) once they are brought to another size."""
    return torch.softmax(resize(logits, size), dim=1)[:, FOREGROUND]
