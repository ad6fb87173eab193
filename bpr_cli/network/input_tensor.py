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


def prepare(images_NHWC: Tensor, masks_NHW: Tensor, input_size: int) -> Tensor:
    """Network input of a batch of patches.

    Args:
        images_NHWC: (N, P, P, 3) uint8 RGB.
        masks_NHW: (N, P, P) uint8, the coarse mask, 0 or 1.
        input_size: side S of the network's input in pixels.

    Returns:
        (N, 4, S, S) float32 in channels-last order: RGB, bilinear, normalised; the mask, nearest, -1 or +1.
    """
    # NHWC seen as NCHW is what torch calls channels_last: no copy is made.
    images = images_NHWC.permute(0, 3, 1, 2).float()
    masks = masks_NHW[:, None].float()
    size = (input_size, input_size)
    if images.shape[-2:] != size:
        images = F.interpolate(images, size=size, mode="bilinear", align_corners=False)
        # By index, because exporters know no mode "nearest-exact", which gives the same.
        nearest = ((torch.arange(input_size, device=masks.device) + 0.5) * (masks.shape[-1] / input_size)).long()
        masks = masks.index_select(2, nearest).index_select(3, nearest)
    mean, std = (images.new_tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    stacked = torch.cat(((images - mean) / std, masks * 2.0 - 1.0), dim=1)
    return stacked.contiguous(memory_format=torch.channels_last)
