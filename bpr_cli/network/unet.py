"""A U-Net on EfficientNet-Lite0: a light network that sees a whole object, or a patch with its neighbours.

The encoder is EfficientNet-Lite0 (Tan and Le, "EfficientNet", 2019; the Lite form is without squeeze-and-excitation
and with ReLU6) down to a 32nd of the input, so that weights trained on ImageNet fit. The decoder climbs back in four
steps, each with the encoder's features of that size beside it; the last one to full size is a pixel shuffle.

Tensors are (N, C, H, W).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Of each stage: blocks, kernel, stride of the first block, expansion, channels.
STAGES = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192))
STEM_CHANNELS = 32
INPUT_CHANNELS = 5  # red, green, blue, the coarse mask, the other detections (`input_tensor.prepare`)
# Blocks (from 0) whose features the decoder takes up, finest first: at a half, quarter, eighth and 16th of the input.
SKIPS = (0, 2, 4, 10)
SKIP_CHANNELS = (16 + STEM_CHANNELS, 24, 40, 112)  # with the stem's beside the first block's
DECODER_CHANNELS = (24, 32, 48, 80)
NORM_EPSILON = 1e-3  # as the ImageNet weights were trained with


class UNetSegmenter(nn.Module):
    """(N, 5, H, W) float to logits (N, 2, H, W), background and foreground; H and W are multiples of 32."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(*_conv_norm(INPUT_CHANNELS, STEM_CHANNELS, kernel=3, stride=2), nn.ReLU6())
        self.blocks = nn.ModuleList(_encoder_blocks())
        self.decoder = nn.ModuleList(_decoder_steps())
        self.head = nn.Conv2d(DECODER_CHANNELS[0], 4, 3, padding=1)

    def forward(self, inputs: Tensor) -> Tensor:
        x = stem = self.stem(inputs)
        features = []
        for number, block in enumerate(self.blocks):
            x = block(x)
            if number in SKIPS:
                features.append(x)
        features[0] = torch.cat((features[0], stem), dim=1)
        for step, feature in zip(self.decoder, reversed(features), strict=True):
            x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
            x = step(torch.cat((x, feature), dim=1))
        foreground = F.pixel_shuffle(self.head(x), 2)
        # Two classes as the other networks have them: the background's logit is 0.
        return torch.cat((torch.zeros_like(foreground), foreground), dim=1)


class InvertedResidual(nn.Module):
    """Widen, convolve each channel by itself, narrow again; added to what came where the shapes are equal."""

    def __init__(self, channels: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = channels * expansion
        widen = [*_conv_norm(channels, wide, kernel=1), nn.ReLU6()] if expansion > 1 else []
        depthwise = [*_conv_norm(wide, wide, kernel=kernel, stride=stride, groups=wide), nn.ReLU6()]
        self.layers = nn.Sequential(*widen, *depthwise, *_conv_norm(wide, outputs, kernel=1))
        self.is_residual = stride == 1 and channels == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x) if self.is_residual else self.layers(x)


class SamePadding(nn.ZeroPad2d):
    """TensorFlow's padding before a convolution of stride 2 over an even size: one pixel more at the far sides."""

    def __init__(self, kernel: int) -> None:
        near, far = (kernel - 2) // 2, (kernel - 1) // 2
        super().__init__((near, far, near, far))


def _conv_norm(channels: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    padding = kernel // 2 if stride == 1 else 0
    conv = nn.Conv2d(channels, outputs, kernel, stride, padding, groups=groups, bias=False)
    pad = [] if stride == 1 else [SamePadding(kernel)]
    return [*pad, conv, nn.BatchNorm2d(outputs, eps=NORM_EPSILON, momentum=0.01)]


def _encoder_blocks() -> list[nn.Module]:
    blocks: list[nn.Module] = []
    channels = STEM_CHANNELS
    for count, kernel, stride, expansion, outputs in STAGES:
        for number in range(count):
            blocks.append(InvertedResidual(channels, outputs, kernel, stride if number == 0 else 1, expansion))
            channels = outputs
    return blocks


def _decoder_steps() -> list[nn.Module]:
    steps: list[nn.Module] = []
    channels = STAGES[-1][-1]
    for outputs, skipped in zip(reversed(DECODER_CHANNELS), reversed(SKIP_CHANNELS), strict=True):
        layers: list[nn.Module] = []
        for width in (channels + skipped, outputs):
            layers += [nn.Conv2d(width, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
        steps.append(nn.Sequential(*layers))
        channels = outputs
    return steps
