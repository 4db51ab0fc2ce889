"""X3D: a tiny image network expanded, one axis at a time, until it suits video.

Paper: Feichtenhofer, "X3D: Expanding Architectures for Efficient Video Recognition" (2020),
https://arxiv.org/abs/2004.04730.
Origin: written anew after the description of https://github.com/facebookresearch/pytorchvideo
(Apache-2.0); parameters carry the names of its hub, so published tensors load without renaming.

Two deliberate differences, neither of which changes a clip that the original takes. Clips smaller than
those of a variant are pooled as far as they reach. And where a clip gives several windows to the head,
they are averaged before the last projection instead of after it, which is the same number.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import nn

from kinema.models.bottleneck_resnet import input_of
from kinema.models.layers.bottleneck import (
    Bottleneck,
    Head,
    ResBlock,
    ResStage,
    Triple,
    WindowPool,
    depthwise_conv,
    initialise,
)
from kinema.models.model import Option, VideoModel
from kinema.models.row import ModelRow

__all__ = ["OPTIONS", "ROWS", "X3d", "multiple_of_8"]


OPTIONS = (
    Option("widen_factor", float, "channels of every layer but the last 2048, times this", low=0.125),
    Option("dropout", float, "share of features dropped before the projection", low=0, below=1),
)


def multiple_of_8(width: float) -> int:
    """The multiple of 8 nearest to a number of channels, 8 or more; the next one if that loses a tenth."""
    nearest = max(8, int(width + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * width else nearest


class SqueezeExcitation(nn.Module):
    """Scales every channel by a gate that is found from the means of all channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = multiple_of_8(channels / 16)
        self.block = nn.Sequential(
            nn.Conv3d(channels, squeezed, 1), nn.ReLU(inplace=True), nn.Conv3d(squeezed, channels, 1), nn.Sigmoid()
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, T, H, W), and so it stays."""
        return x * self.block(x.mean((2, 3, 4), keepdim=True))  # type: ignore[no-any-return]


def _stem(in_channels: int, width: int) -> nn.Sequential:
    # The original calls the one in space `conv_t` and the one in time `conv_xy`.
    convolutions: dict[str, nn.Module] = {
        "conv_t": nn.Conv3d(in_channels, width, (1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1), bias=False),
        "conv_xy": nn.Conv3d(width, width, (5, 1, 1), padding=(2, 0, 0), groups=width, bias=False),
    }
    parts: dict[str, nn.Module] = {
        "conv": nn.Sequential(OrderedDict(convolutions)),
        "norm": nn.BatchNorm3d(width),
        "activation": nn.ReLU(inplace=True),
    }
    return nn.Sequential(OrderedDict(parts))


def _stage(depth: int, in_channels: int, out_channels: int) -> ResStage:
    planes = int(2.25 * out_channels)

    def block(index: int) -> ResBlock:
        channels = out_channels if index else in_channels
        stride: Triple = (1, 1, 1) if index else (1, 2, 2)
        gate = nn.Identity() if index % 2 else SqueezeExcitation(planes)
        conv_b = depthwise_conv(planes, stride)
        bottleneck = Bottleneck(channels, planes, out_channels, conv_b, gate=gate, act_b=nn.SiLU())
        return ResBlock(channels, out_channels, stride, bottleneck)

    return ResStage(block(index) for index in range(depth))


def _projected_pool(in_channels: int, planes: int, out_channels: int, window: Triple) -> nn.Sequential:
    parts: dict[str, nn.Module] = {
        "pre_conv": nn.Conv3d(in_channels, planes, 1, bias=False),
        "pre_norm": nn.BatchNorm3d(planes),
        "pre_act": nn.ReLU(inplace=True),
        "pool": WindowPool(window),
        "post_conv": nn.Conv3d(planes, out_channels, 1, bias=False),
        "post_act": nn.ReLU(inplace=True),
    }
    return nn.Sequential(OrderedDict(parts))


class X3d(VideoModel):
    """X3D over clips (N, C, T, H, W) of any length and size; it never steps in time.

    Args:
        depths: blocks in each of the four stages.
        window: frames, rows and columns that the head pools over: the grid of a clip of the
            variant's size.
        num_classes: K.
        in_channels: C, 3 for RGB.
        widen_factor: multiplies the channels of every layer but the last 2048, rounded to multiples of 8.
        dropout: share of features dropped before the projection in training.
    """

    trunk: ClassVar = {  # x3d_m
        "stem": ("blocks.0",),  # 3x16x224x224 -> 24x16x112x112
        "res2": ("blocks.1",),  # 24x16x56x56
        "res3": ("blocks.2",),  # 48x16x28x28
        "res4": ("blocks.3",),  # 96x16x14x14
        "res5": ("blocks.4",),  # 192x16x7x7
    }
    top: ClassVar = ("blocks.5.pool", "blocks.5.proj")  # 432x16x7x7 -> 2048x1x1x1, K
    heads: ClassVar = ("blocks.5.proj",)

    def __init__(
        self,
        depths: Sequence[int],
        window: Triple,
        num_classes: int,
        in_channels: int = 3,
        *,
        widen_factor: float = 1.0,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        widths = [multiple_of_8(number * widen_factor) for number in (24, 24, 48, 96, 192)]  # the stem's first
        stages = (_stage(depths[index], widths[index], widths[index + 1]) for index in range(4))
        pool = _projected_pool(widths[-1], int(2.25 * widths[-1]), 2048, window)
        self.blocks = nn.ModuleList([_stem(in_channels, widths[0]), *stages, Head(pool, 2048, num_classes, dropout)])
        initialise(self)

    def forward_head(self, features: torch.Tensor) -> torch.Tensor:
        """(N, features, T, H', W') to logits (N, K)."""
        return self.blocks[-1](features)  # type: ignore[no-any-return]


_SHALLOW = (3, 5, 11, 7)
_DEEP = (5, 10, 25, 15)


def _row(
    size: str,
    depths: tuple[int, ...],
    clip: tuple[int, int],
    size_px: int,
    short_side_px: int,
    *,
    parameters: int,
    gflops: float,
) -> ModelRow:
    frames, stride = clip
    grid = -(-size_px // 32)
    arguments = {"depths": depths, "window": (frames, grid, grid)}
    paper = "Feichtenhofer 2020, arXiv:2004.04730"
    spec = input_of(frames, stride, size_px, short_side_px)
    return ModelRow(f"x3d_{size}", X3d, arguments, OPTIONS, parameters, gflops, paper, spec)


ROWS = (
    _row("xs", _SHALLOW, (4, 12), 160, 182, parameters=3_794_274, gflops=1.21),
    _row("s", _SHALLOW, (13, 6), 160, 182, parameters=3_794_274, gflops=3.93),
    _row("m", _SHALLOW, (16, 5), 224, 256, parameters=3_794_274, gflops=9.46),
    _row("l", _DEEP, (16, 5), 312, 356, parameters=6_153_384, gflops=36.74),
)
