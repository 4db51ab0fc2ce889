"""R(2+1)D: 3D ResNet whose every 3D convolution is split into one over space and one over time.

Papers: Tran et al., "A Closer Look at Spatiotemporal Convolutions for Action Recognition" (2018),
https://arxiv.org/abs/1711.11248; as here: Kataoka et al., "Would Mega-scale Datasets Further Enhance
Spatiotemporal 3D CNNs?" (2020), https://arxiv.org/abs/2004.04968.
Origin: written anew after the description of https://github.com/kenshohara/3D-ResNets-PyTorch (MIT);
parameters carry the original names, so published tensors load without renaming.

It is not torchvision's `r2plus1d_18`, whose stem spans 3 frames and has no max-pool. Deliberate
differences from the original are those of `kinema.models.resnet3d`.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn

from kinema.core.spec import InputSpec
from kinema.models import resnet3d
from kinema.models.resnet3d import Block, BlockFactory, ResNet3d, Shortcut, conv1x1x1, make_shortcut
from kinema.models.row import ModelRow

__all__ = ["OPTIONS", "ROWS", "BasicBlock2p1d", "Bottleneck2p1d", "ResNet2p1d"]

OPTIONS = resnet3d.OPTIONS


def _between(in_channels: int, out_channels: int, t_size: int, size: int) -> int:
    """Channels between the two halves: as many as give them the parameters of the whole (section 3.5 of Tran et al.).

    t·k²·in·out parameters of the whole against k²·in + t·out for each channel between the halves.
    """
    whole = in_channels * out_channels * t_size * size**2
    return whole // (in_channels * size**2 + t_size * out_channels)


def _conv1x3x3(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv3d:
    return nn.Conv3d(in_channels, out_channels, (1, 3, 3), stride=(1, stride, stride), padding=(0, 1, 1), bias=False)


def _conv3x1x1(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv3d:
    return nn.Conv3d(in_channels, out_channels, (3, 1, 1), stride=(stride, 1, 1), padding=(1, 0, 0), bias=False)


class BasicBlock2p1d(Block):
    """Two split convolutions beside a shortcut; the first one steps by `stride`."""

    def __init__(self, in_channels: int, planes: int, stride: int, shortcut: Shortcut) -> None:
        super().__init__()
        self.out_channels = planes
        between = _between(in_channels, planes, 3, 3)
        self.conv1_s = _conv1x3x3(in_channels, between, stride)
        self.bn1_s = nn.BatchNorm3d(between)
        self.conv1_t = _conv3x1x1(between, planes, stride)
        self.bn1_t = nn.BatchNorm3d(planes)
        between = _between(planes, planes, 3, 3)
        self.conv2_s = _conv1x3x3(planes, between)
        self.bn2_s = nn.BatchNorm3d(between)
        self.conv2_t = _conv3x1x1(between, planes)
        self.bn2_t = nn.BatchNorm3d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = make_shortcut(in_channels, planes, stride, shortcut)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, in, T, H, W) to (N, planes, T/s, H/s, W/s)."""
        out = self.relu(self.bn1_s(self.conv1_s(x)))  # (N, between, T, H/s, W/s)
        out = self.relu(self.bn1_t(self.conv1_t(out)))  # (N, planes, T/s, H/s, W/s)
        out = self.relu(self.bn2_s(self.conv2_s(out)))
        out = self.bn2_t(self.conv2_t(out))
        out = out + self.downsample(x)
        return self.relu(out)  # type: ignore[no-any-return]


class Bottleneck2p1d(Block):
    """A 1x1x1, a split and a 1x1x1 convolution beside a shortcut; the split one steps by `stride`."""

    def __init__(self, in_channels: int, planes: int, stride: int, shortcut: Shortcut) -> None:
        super().__init__()
        self.out_channels = 4 * planes
        between = _between(planes, planes, 3, 3)
        self.conv1 = conv1x1x1(in_channels, planes)
        self.bn1 = nn.BatchNorm3d(planes)
        self.conv2_s = _conv1x3x3(planes, between, stride)
        self.bn2_s = nn.BatchNorm3d(between)
        self.conv2_t = _conv3x1x1(between, planes, stride)
        self.bn2_t = nn.BatchNorm3d(planes)
        self.conv3 = conv1x1x1(planes, self.out_channels)
        self.bn3 = nn.BatchNorm3d(self.out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = make_shortcut(in_channels, self.out_channels, stride, shortcut)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, in, T, H, W) to (N, 4 · planes, T/s, H/s, W/s)."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2_s(self.conv2_s(out)))  # (N, between, T, H/s, W/s)
        out = self.relu(self.bn2_t(self.conv2_t(out)))  # (N, planes, T/s, H/s, W/s)
        out = self.bn3(self.conv3(out))
        out = out + self.downsample(x)
        return self.relu(out)  # type: ignore[no-any-return]


class ResNet2p1d(ResNet3d):
    """`ResNet3d` with a split first convolution; its blocks are passed in like any others."""

    trunk: ClassVar = {
        **ResNet3d.trunk,
        # 3x16x112x112 -> 110x16x56x56 -> 64x16x56x56 -> 64x8x28x28
        "conv1": ("conv1_s", "bn1_s", "relu", "conv1_t", "bn1_t", "relu", "maxpool"),
    }

    def add_stem(self, in_channels: int, channels: int, t_size: int, t_stride: int) -> None:
        """As for `ResNet3d`, in two halves."""
        between = _between(3, channels, t_size, 7)  # for RGB, and kept for any other number of channels
        self.conv1_s = nn.Conv3d(in_channels, between, (1, 7, 7), stride=(1, 2, 2), padding=(0, 3, 3), bias=False)
        self.bn1_s = nn.BatchNorm3d(between)
        self.conv1_t = nn.Conv3d(
            between, channels, (t_size, 1, 1), stride=(t_stride, 1, 1), padding=(t_size // 2, 0, 0), bias=False
        )
        self.bn1_t = nn.BatchNorm3d(channels)


def _row(depth: int, block: BlockFactory, depths: tuple[int, ...], parameters: int, gflops: float) -> ModelRow:
    return ModelRow(
        f"resnet2p1d_{depth}",
        ResNet2p1d,
        {"block": block, "depths": depths},
        OPTIONS,
        parameters,
        gflops,
        "Tran et al. 2018, arXiv:1711.11248",
        InputSpec(),
    )


ROWS = (
    _row(10, BasicBlock2p1d, (1, 1, 1, 1), parameters=14_608_044, gflops=11.65),
    _row(18, BasicBlock2p1d, (2, 2, 2, 2), parameters=33_421_164, gflops=16.95),
    _row(34, BasicBlock2p1d, (3, 4, 6, 3), parameters=63_747_500, gflops=25.73),
    _row(50, Bottleneck2p1d, (3, 4, 6, 3), parameters=47_035_382, gflops=21.05),
    _row(101, Bottleneck2p1d, (3, 4, 23, 3), parameters=86_101_110, gflops=28.69),
    _row(152, Bottleneck2p1d, (3, 8, 36, 3), parameters=118_277_110, gflops=38.13),
    _row(200, Bottleneck2p1d, (3, 24, 36, 3), parameters=127_485_942, gflops=52.52),
)
