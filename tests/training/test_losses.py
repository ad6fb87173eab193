"""Losses."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from bpr_cli.errors import InputError
from bpr_cli.training.losses import patch_loss


@pytest.mark.parametrize("kind", ["ce", "ce+dice"])
def test_the_truth_costs_nothing_and_its_opposite_much(kind):
    target = torch.randint(0, 2, (3, 8, 8), generator=torch.Generator().manual_seed(0))
    sure = (torch.stack((1 - target, target), dim=1).float() - 0.5) * 40
    assert float(patch_loss(sure, target, kind)) < 0.01
    assert float(patch_loss(-sure, target, kind)) > 1.0


def test_ce_is_torchs_with_the_foreground_as_class_one():
    logits, target = torch.randn(2, 2, 4, 4), torch.randint(0, 2, (2, 4, 4))
    assert torch.equal(patch_loss(logits, target, "ce"), F.cross_entropy(logits, target))


def test_a_target_of_another_size_is_enlarged():
    target = torch.zeros(1, 4, 4, dtype=torch.uint8)
    target[:, :, 2:] = 1
    large = target.repeat_interleave(2, 1).repeat_interleave(2, 2)
    logits = torch.randn(1, 2, 8, 8)
    assert torch.equal(patch_loss(logits, target, "ce"), patch_loss(logits, large, "ce"))


def test_an_unknown_loss_is_refused():
    with pytest.raises(InputError, match="focal"):
        patch_loss(torch.zeros(1, 2, 4, 4), torch.zeros(1, 4, 4), "focal")
