"""3D ResNet: residual networks whose every convolution spans time as well as space.

Papers: Hara et al., "Learning Spatio-Temporal Features with 3D Residual Networks for Action
Recognition" (2017), https://arxiv.org/abs/1708.07632, and "Can Spatiotemporal 3D CNNs Retrace the
History of 2D CNNs and ImageNet?" (2018), https://arxiv.org/abs/1711.09577.
Origin: written anew after the description of https://github.com/kenshohara/3D-ResNets-PyTorch (MIT);
parameters carry the original names, so published tensors load without renaming.

Two deliberate differences, neither of which changes a forward pass: shortcut A carries its gradient
(the original cuts it off), and there may be dropout before `fc`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import nn
from torch.nn import functional

from kinema.core.spec import InputSpec
from kinema.models.model import Option, VideoModel
from kinema.models.row import ModelRow

__all__ = ["OPTIONS", "ROWS", "BasicBlock", "Bottleneck", "ResNet3d"]

OPTIONS = (
    Option("shortcut", str, "where shapes change: A pools and pads with zeros, B projects", choices=("A", "B")),
    Option("conv1_t_size", int, "frames the first convolution spans", low=1),
    Option("conv1_t_stride", int, "frames the first convolution steps", low=1),
    Option("max_pool", bool, "halve time and space after the first convolution"),
    Option("widen_factor", float, "channels of every layer, times this", low=0.125),
    Option("dropout", float, "share of features dropped before fc (not in the original)", low=0, below=1),
)

Shortcut = Literal["A", "B"]


class ZeroPadShortcut(nn.Module):
    """Shortcut A: every `stride`-th value on each axis, then channels of zeros. No parameters."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.extra_channels = out_channels - in_channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, T, H, W) to (N, C + extra, T/s, H/s, W/s)."""
        x = functional.avg_pool3d(x, kernel_size=1, stride=self.stride)
        return functional.pad(x, (0, 0, 0, 0, 0, 0, 0, self.extra_channels))


def _conv3x3x3(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv3d:
    return nn.Conv3d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)


def _conv1x1x1(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv3d:
    return nn.Conv3d(in_channels, out_channels, 1, stride=stride, bias=False)


def _shortcut(in_channels: int, out_channels: int, stride: int, kind: Shortcut) -> nn.Module:
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    if kind == "A":
        return ZeroPadShortcut(in_channels, out_channels, stride)
    return nn.Sequential(_conv1x1x1(in_channels, out_channels, stride), nn.BatchNorm3d(out_channels))


class BasicBlock(nn.Module):
    """Two 3x3x3 convolutions beside a shortcut; the first one steps by `stride`."""

    expansion = 1

    def __init__(self, in_channels: int, planes: int, stride: int, shortcut: Shortcut) -> None:
        super().__init__()
        self.conv1 = _conv3x3x3(in_channels, planes, stride)
        self.bn1 = nn.BatchNorm3d(planes)
        self.conv2 = _conv3x3x3(planes, planes)
        self.bn2 = nn.BatchNorm3d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(in_channels, planes, stride, shortcut)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, in, T, H, W) to (N, planes, T/s, H/s, W/s)."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out = out + self.downsample(x)
        return self.relu(out)  # type: ignore[no-any-return]


class Bottleneck(nn.Module):
    """1x1x1, 3x3x3 and 1x1x1 convolutions beside a shortcut; the 3x3x3 one steps by `stride`."""

    expansion = 4

    def __init__(self, in_channels: int, planes: int, stride: int, shortcut: Shortcut) -> None:
        super().__init__()
        out_channels = planes * self.expansion
        self.conv1 = _conv1x1x1(in_channels, planes)
        self.bn1 = nn.BatchNorm3d(planes)
        self.conv2 = _conv3x3x3(planes, planes, stride)
        self.bn2 = nn.BatchNorm3d(planes)
        self.conv3 = _conv1x1x1(planes, out_channels)
        self.bn3 = nn.BatchNorm3d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(in_channels, out_channels, stride, shortcut)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, in, T, H, W) to (N, 4 · planes, T/s, H/s, W/s)."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        out = out + self.downsample(x)
        return self.relu(out)  # type: ignore[no-any-return]


