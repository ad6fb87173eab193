"""From 8-bit patches to the network's input, on whatever device the patches are.

Bilinear and nearest resizing both treat pixels as little squares (centres at half-integers, no aligned corners), so
a patch enlarged by two keeps its place exactly.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

# ImageNet's mean and standard deviation of red, green, blue, in 8-bit levels.
MEAN = (123.675, 116.28, 103.53)
STD = (58.395, 57.12, 57.375)


def prepare(images_NHWC: Tensor, masks: Tensor, input_size: int) -> Tensor:
    """Network input of a batch of patches.

    Args:
        images_NHWC: (N, P, P, 3) uint8 RGB.
        masks: uint8; (N, P, P), the coarse mask, 0 or 1; or, for networks that see neighbours, (N, P, P, 2), the
            coarse mask and how likely another detection lies there, each 0..255.
        input_size: side S of the network's input in pixels.

    Returns:
        (N, C, S, S) float32 in channels-last order. RGB, bilinear, normalised, and the coarse mask, -1..+1: C is 4,
        and the mask's pixels are the nearest. With neighbours C is 5: both are bilinear, the neighbours 0..1.
    """
    # NHWC seen as NCHW is what torch calls channels_last: no copy is made.
    images = _resized(images_NHWC.permute(0, 3, 1, 2).float(), input_size)
    mean, std = (images.new_tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    if masks.ndim == 3:
        hints = _nearest(masks[:, None].float(), input_size) * 2.0 - 1.0
    else:
        scale, offset = (images.new_tensor(values).view(1, 2, 1, 1) for values in ((2 / 255, 1 / 255), (1.0, 0.0)))
        hints = _resized(masks.permute(0, 3, 1, 2).float(), input_size) * scale - offset
    stacked = torch.cat(((images - mean) / std, hints), dim=1)
    return stacked.contiguous(memory_format=torch.channels_last)


def _resized(pixels: Tensor, side: int) -> Tensor:
    if pixels.shape[-2:] == (side, side):
        return pixels
    return F.interpolate(pixels, size=(side, side), mode="bilinear", align_corners=False)


def _nearest(pixels: Tensor, side: int) -> Tensor:
    if pixels.shape[-2:] == (side, side):
        return pixels
    # By index, because exporters know no mode "nearest-exact", which gives the same.
    nearest = ((torch.arange(side, device=pixels.device) + 0.5) * (pixels.shape[-1] / side)).long()
    return pixels.index_select(2, nearest).index_select(3, nearest)
