"""ResNets of bottlenecks that differ in where their convolutions look at time: Slow, C2D, I3D, R(2+1)D and CSN.

Papers: Feichtenhofer et al., "SlowFast Networks for Video Recognition" (2019; its slow pathway alone),
https://arxiv.org/abs/1812.03982. Wang et al., "Non-local Neural Networks" (2018; its C2D, and its I3D,
which is an inflated ResNet-50 and not the Inception network), https://arxiv.org/abs/1711.07971. Tran et
al., "A Closer Look at Spatiotemporal Convolutions for Action Recognition" (2018; R(2+1)D),
https://arxiv.org/abs/1711.11248. Tran et al., "Video Classification with Channel-Separated Convolutional
Networks" (2019; CSN), https://arxiv.org/abs/1904.02811.
Origin: written anew after the description of https://github.com/facebookresearch/pytorchvideo
(Apache-2.0); parameters carry the names of its hub, so published tensors load without renaming.

Three deliberate differences. Clips smaller than those of the original are pooled as far as they reach.
Where a clip gives several windows to the head, they are averaged before the projection instead of
after it, which is the same number. And `r2plus1d_r50` gives logits like every other network, where
the original's gives their softmax.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional

from kinema.core.spec import ClipSpec, InputSpec
from kinema.models.layers.bottleneck import (
    Head,
    Triple,
    WindowPool,
    depthwise_conv,
    initialise,
    spatial_conv,
    stage_of_bottlenecks,
    stem,
)
from kinema.models.model import Option, VideoModel
from kinema.models.row import ModelRow

__all__ = [
    "OPTIONS",
    "ROWS",
    "BottleneckResNet",
    "Conv2plus1d",
    "HalveFrames",
    "Plan",
    "PooledBottleneckResNet",
    "input_of",
]

OPTIONS = (
    Option("widen_factor", float, "channels of every layer, times this", low=0.125),
    Option("dropout", float, "share of features dropped before the projection", low=0, below=1),
)


class Conv2plus1d(nn.Module):
    """A convolution in time, then one in space, with a nonlinearity between them (R(2+1)D)."""

    def __init__(self, channels: int, stride: Triple) -> None:
        super().__init__()
        frames, rows, columns = stride
        self.conv_t = nn.Conv3d(channels, channels, (3, 1, 1), (frames, 1, 1), (1, 0, 0), bias=False)
        self.norm = nn.BatchNorm3d(channels)
        self.activation = nn.ReLU(inplace=True)
        self.conv_xy = nn.Conv3d(channels, channels, (1, 3, 3), (1, rows, columns), (0, 1, 1), bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, T, H, W) to (N, C, T/t, H/s, W/s)."""
        return self.conv_xy(self.activation(self.norm(self.conv_t(x))))  # type: ignore[no-any-return]


class HalveFrames(nn.Module):
    """Keeps the larger of every two frames; a clip of one frame stays as it is, where the original refuses it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, T, H, W) to (N, C, T/2, H, W), and an odd last frame is dropped."""
        return functional.max_pool3d(x, (min(2, x.shape[2]), 1, 1))


@dataclass(frozen=True)
class Plan:
    """What tells one network of the family from another; each tuple has an entry for res2 to res5.

    Attributes:
        stem_frames: how many frames the first convolution spans.
        conv_a_frames: how many frames the first convolution of a block spans, repeated over the blocks.
        conv_b: makes the convolution in the middle of a bottleneck.
        strides: frames, rows and columns that a stage steps by.
        window: what the head pools over: the grid of a clip of the original's size.
        stem_pool: whether a max-pool follows the first convolution.
    """

    stem_frames: int
    conv_a_frames: tuple[tuple[int, ...], ...]
    conv_b: Callable[[int, Triple], nn.Module]
    strides: tuple[Triple, ...]
    window: Triple
    stem_pool: bool = True


