"""What training minimises."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from bpr_cli.errors import InputError
from bpr_cli.training.recipe import CHOICES


def patch_loss(logits_N2HW: Tensor, target_NHW: Tensor, kind: str) -> Tensor:
    """Mean loss of a batch of patches.

    Args:
        logits_N2HW: floating point; channel 1 is the foreground.
        target_NHW: 0 or 1 of any integer type, resized to the logits' size (nearest) if it differs.
        kind: "ce", softmax cross-entropy over the two classes (paper, section 3.3); or "ce+dice", which adds
            the soft Dice loss of each patch's foreground (Milletari et al. 2016), so that a patch with little
            foreground counts as much as a full one.

    Raises:
        InputError: no such loss.
    """
    if kind not in CHOICES["loss"]:
        raise InputError(f"no loss {kind!r}", remedy=f"Choose from {', '.join(CHOICES['loss'])}")
    logits = logits_N2HW.float()
    size = logits.shape[-2:]
    if target_NHW.shape[-2:] != size:
        target_NHW = F.interpolate(target_NHW[:, None].float(), size=size, mode="nearest")[:, 0]
    target = target_NHW.long()
    loss = F.cross_entropy(logits, target)
    if kind == "ce+dice":
        loss = loss + _dice(torch.softmax(logits, dim=1)[:, 1], target.float())
    return loss


def _dice(probability_NHW: Tensor, target_NHW: Tensor) -> Tensor:
    common = (probability_NHW * target_NHW).sum(dim=(1, 2))
    total = probability_NHW.sum(dim=(1, 2)) + target_NHW.sum(dim=(1, 2))
    return 1.0 - ((2.0 * common + 1.0) / (total + 1.0)).mean()
