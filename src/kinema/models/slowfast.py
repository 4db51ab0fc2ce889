"""SlowFast: a wide pathway that sees few frames, and beside it a narrow one that sees them all.

Paper: Feichtenhofer et al., "SlowFast Networks for Video Recognition" (2019),
https://arxiv.org/abs/1812.03982.
Origin: written anew after the description of https://github.com/facebookresearch/pytorchvideo
(Apache-2.0); parameters carry the names of its hub, so published tensors load without renaming.

Two deliberate differences, neither of which changes a clip that the original takes. The network takes
one clip and picks the frames of the slow pathway itself: a fourth of them, rounded up, where the
original is handed both and takes multiples of four only. And the pathways are brought to one pace
before they are pooled, so that the trunk ends in one grid of features.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional

from kinema.models.bottleneck_resnet import input_of
from kinema.models.layers.bottleneck import Head, Triple, WindowPool, initialise, stage_of_bottlenecks, stem
from kinema.models.model import Option, VideoModel
from kinema.models.row import ModelRow

__all__ = ["OPTIONS", "ROWS", "Fusion", "JoinPathways", "Pathways", "SlowFast", "slow_frames"]

OPTIONS = (
    Option("widen_factor", float, "channels of every layer, times this", low=0.125),
    Option("dropout", float, "share of features dropped before the projection", low=0, below=1),
)

ALPHA = 4  # the fast pathway has this many times the frames of the slow one,
BETA = 8  # and the slow one this many times the channels of the fast one

Streams = tuple[torch.Tensor, torch.Tensor]
Spans = Sequence[Sequence[int]]


def slow_frames(clips: torch.Tensor) -> torch.Tensor:
    """The frames that the slow pathway sees: (N, C, T, H, W) to (N, C, ⌈T/4⌉, H, W), from the first to the last."""
    frames = clips.shape[2]
    # Single precision wherever the network runs: it decides between two frames where a product falls on a whole number.
    instants = torch.linspace(0, frames - 1, -(-frames // ALPHA), dtype=torch.float32, device=clips.device)
    return clips.index_select(2, instants.long())


class Fusion(nn.Module):
    """A convolution in time that brings the fast pathway to the pace of the slow one and joins it."""

    def __init__(self, fast_channels: int, frames: int) -> None:
        super().__init__()
        joined = 2 * fast_channels
        self.conv_fast_to_slow = nn.Conv3d(
            fast_channels, joined, (frames, 1, 1), stride=(ALPHA, 1, 1), padding=(frames // 2, 0, 0), bias=False
        )
        self.norm = nn.BatchNorm3d(joined)
        self.activation = nn.ReLU(inplace=True)

    def forward(self, streams: Streams) -> Streams:
        """Slow (N, S, ⌈T/4⌉, H, W) and fast (N, F, T, H, W) to (N, S + 2F, ⌈T/4⌉, H, W) and fast as it was."""
        slow, fast = streams
        joining = self.activation(self.norm(self.conv_fast_to_slow(fast)))
        return torch.cat([slow, joining], 1), fast


class Pathways(nn.Module):
    """The same stage of both pathways, and what leads from the fast to the slow one after it."""

    def __init__(self, slow: nn.Module, fast: nn.Module, fusion: nn.Module) -> None:
        super().__init__()
        self.multipathway_blocks = nn.ModuleList([slow, fast])
        self.multipathway_fusion = fusion

    def forward(self, streams: Streams) -> Streams:
        """Slow and fast features to those of the next stage."""
        slow, fast = (block(stream) for block, stream in zip(self.multipathway_blocks, streams, strict=True))
        return self.multipathway_fusion((slow, fast))  # type: ignore[no-any-return]


class JoinPathways(nn.Module):
    """Both pathways side by side, the fast one averaged to the pace of the slow one."""

    def forward(self, streams: Streams) -> torch.Tensor:
        """Slow (N, S, ⌈T/4⌉, H', W') and fast (N, F, T, H', W') to (N, S + F, ⌈T/4⌉, H', W')."""
        slow, fast = streams
        frames = min(ALPHA, fast.shape[2])  # the last mean may be one of fewer frames, and so may the only one
        paced = functional.avg_pool3d(fast, (frames, 1, 1), ceil_mode=True)
        return torch.cat([slow, paced], 1)


class SlowFast(VideoModel):
    """SlowFast over clips (N, C, T, H, W) of any length and size, all of whose frames the fast pathway sees.

    Args:
        depths: blocks in each of the four stages, of either pathway.
        fusion_frames: how many frames a convolution from the fast to the slow pathway spans.
        slow_spans: how many frames the first convolution of a block spans in the slow pathway,
            for each stage, repeated over its blocks.
        fast_spans: likewise in the fast pathway.
        window: frames of the slow pathway, rows and columns that the head pools over: the grid of a
            clip of the variant's size.
        num_classes: K.
        in_channels: C, 3 for RGB.
        widen_factor: multiplies the channels of every layer.
        dropout: share of features dropped before the projection in training.
    """

    trunk: ClassVar = {  # slow, with what has joined it, and fast
        "stem": ("blocks.0",),  # 3x32x224x224 -> (64 + 16)x8x56x56, 8x32x56x56
        "res2": ("blocks.1",),  # (256 + 64)x8x56x56, 32x32x56x56
        "res3": ("blocks.2",),  # (512 + 128)x8x28x28, 64x32x28x28
        "res4": ("blocks.3",),  # (1024 + 256)x8x14x14, 128x32x14x14
        "res5": ("blocks.4", "blocks.5"),  # 2048x8x7x7, 256x32x7x7 -> 2304x8x7x7
    }
    top: ClassVar = ("blocks.6.proj",)
    heads: ClassVar = ("blocks.6.proj",)

    def __init__(
        self,
        depths: Sequence[int],
        fusion_frames: int,
        slow_spans: Spans,
        fast_spans: Spans,
        window: Triple,
        num_classes: int,
        in_channels: int = 3,
        *,
        widen_factor: float = 1.0,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        slow = int(64 * widen_factor)
        fast = slow // BETA
        widths = (1, 4, 8, 16, 32)  # out of the stem and of each stage, times those

        def stage(index: int) -> Pathways:
            depth, before, after = depths[index], widths[index], widths[index + 1]
            planes = after // 4
            stride = (1, 2, 2) if index else (1, 1, 1)
            joined = before * (slow + 2 * fast)
            return Pathways(
                stage_of_bottlenecks(depth, joined, planes * slow, slow_spans[index], stride=stride),
                stage_of_bottlenecks(depth, before * fast, planes * fast, fast_spans[index], stride=stride),
                Fusion(after * fast, fusion_frames) if index < 3 else nn.Identity(),
            )

        stems = Pathways(
            stem(in_channels, slow, 1, pool=True), stem(in_channels, fast, 5, pool=True), Fusion(fast, fusion_frames)
        )
        head = Head(WindowPool(window), widths[-1] * (slow + fast), num_classes, dropout)
        self.blocks = nn.ModuleList([stems, *(stage(index) for index in range(4)), JoinPathways(), head])
        initialise(self)

    def forward_features(self, clips: torch.Tensor, until: str | None = None) -> torch.Tensor:
        """The features of both pathways (N, features, ⌈T/4⌉, H', W'), or those of the slow one up to a stage.

        Args:
            clips: (N, C, T, H, W).
            until: a stage of the trunk, the last one to be run. From `stem` to `res4` it gives the
                slow pathway with what has joined it from the fast one.
        """
        streams: Streams | torch.Tensor = (slow_frames(clips), clips)
        for stage, modules in self.trunk.items():
            streams = self.pass_through(modules, streams)
            if stage == until:
                break
        return streams if isinstance(streams, torch.Tensor) else streams[0]

    def forward_head(self, features: torch.Tensor) -> torch.Tensor:
        """(N, features, ⌈T/4⌉, H', W') to logits (N, K)."""
        return self.blocks[-1](features)  # type: ignore[no-any-return]


_SLOW = ((1,), (1,), (3,), (3,))
_SLOW_50_50 = ((1,), (1,), (3,) * 6 + (1,) * 17, (3,))  # in res4 only the first six blocks look at time
_FAST = ((3,), (3,), (3,), (3,))
_FAST_50_50 = ((3,), (3,), (3,) * 6 + (1,) * 17, (3,))


def _row(
    name: str,
    depths: tuple[int, ...],
    fusion_frames: int,
    spans: tuple[Spans, Spans],
    frames: int,
    *,
    parameters: int,
    gflops: float,
) -> ModelRow:
    arguments = {
        "depths": depths,
        "fusion_frames": fusion_frames,
        "slow_spans": spans[0],
        "fast_spans": spans[1],
        "window": (frames // ALPHA, 7, 7),
    }
    paper = "Feichtenhofer et al. 2019, arXiv:1812.03982"
    return ModelRow(name, SlowFast, arguments, OPTIONS, parameters, gflops, paper, input_of(frames, stride=2))


_R50 = (3, 4, 6, 3)
_R101 = (3, 4, 23, 3)
_16X8 = "slowfast_16x8_r101_50_50"

ROWS = (
    _row("slowfast_r50", _R50, 7, (_SLOW, _FAST), 32, parameters=34_566_488, gflops=100.62),
    _row("slowfast_r101", _R101, 5, (_SLOW, _FAST), 32, parameters=62_826_968, gflops=192.79),
    _row(_16X8, _R101, 5, (_SLOW_50_50, _FAST_50_50), 64, parameters=53_774_808, gflops=326.19),
)
