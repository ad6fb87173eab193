"""HRNetV2 as a two-class patch segmenter, in plain torch.

A high-resolution branch (a quarter of the input) is kept from start to end; each further stage adds a branch at
half the resolution and lets all branches exchange what they found (Wang et al., "Deep High-Resolution
Representation Learning for Visual Recognition", 2020). Parameter names are those of the paper's published
checkpoints, so that these load as they are.

Tensors are (N, C, H, W). The mask enters beside the image through a convolution of its own in the stem.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bpr_cli.network.config import CONFIGS, HRNetConfig
from bpr_cli.network.logits import resize


def build(name: str, mask_patch: bool = True) -> HRNetSegmenter:
    """A network of CONFIGS with fresh random weights (torch's global generator)."""
    network = HRNetSegmenter(CONFIGS[name], mask_patch)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    nn.init.normal_(network.decode_head.conv_seg.weight, std=0.01)
    return network


class HRNetSegmenter(nn.Module):
    """Backbone and head: (N, 4, H, W) float to logits (N, 2, H/4, W/4), background and foreground.

    The input's channels are normalised red, green, blue and the coarse mask as -1 / +1 (`input_tensor`); H and W
    are multiples of 32. `logits.resize` brings the logits to the size in which they are compared or pasted. Without
    `mask_patch` the coarse mask is not looked at, and no weights are there for it.
    """

    def __init__(self, config: HRNetConfig, mask_patch: bool = True) -> None:
        super().__init__()
        self.backbone = Backbone(config, mask_patch)
        self.decode_head = Head(channels=15 * config.width)  # 1 + 2 + 4 + 8 times the width

    def forward(self, inputs: Tensor) -> Tensor:
        return self.decode_head(self.backbone(inputs))


class Backbone(nn.Module):
    """Stem and four stages; gives the four branches' features, finest first."""

    def __init__(self, config: HRNetConfig, mask_patch: bool) -> None:
        super().__init__()
        widths = [config.width * 2**i for i in range(4)]
        self.conv1 = nn.Conv2d(3, 64, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.conv2 = nn.Conv2d(64, 64, 3, stride=2, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = nn.Sequential(*(Bottleneck(64 if i == 0 else 256) for i in range(config.stem_blocks)))
        self.transition1 = transition([256], widths[:2])
        self.stage2 = stage(widths[:2], config.modules[0], config.blocks)
        self.transition2 = transition(widths[:2], widths[:3])
        self.stage3 = stage(widths[:3], config.modules[1], config.blocks)
        self.transition3 = transition(widths[:3], widths)
        self.stage4 = stage(widths, config.modules[2], config.blocks)
        self.conv_mask = nn.Conv2d(1, 64, 3, stride=2, padding=1, bias=False) if mask_patch else None

    def forward(self, inputs: Tensor) -> list[Tensor]:
        if self.conv_mask is None:
            x = self.conv1(inputs[:, :3])
        else:
            # One convolution over all four channels is the sum of the image's and the mask's, and faster.
            stem_weight = torch.cat((self.conv1.weight, self.conv_mask.weight), dim=1)
            x = F.conv2d(inputs, stem_weight, stride=2, padding=1)
        x = self.relu(self.bn1(x))
        x = self.relu(self.bn2(self.conv2(x)))
        branches = [self.layer1(x)]
        for change, modules in (
            (self.transition1, self.stage2),
            (self.transition2, self.stage3),
            (self.transition3, self.stage4),
        ):
            branches = self._add_branch(branches, change)
            for module in modules:
                branches = module(branches)
        return branches

    @staticmethod
    def _add_branch(branches: list[Tensor], change: nn.ModuleList) -> list[Tensor]:
        """Each branch goes on in its own width; the new, coarser one grows out of the last."""
        changed = []
        for i, layer in enumerate(change):
            source = branches[min(i, len(branches) - 1)]
            changed.append(layer(source))
        return changed


class Head(nn.Module):
    """All branches at the finest one's size, concatenated; 1x1 convolution; 1x1 classifier."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_seg = nn.Conv2d(channels, 2, 1)
        self.convs = nn.ModuleList([ConvNorm(channels)])

    def forward(self, branches: list[Tensor]) -> Tensor:
        size = branches[0].shape[-2:]
        same_size = [branches[0], *(resize(branch, size) for branch in branches[1:])]
        x = torch.cat(same_size, dim=1)
        for layer in self.convs:
            x = layer(x)
        return self.conv_seg(x)


class ConvNorm(nn.Module):
    """1x1 convolution, batch normalisation, ReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 1, bias=False)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)), inplace=True)