class BottleneckResNet(VideoModel):
    """A ResNet of bottlenecks over clips (N, C, T, H, W) of any length and size.

    Args:
        plan: where its convolutions look at time, and where they step.
        depths: blocks in each of the four stages.
        num_classes: K.
        in_channels: C, 3 for RGB.
        widen_factor: multiplies the channels of every layer.
        dropout: share of features dropped before the projection in training.
    """

    trunk: ClassVar = {  # slow_r50 here; csn_r101 also halves time from res3 on, r2plus1d_r50 from res4 on
        "stem": ("blocks.0",),  # 3x8x224x224 -> 64x8x112x112 -> 64x8x56x56
        "res2": ("blocks.1",),  # 256x8x56x56
        "res3": ("blocks.2",),  # 512x8x28x28
        "res4": ("blocks.3",),  # 1024x8x14x14
        "res5": ("blocks.4",),  # 2048x8x7x7
    }
    top: ClassVar[tuple[str, ...]] = ("blocks.5.proj",)
    heads: ClassVar[tuple[str, ...]] = ("blocks.5.proj",)
    halves_frames: ClassVar[bool] = False

    def __init__(
        self,
        plan: Plan,
        depths: Sequence[int],
        num_classes: int,
        in_channels: int = 3,
        *,
        widen_factor: float = 1.0,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        width = int(64 * widen_factor)
        planes = [width, 2 * width, 4 * width, 8 * width]
        widths = [width, *(4 * number for number in planes)]  # into each stage, and out of the last
        stages: list[nn.Module] = [
            stage_of_bottlenecks(
                depths[index],
                widths[index],
                planes[index],
                plan.conv_a_frames[index],
                plan.conv_b,
                plan.strides[index],
            )
            for index in range(4)
        ]
        if self.halves_frames:
            stages.insert(1, HalveFrames())
        self.blocks = nn.ModuleList(
            [
                stem(in_channels, width, plan.stem_frames, pool=plan.stem_pool),
                *stages,
                Head(WindowPool(plan.window), widths[-1], num_classes, dropout),
            ]
        )
        initialise(self)

    def forward_head(self, features: torch.Tensor) -> torch.Tensor:
        """(N, features, T', H', W') to logits (N, K)."""
        return self.blocks[-1](features)  # type: ignore[no-any-return]


class PooledBottleneckResNet(BottleneckResNet):
    """One that keeps the larger of every two frames after res2."""

    trunk: ClassVar = {
        "stem": ("blocks.0",),  # 3x8x224x224 -> 64x8x112x112 -> 64x8x56x56
        "res2": ("blocks.1", "blocks.2"),  # 256x8x56x56 -> 256x4x56x56
        "res3": ("blocks.3",),  # 512x4x28x28
        "res4": ("blocks.4",),  # 1024x4x14x14
        "res5": ("blocks.5",),  # 2048x4x7x7
    }
    top: ClassVar[tuple[str, ...]] = ("blocks.6.proj",)
    heads: ClassVar[tuple[str, ...]] = ("blocks.6.proj",)
    halves_frames: ClassVar[bool] = True


def input_of(frames: int, stride: int, size_px: int = 224, short_side_px: int = 256) -> InputSpec:
    """The input of PyTorchVideo's networks: their clip, their size and their one mean for all colours."""
    return InputSpec(
        clip=ClipSpec(frames=frames, stride=stride),
        size_px=size_px,
        short_side_px=short_side_px,
        mean=(0.45, 0.45, 0.45),
        std=(0.225, 0.225, 0.225),
    )


_EVERYWHERE_1 = ((1,), (1,), (1,), (1,))
_SPACE = ((1, 1, 1), (1, 2, 2), (1, 2, 2), (1, 2, 2))
_SPACE_AND_TIME = ((1, 1, 1), (2, 2, 2), (2, 2, 2), (2, 2, 2))
_FROM_RES2 = ((1, 2, 2), (1, 2, 2), (2, 2, 2), (2, 2, 2))  # no pool in the stem, so res2 halves pixels

_SLOW = Plan(1, ((1,), (1,), (3,), (3,)), spatial_conv, _SPACE, (8, 7, 7))
_C2D = Plan(1, _EVERYWHERE_1, spatial_conv, _SPACE, (4, 7, 7))
_I3D = Plan(5, ((3,), (3, 1), (3, 1), (1, 3)), spatial_conv, _SPACE, (4, 7, 7))
_R2PLUS1D = Plan(1, _EVERYWHERE_1, Conv2plus1d, _FROM_RES2, (4, 7, 7), stem_pool=False)
_CSN = Plan(3, _EVERYWHERE_1, depthwise_conv, _SPACE_AND_TIME, (4, 7, 7))

_R50 = (3, 4, 6, 3)
_R101 = (3, 4, 23, 3)


def _row(
    name: str,
    builder: Callable[..., VideoModel],
    plan: Plan,
    depths: tuple[int, ...],
    clip: tuple[int, int],
    paper: str,
    *,
    parameters: int,
    gflops: float,
) -> ModelRow:
    arguments = {"plan": plan, "depths": depths}
    return ModelRow(name, builder, arguments, OPTIONS, parameters, gflops, paper, input_of(*clip))


_WITHOUT_DROPOUT = partial(BottleneckResNet, dropout=0.0)
_PLAIN, _POOLED = BottleneckResNet, PooledBottleneckResNet
_SLOWFAST = "Feichtenhofer et al. 2019, arXiv:1812.03982"
_NON_LOCAL = "Wang et al. 2018, arXiv:1711.07971"
_CLOSER_LOOK = "Tran et al. 2018, arXiv:1711.11248"
_SEPARATED = "Tran et al. 2019, arXiv:1904.02811"

ROWS = (  # the pair of numbers is a clip's length and stride, in frames
    _row("slow_r50", _PLAIN, _SLOW, _R50, (8, 8), _SLOWFAST, parameters=32_454_096, gflops=83.48),
    _row("c2d_r50", _POOLED, _C2D, _R50, (8, 8), _NON_LOCAL, parameters=24_327_632, gflops=38.99),
    _row("i3d_r50", _POOLED, _I3D, _R50, (8, 8), _NON_LOCAL, parameters=28_043_472, gflops=56.82),
    _row("r2plus1d_r50", _PLAIN, _R2PLUS1D, _R50, (16, 4), _CLOSER_LOOK, parameters=28_107_600, gflops=115.07),
    _row("csn_r101", _WITHOUT_DROPOUT, _CSN, _R101, (32, 2), _SEPARATED, parameters=22_213_776, gflops=112.94),
)
