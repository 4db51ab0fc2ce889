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

from collections.abc import Callable, Sequence
from typing import ClassVar, Literal

import torch
from torch import nn
from torch.nn import functional

from kinema.core.spec import InputSpec
from kinema.models.model import Option, VideoModel
from kinema.models.row import ModelRow

__all__ = [
    "OPTIONS",
    "ROWS",
    "BasicBlock",
    "Block",
    "BlockFactory",
    "Bottleneck",
    "ResNet3d",
    "Shortcut",
    "conv1x1x1",
    "conv3x3x3",
    "make_shortcut",
]

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


def conv3x3x3(in_channels: int, out_channels: int, stride: int = 1, groups: int = 1) -> nn.Conv3d:
    """The convolution that sees a value's neighbours in space and time."""
    return nn.Conv3d(in_channels, out_channels, 3, stride=stride, padding=1, groups=groups, bias=False)


def conv1x1x1(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv3d:
    """The convolution that changes the number of channels only."""
    return nn.Conv3d(in_channels, out_channels, 1, stride=stride, bias=False)


def make_shortcut(in_channels: int, out_channels: int, stride: int, kind: Shortcut) -> nn.Module:
    """What brings a block's input to the shape of its output; nothing to do where they are alike."""
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    if kind == "A":
        return ZeroPadShortcut(in_channels, out_channels, stride)
    return nn.Sequential(conv1x1x1(in_channels, out_channels, stride), nn.BatchNorm3d(out_channels))


class Block(nn.Module):
    """What a layer repeats: (N, in, T, H, W) to (N, `out_channels`, T/s, H/s, W/s)."""

    out_channels: int


BlockFactory = Callable[[int, int, int, Shortcut], Block]
"""Makes a block of its input channels, its layer's planes, its stride s and its kind of shortcut."""


class BasicBlock(Block):
    """Two 3x3x3 convolutions beside a shortcut; the first one steps by `stride`."""

    def __init__(self, in_channels: int, planes: int, stride: int, shortcut: Shortcut) -> None:
        super().__init__()
        self.out_channels = planes
        self.conv1 = conv3x3x3(in_channels, planes, stride)
        self.bn1 = nn.BatchNorm3d(planes)
        self.conv2 = conv3x3x3(planes, planes)
        self.bn2 = nn.BatchNorm3d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = make_shortcut(in_channels, planes, stride, shortcut)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, in, T, H, W) to (N, planes, T/s, H/s, W/s)."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out = out + self.downsample(x)
        return self.relu(out)  # type: ignore[no-any-return]


class Bottleneck(Block):
    """1x1x1, 3x3x3 and 1x1x1 convolutions beside a shortcut; the 3x3x3 one steps by `stride`.

    Args:
        in_channels: channels that come in.
        planes: channels inside.
        stride: of the 3x3x3 convolution on all three axes.
        shortcut: A or B.
        out_channels: channels that go out; None makes it four times `planes`.
        groups: of channels that the 3x3x3 convolution keeps apart.
    """

    def __init__(
        self,
        in_channels: int,
        planes: int,
        stride: int,
        shortcut: Shortcut,
        *,
        out_channels: int | None = None,
        groups: int = 1,
    ) -> None:
        super().__init__()
        self.out_channels = 4 * planes if out_channels is None else out_channels
        self.conv1 = conv1x1x1(in_channels, planes)
        self.bn1 = nn.BatchNorm3d(planes)
        self.conv2 = conv3x3x3(planes, planes, stride, groups)
        self.bn2 = nn.BatchNorm3d(planes)
        self.conv3 = conv1x1x1(planes, self.out_channels)
        self.bn3 = nn.BatchNorm3d(self.out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = make_shortcut(in_channels, self.out_channels, stride, shortcut)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, in, T, H, W) to (N, out, T/s, H/s, W/s)."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        out = out + self.downsample(x)
        return self.relu(out)  # type: ignore[no-any-return]


def _blocks(
    block: BlockFactory, depth: int, in_channels: int, planes: int, stride: int, shortcut: Shortcut
) -> list[Block]:
    blocks = [block(in_channels, planes, stride, shortcut)]
    while len(blocks) < depth:
        blocks.append(block(blocks[-1].out_channels, planes, 1, shortcut))
    return blocks


class ResNet3d(VideoModel):
    """3D ResNet over clips (N, C, T, H, W) of any length and size.

    Args:
        block: makes the part that a layer repeats.
        depths: blocks in each of the four layers.
        num_classes: K.
        in_channels: C, 3 for RGB.
        planes: width of each layer, from which a block has its channels.
        shortcut: how a block's input reaches an output of another shape (see `OPTIONS`).
        conv1_t_size: kernel of the first convolution in time, frames.
        conv1_t_stride: its stride in time, frames.
        max_pool: whether a 3x3x3 max-pool of stride 2 follows it.
        widen_factor: multiplies the channels of the first convolution and of every layer; the
            products are cut to whole numbers.
        dropout: share of features dropped before `fc` in training.
    """

    trunk: ClassVar = {
        "conv1": ("conv1", "bn1", "relu", "maxpool"),  # 3x16x112x112 -> 64x16x56x56 -> 64x8x28x28
        "layer1": ("layer1",),  # 64x8x28x28; bottlenecks give four times these channels, here and below
        "layer2": ("layer2",),  # 128x4x14x14
        "layer3": ("layer3",),  # 256x2x7x7
        "layer4": ("layer4",),  # 512x1x4x4
    }
    top: ClassVar = ("fc",)
    heads: ClassVar = ("fc",)

    def __init__(
        self,
        block: BlockFactory,
        depths: Sequence[int],
        num_classes: int,
        in_channels: int = 3,
        *,
        planes: Sequence[float] = (64, 128, 256, 512),
        shortcut: Shortcut = "B",
        conv1_t_size: int = 7,
        conv1_t_stride: int = 1,
        max_pool: bool = True,
        widen_factor: float = 1.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        channels = int(64 * widen_factor)
        self.add_stem(in_channels, channels, conv1_t_size, conv1_t_stride)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool3d(3, stride=2, padding=1) if max_pool else nn.Identity()
        for index, (depth, width) in enumerate(zip(depths, planes, strict=True)):
            stride = 1 if index == 0 else 2
            layer = _blocks(block, depth, channels, int(width * widen_factor), stride, shortcut)
            self.add_module(f"layer{index + 1}", nn.Sequential(*layer))
            channels = layer[-1].out_channels
        self.avgpool = nn.AdaptiveAvgPool3d(1)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(channels, num_classes)
        self._initialise()

    def add_stem(self, in_channels: int, channels: int, t_size: int, t_stride: int) -> None:
        """Set the parts of stage `conv1` that have parameters: (N, C, T, H, W) to (N, channels, T', H/2, W/2)."""
        self.conv1 = nn.Conv3d(
            in_channels,
            channels,
            (t_size, 7, 7),
            stride=(t_stride, 2, 2),
            padding=(t_size // 2, 3, 3),
            bias=False,
        )
        self.bn1 = nn.BatchNorm3d(channels)

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


def _row(depth: int, block: BlockFactory, depths: tuple[int, ...], parameters: int, gflops: float) -> ModelRow:
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
