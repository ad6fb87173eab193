"""Batch normalisation over the patches of all processes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bpr_cli.training.averaging import AddedOverProcesses


def synchronise_batch_norm(module: nn.Module, device: torch.device, world: int) -> nn.Module:
    """Batch statistics over all processes: torch's own on GPUs; it has none for CPUs, so ours there."""
    if device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(module)
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, _CpuSyncBatchNorm.taking_over(child, world))
        else:
            synchronise_batch_norm(child, device, world)
    return module


class _CpuSyncBatchNorm(nn.BatchNorm2d):
    """Batch normalisation whose training statistics are those of all processes' patches."""

    world: int

    @classmethod
    def taking_over(cls, other: nn.BatchNorm2d, world: int) -> _CpuSyncBatchNorm:
        new = cls(other.num_features, eps=other.eps, momentum=other.momentum)
        new.load_state_dict(other.state_dict())
        new.world = world
        return new

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        x = input.float()
        own_count = x.new_tensor([x.numel() / x.shape[1]])
        sums = torch.cat((x.sum(dim=(0, 2, 3)), (x * x).sum(dim=(0, 2, 3)), own_count))
        sums = AddedOverProcesses.apply(sums, self.world)
        total, square, count = sums[: self.num_features], sums[self.num_features : -1], sums[-1]
        mean = total / count
        variance = (square / count - mean * mean).clamp_min(0.0)
        with torch.no_grad():
            assert self.running_mean is not None
            assert self.running_var is not None
            assert self.num_batches_tracked is not None
            momentum = 0.1 if self.momentum is None else self.momentum
            self.running_mean.lerp_(mean, momentum)
            self.running_var.lerp_(variance * count / (count - 1), momentum)
            self.num_batches_tracked.add_(1)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        shift = self.bias - mean * scale
        return (x * scale.view(1, -1, 1, 1) + shift.view(1, -1, 1, 1)).to(input.dtype)
