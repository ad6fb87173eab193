"""Several processes: who we are under torchrun, and batch normalisation over all of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
import torch.distributed.nn.functional as dist_functional
from torch import Tensor, nn

from bpr_cli.engines.devices import choose_device
from bpr_cli.errors import InputError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Process:
    """This process's place in the run.

    Attributes:
        rank, world: its number and how many there are; 0 and 1 without torchrun.
        device: where it computes.
        on_machine: how many of them share this machine.
    """

    rank: int
    world: int
    device: torch.device
    on_machine: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes files and shows progress."""
        return self.rank == 0


@contextmanager
def joined_process(device: str) -> Iterator[Process]:
    """Join torchrun's process group if it started us (RANK, WORLD_SIZE), and leave it at the end.

    Args:
        device: "auto", "cpu", "cuda", ...; under torchrun each process takes the GPU of its local rank.

    Raises:
        InputError: the device is not there.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Process(0, 1, choose_device(device))
        return
    chosen = choose_device(device)
    if chosen.type == "cuda":
        chosen = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(chosen)
    dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    try:
        yield Process(dist.get_rank(), world, chosen, int(os.environ.get("LOCAL_WORLD_SIZE", world)))
    finally:
        dist.destroy_process_group()


def synchronise_batch_norm(module: nn.Module, device: torch.device) -> nn.Module:
    """Batch statistics over all processes: torch's own on GPUs; it has none for CPUs, so ours there."""
    if device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(module)
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, _CpuSyncBatchNorm.taking_over(child))
        else:
            synchronise_batch_norm(child, device)
    return module


class _CpuSyncBatchNorm(nn.BatchNorm2d):
    """Batch normalisation whose training statistics are those of all processes' patches."""

    @classmethod
    def taking_over(cls, other: nn.BatchNorm2d) -> _CpuSyncBatchNorm:
        new = cls(other.num_features, eps=other.eps, momentum=other.momentum)
        new.load_state_dict(other.state_dict())
        return new

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        x = input.float()
        own_count = x.new_tensor([x.numel() / x.shape[1]])
        sums = torch.cat((x.sum(dim=(0, 2, 3)), (x * x).sum(dim=(0, 2, 3)), own_count))
        sums = dist_functional.all_reduce(sums)
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


def from_leader(process: Process, decide: Callable[[], T]) -> T:
    """What `decide` answers on the leading process, on all of them; its InputError or OSError is raised on all."""
    if process.world == 1:
        return decide()
    answer: list[Any] = [None]
    if process.leads:
        try:
            answer = [decide()]
        except (InputError, OSError) as error:
            answer = [error]
    dist.broadcast_object_list(answer)
    if isinstance(answer[0], Exception):
        raise answer[0]
    return answer[0]


def sum_over_processes(values: Tensor, process: Process) -> Tensor:
    """The sum of a tensor over all processes."""
    if process.world > 1:
        dist.all_reduce(values)
    return values
