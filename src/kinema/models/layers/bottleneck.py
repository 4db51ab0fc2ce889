"""Bottlenecks of video networks, and what stands before and after them in PyTorchVideo's.

Slow, C2D, I3D, R(2+1)D, CSN, SlowFast and X3D are built from these. Parameters carry the names of
https://github.com/facebookresearch/pytorchvideo (Apache-2.0), after whose description they are written anew.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import nn
from torch.nn import functional

__all__ = [
    "Bottleneck",
    "Head",
    "ResBlock",
    "ResStage",
    "Triple",
    "WindowPool",
    "depthwise_conv",
    "initialise",
    "spatial_conv",
    "stage_of_bottlenecks",
    "stem",
]

Triple = tuple[int, int, int]  # frames, rows, columns


def spatial_conv(channels: int, stride: Triple) -> nn.Conv3d:
    """A convolution within each frame, for time is left to the 3x1x1 before it."""
    return nn.Conv3d(channels, channels, (1, 3, 3), stride=stride, padding=(0, 1, 1), bias=False)


def depthwise_conv(channels: int, stride: Triple) -> nn.Conv3d:
    """A convolution of time and space in which no channel sees another (CSN)."""
    return nn.Conv3d(channels, channels, 3, stride=stride, padding=1, groups=channels, bias=False)


class Bottleneck(nn.Module):
    """A convolution into few channels, the given one among them, and one out to many.

    Args:
        in_channels: of what comes in.
        planes: the few channels.
        out_channels: of what goes out.
        conv_b: the convolution in the middle, which alone may step.
        frames: how many frames the first convolution spans.
        gate: what follows the middle's batch norm, if anything does.
        act_b: the nonlinearity of the middle.
    """

    def __init__(
        self,
        in_channels: int,
        planes: int,
        out_channels: int,
        conv_b: nn.Module,
        *,
        frames: int = 1,
        gate: nn.Module | None = None,
        act_b: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.conv_a = nn.Conv3d(in_channels, planes, (frames, 1, 1), padding=(frames // 2, 0, 0), bias=False)
        self.norm_a = nn.BatchNorm3d(planes)
        self.act_a = nn.ReLU(inplace=True)
        self.conv_b = conv_b
        self.norm_b = nn.BatchNorm3d(planes) if gate is None else nn.Sequential(nn.BatchNorm3d(planes), gate)
        self.act_b = nn.ReLU(inplace=True) if act_b is None else act_b
        self.conv_c = nn.Conv3d(planes, out_channels, 1, bias=False)
        self.norm_c = nn.BatchNorm3d(out_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, in, T, H, W) to (N, out, T/t, H/s, W/s)."""
        x = self.act_a(self.norm_a(self.conv_a(x)))
        x = self.act_b(self.norm_b(self.conv_b(x)))
        return self.norm_c(self.conv_c(x))  # type: ignore[no-any-return]


class ResBlock(nn.Module):
    """A bottleneck beside a shortcut, which is projected where shapes change and normalised where channels do.

    Args:
        in_channels: of what comes in.
        out_channels: of what goes out.
        stride: by how many frames, rows and columns the bottleneck steps.
        branch2: the bottleneck.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: Triple, branch2: Bottleneck) -> None:
        super().__init__()
        widens = in_channels != out_channels
        projects = widens or stride != (1, 1, 1)
        self.branch1_conv = (
            nn.Conv3d(in_channels, out_channels, 1, stride=stride, bias=False) if projects else nn.Identity()
        )
        self.branch1_norm = nn.BatchNorm3d(out_channels) if widens else nn.Identity()
        self.branch2 = branch2
        self.activation = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, in, T, H, W) to (N, out, T/t, H/s, W/s)."""
        shortcut = self.branch1_norm(self.branch1_conv(x))
        return self.activation(shortcut + self.branch2(x))  # type: ignore[no-any-return]


class ResStage(nn.Module):
    """Residual blocks, one after the other."""

    def __init__(self, blocks: Iterable[ResBlock]) -> None:
        super().__init__()
        self.res_blocks = nn.Sequential(*blocks)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, in, T, H, W) to (N, out, T/t, H/s, W/s)."""
        return self.res_blocks(x)  # type: ignore[no-any-return]


def stage_of_bottlenecks(
    depth: int,
    in_channels: int,
    planes: int,
    frames: Sequence[int],
    conv_b: Callable[[int, Triple], nn.Module] = spatial_conv,
    stride: Triple = (1, 1, 1),
) -> ResStage:
    """`depth` blocks of 4 · `planes` channels, of which the first one steps.

    Args:
        depth: number of blocks.
        in_channels: of what comes in.
        planes: channels of the bottlenecks.
        frames: how many frames the first convolution of each block spans, repeated over the blocks.
        conv_b: makes the convolution in the middle.
        stride: of the first block.
    """

    def block(index: int) -> ResBlock:
        channels, step = (4 * planes, (1, 1, 1)) if index else (in_channels, stride)
        span = frames[index % len(frames)]
        bottleneck = Bottleneck(channels, planes, 4 * planes, conv_b(planes, step), frames=span)
        return ResBlock(channels, 4 * planes, step, bottleneck)

    return ResStage(block(index) for index in range(depth))


def stem(in_channels: int, out_channels: int, frames: int, *, pool: bool) -> nn.Sequential:
    """The first convolution, which halves pixels and spans `frames` frames, and a pool that halves pixels again."""
    parts: dict[str, nn.Module] = {
        "conv": nn.Conv3d(
            in_channels, out_channels, (frames, 7, 7), stride=(1, 2, 2), padding=(frames // 2, 3, 3), bias=False
        ),
        "norm": nn.BatchNorm3d(out_channels),
        "activation": nn.ReLU(inplace=True),
        "pool": nn.MaxPool3d((1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1)) if pool else nn.Identity(),
    }
    return nn.Sequential(OrderedDict(parts))


class WindowPool(nn.Module):
    """Means over every window of a grid, or over the whole of an axis that is no longer than the window.

    Args:
        window: frames, rows and columns: those of the grid that the network was trained with. On
            larger grids the network is thus run at several places, as it was tested.
    """

    def __init__(self, window: Triple) -> None:
        super().__init__()
        self.window = window

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, T, H, W) to (N, C, T - t + 1, H - h + 1, W - w + 1), each 1 or more."""
        window = [min(most, length) for most, length in zip(self.window, x.shape[2:], strict=True)]
        return functional.avg_pool3d(x, window, stride=1)


class Head(nn.Module):
    """Pools, and projects the mean of what is left on the classes.

    Args:
        pool: from the trunk's grid to one of windows.
        in_channels: of a window.
        num_classes: K.
        dropout: share of features dropped before the projection.
    """

    def __init__(self, pool: nn.Module, in_channels: int, num_classes: int, dropout: float) -> None:
        super().__init__()
        self.pool = pool
        self.dropout = nn.Dropout(dropout)
        self.proj = nn.Linear(in_channels, num_classes)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(N, features, T', H', W') to logits (N, K)."""
        pooled = self.pool(features).mean((2, 3, 4))  # (N, in_channels)
        return self.proj(self.dropout(pooled))  # type: ignore[no-any-return]


def initialise(network: nn.Module) -> None:
    """He's normal weights by what goes out, and bottlenecks that begin shut: their last batch norm scales by zero.

    So at first every block hands on its shortcut, and no gradient passes its convolutions until the
    first step has opened that batch norm.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.01)
            nn.init.zeros_(module.bias)
        elif isinstance(module, Bottleneck):
            nn.init.zeros_(module.norm_c.weight)