class ResNet3d(VideoModel):
    """3D ResNet over clips (N, C, T, H, W) of any length and size.

    Args:
        block: the part a layer repeats.
        depths: blocks in each of the four layers.
        num_classes: K.
        in_channels: C, 3 for RGB.
        shortcut: how a block's input reaches an output of another shape (see `OPTIONS`).
        conv1_t_size: kernel of the first convolution in time, frames.
        conv1_t_stride: its stride in time, frames.
        max_pool: whether a 3x3x3 max-pool of stride 2 follows it.
        widen_factor: multiplies the channels of every layer.
        dropout: share of features dropped before `fc` in training.
    """

    trunk: ClassVar = {
        "conv1": ("conv1", "bn1", "relu", "maxpool"),  # 3x16x112x112 -> 64x16x56x56 -> 64x8x28x28
        "layer1": ("layer1",),  # 64x8x28x28, times the expansion here and below
        "layer2": ("layer2",),  # 128x4x14x14
        "layer3": ("layer3",),  # 256x2x7x7
        "layer4": ("layer4",),  # 512x1x4x4
    }
    top: ClassVar = ("fc",)
    heads: ClassVar = ("fc",)

    def __init__(
        self,
        block: type[BasicBlock | Bottleneck],
        depths: Sequence[int],
        num_classes: int,
        in_channels: int = 3,
        *,
        shortcut: Shortcut = "B",
        conv1_t_size: int = 7,
        conv1_t_stride: int = 1,
        max_pool: bool = True,
        widen_factor: float = 1.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        planes = [int(width * widen_factor) for width in (64, 128, 256, 512)]
        widths = [planes[0], *(width * block.expansion for width in planes)]  # into each layer, and out of the last

        def layer(index: int, stride: int) -> nn.Sequential:
            first = block(widths[index], planes[index], stride, shortcut)
            rest = (block(widths[index + 1], planes[index], 1, shortcut) for _ in range(depths[index] - 1))
            return nn.Sequential(first, *rest)

        self.conv1 = nn.Conv3d(
            in_channels,
            planes[0],
            (conv1_t_size, 7, 7),
            stride=(conv1_t_stride, 2, 2),
            padding=(conv1_t_size // 2, 3, 3),
            bias=False,
        )
        self.bn1 = nn.BatchNorm3d(planes[0])
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool3d(3, stride=2, padding=1) if max_pool else nn.Identity()
        self.layer1 = layer(0, stride=1)
        self.layer2 = layer(1, stride=2)
        self.layer3 = layer(2, stride=2)
        self.layer4 = layer(3, stride=2)
        self.avgpool = nn.AdaptiveAvgPool3d(1)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(widths[-1], num_classes)
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward_head(self, features: torch.Tensor) -> torch.Tensor:
        """(N, features, T', H', W') to logits (N, K)."""
        pooled = self.avgpool(features).flatten(1)  # (N, features)
        return self.fc(self.dropout(pooled))  # type: ignore[no-any-return]


_HARA_2018 = "Hara et al. 2018, arXiv:1711.09577"
_CLIP_16X112 = InputSpec()


def _row(
    depth: int, block: type[BasicBlock | Bottleneck], depths: tuple[int, ...], parameters: int, gflops: float
) -> ModelRow:
    arguments = {"block": block, "depths": depths}
    name = f"resnet3d_{depth}"
    return ModelRow(name, ResNet3d, arguments, OPTIONS, parameters, gflops, _HARA_2018, _CLIP_16X112)


ROWS = (
    _row(10, BasicBlock, (1, 1, 1, 1), parameters=14_604_624, gflops=11.31),
    _row(18, BasicBlock, (2, 2, 2, 2), parameters=33_409_104, gflops=16.62),
    _row(34, BasicBlock, (3, 4, 6, 3), parameters=63_718_736, gflops=25.39),
    _row(50, Bottleneck, (3, 4, 6, 3), parameters=47_018_576, gflops=20.14),
    _row(101, Bottleneck, (3, 4, 23, 3), parameters=86_064_720, gflops=27.78),
    _row(152, Bottleneck, (3, 8, 36, 3), parameters=118_223_440, gflops=37.22),
    _row(200, Bottleneck, (3, 24, 36, 3), parameters=127_423_056, gflops=51.61),
)
