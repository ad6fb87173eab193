"""Augmentation of a whole batch on its device: flips, quarter turns, photometric distortion.

What happens to a patch is decided by (seed, step, its place in the global batch), never by which process or
worker handles it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# Ranges of the usual photometric distortion (SSD, Liu et al. 2016; the paper's code base uses the same),
# in 8-bit levels and factors; each is applied to a patch with probability one half.
BRIGHTNESS = 32.0
CONTRAST = (0.5, 1.5)
SATURATION = (0.5, 1.5)
HUE_DEGREES = 18.0


@dataclass(frozen=True, slots=True)
class Draws:
    """Random numbers of one batch, one row a patch: 0..1 uniform, float32, (N, 7)."""

    uniform: Tensor


def draw(seed: int, step: int, batch_size: int, rank: int = 0, world: int = 1) -> Draws:
    """The random numbers of this process's share of a step's batch."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
    return Draws(torch.rand(batch_size, 7, generator=generator)[rank::world])


def turn(
    images_NHWC: Tensor, coarse_NHW: Tensor, target_NHW: Tensor, draws: Draws, all_eight: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Mirror half of the patches; with `all_eight`, also flip and transpose half of them each.

    Patches must be square for `all_eight`. Shapes and dtypes are kept.
    """
    uniform = draws.uniform.to(images_NHWC.device)

    def where_drawn(chosen: Tensor, changed: Tensor, tensor: Tensor) -> Tensor:
        return torch.where(chosen.view(-1, *[1] * (tensor.ndim - 1)), changed, tensor)

    def apply(tensor: Tensor) -> Tensor:
        tensor = where_drawn(uniform[:, 0] < 0.5, tensor.flip(2), tensor)
        if all_eight:
            tensor = where_drawn(uniform[:, 1] < 0.5, tensor.flip(1), tensor)
            tensor = where_drawn(uniform[:, 2] < 0.5, tensor.transpose(1, 2), tensor)
        return tensor

    return apply(images_NHWC), apply(coarse_NHW), apply(target_NHW)


def distort(images_NHWC: Tensor, draws: Draws) -> Tensor:
    """Brightness, contrast, saturation and hue of RGB patches, each changed in half of them.

    Args:
        images_NHWC: uint8 RGB.
        draws: columns 3 to 6 say whether and how much.

    Returns:
        uint8 RGB of the same shape.
    """
    uniform = draws.uniform.to(images_NHWC.device)
    pixels = images_NHWC.float()

    def amount(column: int, low: float, high: float, neutral: float) -> Tensor:
        # One draw serves both questions: its upper half means "change", rescaled to say how much.
        value = uniform[:, column]
        changed = low + (high - low) * (value * 2 - 1)
        return torch.where(value >= 0.5, changed, torch.full_like(value, neutral)).view(-1, 1, 1, 1)

    pixels = pixels + amount(3, -BRIGHTNESS, BRIGHTNESS, 0.0)
    pixels = pixels * amount(4, *CONTRAST, 1.0)
    pixels = _saturate_and_turn_hue(pixels, amount(5, *SATURATION, 1.0), amount(6, -HUE_DEGREES, HUE_DEGREES, 0.0))
    return pixels.round_().clamp_(0, 255).to(torch.uint8)


def _saturate_and_turn_hue(pixels_NHWC: Tensor, saturation: Tensor, hue_degrees: Tensor) -> Tensor:
    """In YIQ, where both are a scaling and a rotation of the colour plane."""
    to_yiq = pixels_NHWC.new_tensor([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
    luma, in_phase, quadrature = (pixels_NHWC @ to_yiq.T).unbind(-1)
    angle = torch.deg2rad(hue_degrees)[..., 0]
    cosine, sine = saturation[..., 0] * torch.cos(angle), saturation[..., 0] * torch.sin(angle)
    turned = torch.stack((luma, cosine * in_phase - sine * quadrature, sine * in_phase + cosine * quadrature), dim=-1)
    return turned @ torch.linalg.inv(to_yiq).T
