"""Pre-activation 3D ResNet: batch norm and ReLU come before each convolution, and nothing comes after a sum.

Papers: He et al., "Identity Mappings in Deep Residual Networks" (2016), https://arxiv.org/abs/1603.05027;
in 3D: Hara et al., "Can Spatiotemporal 3D CNNs Retrace the History of 2D CNNs and ImageNet?" (2018),
https://arxiv.org/abs/1711.09577.
Origin: written anew after the description of https://github.com/kenshohara/3D-ResNets-PyTorch (MIT),
branch CVPR2018; parameters carry the original names, so published tensors load without renaming.

The original departs from the paper, and we follow the original, because its weights were trained so:
the stem is that of the plain ResNet, a shortcut takes the block's raw input, and no batch norm
follows the last block. Deliberate differences are those of `kinema.models.resnet3d`.
"""

from __future__ import annotations

import torch
from torch import nn

from kinema.core.spec import InputSpec
from kinema.models import resnet3d
from kinema.models.resnet3d import Block, BlockFactory, ResNet3d, Shortcut, conv1x1x1, conv3x3x3, make_shortcut
from kinema.models.row import ModelRow

__all__ = ["OPTIONS", "ROWS", "PreactBasicBlock", "PreactBottleneck"]

OPTIONS = resnet3d.OPTIONS


class PreactBasicBlock(Block):
    """Two 3x3x3 convolutions, each after batch norm and ReLU, beside a shortcut; the first one steps by `stride`."""

    def __init__(self, in_channels: int, planes: int, stride: int, shortcut: Shortcut) -> None:
        super().__init__()
        self.out_channels = planes
        self.bn1 = nn.BatchNorm3d(in_channels)
        self.conv1 = conv3x3x3(in_channels, planes, stride)
        self.bn2 = nn.BatchNorm3d(planes)
        self.conv2 = conv3x3x3(planes, planes)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = make_shortcut(in_channels, planes, stride, shortcut)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, in, T, H, W) to (N, planes, T/s, H/s, W/s)."""
        out = self.conv1(self.relu(self.bn1(x)))
        out = self.conv2(self.relu(self.bn2(out)))
        return out + self.downsample(x)  # type: ignore[no-any-return]


class PreactBottleneck(Block):
    """1x1x1, 3x3x3 and 1x1x1 convolutions, each after batch norm and ReLU, beside a shortcut; the 3x3x3 one steps."""

    def __init__(self, in_channels: int, planes: int, stride: int, shortcut: Shortcut) -> None:
        super().__init__()
        self.out_channels = 4 * planes
        self.bn1 = nn.BatchNorm3d(in_channels)
        self.conv1 = conv1x1x1(in_channels, planes)
        self.bn2 = nn.BatchNorm3d(planes)
        self.conv2 = conv3x3x3(planes, planes, stride)
        self.bn3 = nn.BatchNorm3d(planes)
        self.conv3 = conv1x1x1(planes, self.out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = make_shortcut(in_channels, self.out_channels, stride, shortcut)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, in, T, H, W) to (N, 4 · planes, T/s, H/s, W/s)."""
        out = self.conv1(self.relu(self.bn1(x)))
        out = self.conv2(self.relu(self.bn2(out)))
        out = self.conv3(self.relu(self.bn3(out)))
        return out + self.downsample(x)  # type: ignore[no-any-return]


def _row(depth: int, block: BlockFactory, depths: tuple[int, ...], parameters: int, gflops: float) -> ModelRow:
    return ModelRow(
        f"preact_resnet3d_{depth}",
        ResNet3d,
        {"block": block, "depths": depths},
        OPTIONS,
        parameters,
        gflops,
        "Hara et al. 2018, arXiv:1711.09577",
        InputSpec(),
    )


ROWS = (
    _row(18, PreactBasicBlock, (2, 2, 2, 2), parameters=33_408_208, gflops=16.62),
    _row(34, PreactBasicBlock, (3, 4, 6, 3), parameters=63_717_840, gflops=25.39),
    _row(50, PreactBottleneck, (3, 4, 6, 3), parameters=47_014_608, gflops=20.14),
    _row(101, PreactBottleneck, (3, 4, 23, 3), parameters=86_060_752, gflops=27.78),
    _row(152, PreactBottleneck, (3, 8, 36, 3), parameters=118_219_472, gflops=37.22),
    _row(200, PreactBottleneck, (3, 24, 36, 3), parameters=127_419_088, gflops=51.61),
)
