"""Gradients and sums over all processes, added in the order of their ranks: the same to the last bit, run after run.

DistributedDataParallel adds in the order of its buckets, which it lays out anew after its first step, so that a run
that goes on from a saved state adds in another order than one that was never stopped.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


def average_gradients(parameters: Iterable[nn.Parameter], world: int) -> None:
    """Replace each gradient by its mean over all processes.

    Each process adds up its share of all gradients and hands it to the others; sent and received are twice the
    gradients' bytes, however many processes there are.

    Args:
        parameters: in the same order on all processes, with gradients of one type.
        world: how many processes there are.
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    sizes = [gradient.numel() for gradient in gradients]
    share = -(-sum(sizes) // world)
    flat = gradients[0].new_zeros(world * share)
    torch.cat([gradient.flatten() for gradient in gradients], out=flat[: sum(sizes)])
    received = torch.empty_like(flat)
    dist.all_to_all_single(received, flat)
    mean = _added(received.view(world, share)) / world
    dist.all_gather(list(flat.view(world, share)), mean)
    for gradient, values in zip(gradients, flat[: sum(sizes)].split(sizes), strict=True):
        gradient.copy_(values.view_as(gradient))


def added_over_processes(values: Tensor, world: int) -> Tensor:
    """The sum of a small tensor over all processes.

    Args:
        values: (N,) of a float type.
        world: how many processes there are.
    """
    rows = values.new_empty(world, values.numel())
    dist.all_gather(list(rows), values.contiguous())
    return _added(rows)


class AddedOverProcesses(torch.autograd.Function):
    """`added_over_processes`, through which gradients flow back to all processes."""

    @staticmethod
    def forward(context: Any, values: Tensor, world: int) -> Tensor:
        context.world = world
        return added_over_processes(values, world)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return added_over_processes(gradients[0], context.world), None


def _added(rows: Tensor) -> Tensor:
    """The sum of rows, from the first to the last."""
    total = rows[0].clone()
    for row in rows[1:]:
        total += row
    return total
