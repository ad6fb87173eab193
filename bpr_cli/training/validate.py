"""How good the network is on patches it was not trained on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bpr_cli.network.input_tensor import prepare
from bpr_cli.network.logits import FOREGROUND, resize
from bpr_cli.training.distributed import Process, sum_over_processes
from bpr_cli.training.losses import patch_loss


@dataclass(frozen=True, slots=True)
class PatchScores:
    """Figures over all pixels of all validation patches, at the patches' own size; fractions 0..1.

    Attributes:
        loss: mean cross-entropy.
        miou: mean of the foreground's and the background's IoU.
        foreground_iou, accuracy: as named.
        coarse_miou: what the coarse masks themselves reach: the figure to beat.
    """

    loss: float
    miou: float
    foreground_iou: float
    accuracy: float
    coarse_miou: float


@torch.inference_mode()
def validate(
    network: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor, Tensor]],
    process: Process,
    input_size: int,
    dtype: torch.dtype | None,
) -> PatchScores:
    """Score a network in evaluation mode on this process's share of the validation patches."""
    # float64 sums: 67,000 patches of 4,096 pixels pass float32's integers
    refined = torch.zeros(4, dtype=torch.float64)
    coarse = torch.zeros(4, dtype=torch.float64)
    losses = torch.zeros(2, dtype=torch.float64)
    for images_NHWC, coarse_NHW, target_NHW in batches:
        images, masks, target = (tensor.to(process.device) for tensor in (images_NHWC, coarse_NHW, target_NHW))
        with torch.autocast(process.device.type, dtype=dtype, enabled=dtype is not None):
            logits = network(prepare(images, masks, input_size))
        logits = resize(logits.float(), target.shape[-2:])
        losses += torch.tensor([float(patch_loss(logits, target, "ce")) * len(target), len(target)])
        refined += _confusion(logits[:, FOREGROUND] > logits[:, 1 - FOREGROUND], target)
        coarse += _confusion(masks > 0, target)
    sums = sum_over_processes(torch.cat((losses, refined, coarse)).to(_sum_device(process)), process).cpu()
    both, only_predicted, only_true, neither = sums[2:6].tolist()
    return PatchScores(
        loss=float(sums[0] / sums[1]),
        miou=_miou(sums[2:6]),
        foreground_iou=both / max(1.0, both + only_predicted + only_true),
        accuracy=(both + neither) / float(sums[2:6].sum()),
        coarse_miou=_miou(sums[6:10]),
    )


def _sum_device(process: Process) -> torch.device:
    """NCCL adds only what lies on a GPU; MPS has no float64."""
    return process.device if process.device.type == "cuda" else torch.device("cpu")


def _confusion(predicted_NHW: Tensor, target_NHW: Tensor) -> Tensor:
    """Pixels of: both, only predicted, only true, neither."""
    true = target_NHW > 0
    counts = [predicted_NHW & true, predicted_NHW & ~true, ~predicted_NHW & true, ~predicted_NHW & ~true]
    return torch.tensor([int(pixels.sum()) for pixels in counts], dtype=torch.float64)


def _miou(confusion: Tensor) -> float:
    both, only_predicted, only_true, neither = confusion.tolist()
    wrong = only_predicted + only_true
    return 0.5 * (both / max(1.0, both + wrong) + neither / max(1.0, neither + wrong))