class Bottleneck(nn.Module):
    """Residual block of layer1: 1x1 to 64 channels, 3x3, 1x1 to 256."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 64, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.conv2 = nn.Conv2d(64, 64, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(64)
        self.conv3 = nn.Conv2d(64, 256, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(256)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None if in_channels == 256 else conv_norm(in_channels, 256, 1)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        return self.relu(self.bn3(self.conv3(x)) + shortcut)


class BasicBlock(nn.Module):
    """Residual block of a branch: two 3x3 convolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(y)) + x)


class ExchangeModule(nn.Module):
    """Parallel branches, then each branch receives the sum of all, brought to its size and width."""

    def __init__(self, widths: list[int], blocks: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(nn.Sequential(*(BasicBlock(w) for _ in range(blocks))) for w in widths)
        self.fuse_layers = nn.ModuleList(
            nn.ModuleList(exchange(widths, source, target) for source in range(len(widths)))
            for target in range(len(widths))
        )

    def forward(self, branches: list[Tensor]) -> list[Tensor]:
        features = [branch(x) for branch, x in zip(self.branches, branches, strict=True)]
        fused = []
        for target, layers in enumerate(self.fuse_layers):
            assert isinstance(layers, nn.ModuleList)
            total = features[target]
            for source, layer in enumerate(layers):
                if source < target:
                    total = total + layer(features[source])
                elif source > target:
                    total = total + resize(layer(features[source]), features[target].shape[-2:])
            fused.append(F.relu(total))
        return fused


def exchange(widths: list[int], source: int, target: int) -> nn.Module:
    """What one branch sends another: a 1x1 convolution upwards (resized after), strided 3x3 ones downwards."""
    if source == target:
        return nn.Identity()
    if source > target:
        return conv_norm(widths[source], widths[target], 1)
    steps: list[nn.Module] = []
    for step in range(target - source):
        last = step == target - source - 1
        layer = conv_norm(widths[source], widths[target] if last else widths[source], 3, stride=2)
        if not last:
            layer.append(nn.ReLU(inplace=True))
        steps.append(layer)
    return nn.Sequential(*steps)


def stage(widths: list[int], modules: int, blocks: int) -> nn.Sequential:
    """A stage: exchange modules one after the other."""
    return nn.Sequential(*(ExchangeModule(widths, blocks) for _ in range(modules)))


def transition(before: list[int], after: list[int]) -> nn.ModuleList:
    """Layers into a stage with one more branch: width changes where needed, a strided step for the new branch."""
    layers: list[nn.Module] = []
    for i, width in enumerate(after):
        if i < len(before):
            layers.append(nn.Identity() if before[i] == width else conv_norm_relu(before[i], width, 1))
        else:
            layers.append(nn.Sequential(conv_norm_relu(before[-1], width, 2)))
    return nn.ModuleList(layers)


def conv_norm(in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """Convolution without bias, batch normalisation."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel, stride=stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(out_channels),
    )


def conv_norm_relu(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    """3x3 convolution without bias, batch normalisation, ReLU."""
    return conv_norm(in_channels, out_channels, 3, stride).append(nn.ReLU(inplace=True))
