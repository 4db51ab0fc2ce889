"""I3D: Inception-v1 whose every kernel is inflated from a square to a cube, so that it spans time.

Paper: Carreira and Zisserman, "Quo Vadis, Action Recognition? A New Model and the Kinetics Dataset"
(2017), https://arxiv.org/abs/1705.07750.
Origin: written anew after the description of https://github.com/google-deepmind/kinetics-i3d and
https://github.com/piergiaj/pytorch-i3d (both Apache-2.0); tensors carry the latter's names. Batch
norms shift and do not scale, as in the former; a published scale of the latter goes into the
convolution in front of it.

Two deliberate differences: where the last grid is smaller than the average-pool of 2x7x7 (under 9
frames or 193 pixels), the pool shrinks to it, and where it is larger than 7x7, the logits are averaged
over space as they are over time. The originals refuse those clips.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import pairwise
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional

from kinema.core.spec import ClipSpec, InputSpec
from kinema.models.model import Option, VideoModel
from kinema.models.row import ModelRow

__all__ = ["I3D", "OPTIONS", "ROWS", "InceptionModule", "SamePadding", "ShiftBatchNorm3d"]

OPTIONS = (Option("dropout", float, "share of features dropped before the logits", low=0, below=1),)

Triple = tuple[int, int, int]

# Channels of the four branches of each module; two numbers are two convolutions in a row.
_MIXED = {
    "Mixed_3b": (64, (96, 128), (16, 32), 32),
    "Mixed_3c": (128, (128, 192), (32, 96), 64),
    "Mixed_4b": (192, (96, 208), (16, 48), 64),
    "Mixed_4c": (160, (112, 224), (24, 64), 64),
    "Mixed_4d": (128, (128, 256), (24, 64), 64),
    "Mixed_4e": (112, (144, 288), (32, 64), 64),
    "Mixed_4f": (256, (160, 320), (32, 128), 128),
    "Mixed_5b": (256, (160, 320), (32, 128), 128),
    "Mixed_5c": (384, (192, 384), (48, 128), 128),
}
_LAST_GRID: Triple = (2, 7, 7)  # what the last average-pool spans: frames, rows, columns


class SamePadding(nn.Module):
    """Zeros around a clip, so that a kernel of stride s gives ceil(n / s) values on an axis of n (TensorFlow's SAME).

    Args:
        kernel: of the convolution or pool that follows, on T, H and W.
        stride: of the same; no axis steps further than its kernel spans.
    """

    def __init__(self, kernel: Triple, stride: Triple) -> None:
        super().__init__()
        self.kernel = kernel
        self.stride = stride

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, T, H, W) to (N, C, T + t, H + h, W + w); where a number of zeros is odd, the end gets one more."""
        pads = []
        for axis in (2, 1, 0):  # functional.pad takes the last axis first
            total = self.kernel[axis] - self.stride[axis] + (-x.shape[2 + axis]) % self.stride[axis]
            pads += [total // 2, total - total // 2]
        return functional.pad(x, pads)


class ShiftBatchNorm3d(nn.BatchNorm3d):
    """Batch norm that learns a shift (`bias`) and no scale (`weight` is None)."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=1e-3, momentum=0.01)
        self.register_parameter("weight", None)

    def reset_parameters(self) -> None:
        """No shift, and the statistics of normalised data."""
        self.reset_running_stats()
        nn.init.zeros_(self.bias)


class Unit3d(nn.Module):
    """Convolution, batch norm and ReLU."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        # At stride 1 as many zeros go in front as behind, which the convolution adds without a copy of its input.
        self.pad = nn.Identity() if stride == 1 else SamePadding((kernel,) * 3, (stride,) * 3)
        padding = kernel // 2 if stride == 1 else 0
        self.conv3d = nn.Conv3d(in_channels, out_channels, kernel, stride=stride, padding=padding, bias=False)
        self.bn = ShiftBatchNorm3d(out_channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, in, T, H, W) to (N, out, T/s, H/s, W/s), rounded up."""
        return self.relu(self.bn(self.conv3d(self.pad(x))))  # type: ignore[no-any-return]


class InceptionModule(nn.Module):
    """Four branches side by side: 1x1x1; 1x1x1 and 3x3x3, twice; and max-pool and 1x1x1."""

    def __init__(self, in_channels: int, b0: int, b1: tuple[int, int], b2: tuple[int, int], b3: int) -> None:
        super().__init__()
        self.b0 = Unit3d(in_channels, b0, 1)
        self.b1a = Unit3d(in_channels, b1[0], 1)
        self.b1b = Unit3d(*b1, 3)
        self.b2a = Unit3d(in_channels, b2[0], 1)
        self.b2b = Unit3d(*b2, 3)
        self.b3a = nn.MaxPool3d(3, stride=1, padding=1)
        self.b3b = Unit3d(in_channels, b3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, in, T, H, W) to (N, b0 + b1 + b2 + b3, T, H, W), of each branch the last width."""
        return torch.cat([self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(self.b3a(x))], dim=1)


def _max_pool(kernel: Triple, stride: Triple) -> nn.Sequential:
    # Its input comes from a ReLU: a zero around it is never above what it holds.
    return nn.Sequential(SamePadding(kernel, stride), nn.MaxPool3d(kernel, stride))


class I3D(VideoModel):
    """I3D over clips (N, C, T, H, W) of any length and size.

    Args:
        num_classes: K.
        in_channels: C, 3 for RGB and 2 for optical flow.
        dropout: share of features dropped before the logits in training.
    """

    trunk: ClassVar = {
        "Conv3d_1a_7x7": ("Conv3d_1a_7x7",),  # 3x64x224x224 -> 64x32x112x112
        "Conv3d_2b_1x1": ("MaxPool3d_2a_3x3", "Conv3d_2b_1x1"),  # 64x32x56x56
        "Conv3d_2c_3x3": ("Conv3d_2c_3x3",),  # 192x32x56x56
        "Mixed_3b": ("MaxPool3d_3a_3x3", "Mixed_3b"),  # 256x32x28x28
        "Mixed_3c": ("Mixed_3c",),  # 480x32x28x28
        "Mixed_4b": ("MaxPool3d_4a_3x3", "Mixed_4b"),  # 512x16x14x14
        "Mixed_4c": ("Mixed_4c",),  # 512x16x14x14
        "Mixed_4d": ("Mixed_4d",),  # 512x16x14x14
        "Mixed_4e": ("Mixed_4e",),  # 528x16x14x14
        "Mixed_4f": ("Mixed_4f",),  # 832x16x14x14
        "Mixed_5b": ("MaxPool3d_5a_2x2", "Mixed_5b"),  # 832x8x7x7
        "Mixed_5c": ("Mixed_5c",),  # 1024x8x7x7
    }
    top: ClassVar = ("logits",)
    heads: ClassVar = ("logits.conv3d",)

    def __init__(self, num_classes: int, in_channels: int = 3, *, dropout: float = 0.5) -> None:
        super().__init__()
        self.Conv3d_1a_7x7 = Unit3d(in_channels, 64, 7, stride=2)
        self.MaxPool3d_2a_3x3 = _max_pool((1, 3, 3), (1, 2, 2))
        self.Conv3d_2b_1x1 = Unit3d(64, 64, 1)
        self.Conv3d_2c_3x3 = Unit3d(64, 192, 3)
        self.MaxPool3d_3a_3x3 = _max_pool((1, 3, 3), (1, 2, 2))
        self.MaxPool3d_4a_3x3 = _max_pool((3, 3, 3), (2, 2, 2))
        self.MaxPool3d_5a_2x2 = _max_pool((2, 2, 2), (2, 2, 2))
        widths = [192, *(b0 + b1[1] + b2[1] + b3 for b0, b1, b2, b3 in _MIXED.values())]
        for (name, branches), (width, _) in zip(_MIXED.items(), pairwise(widths), strict=True):
            self.add_module(name, InceptionModule(width, *branches))
        self.dropout = nn.Dropout(dropout)
        self.logits = nn.Sequential(OrderedDict(conv3d=nn.Conv3d(widths[-1], num_classes, 1)))
        self._initialise()

    def _initialise(self) -> None:
        """As the original: normal, cut off at twice its deviation of 1 / sqrt(fan in); biases 0."""
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                deviation = module.weight[0].numel() ** -0.5
                nn.init.trunc_normal_(module.weight, std=deviation, a=-2 * deviation, b=2 * deviation)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward_head(self, features: torch.Tensor) -> torch.Tensor:
        """(N, features, T', H', W') to logits (N, K), the mean of those that each window of 2x7x7 gives."""
        window = [torch.sym_min(most, features.shape[2 + axis]) for axis, most in enumerate(_LAST_GRID)]
        pooled = functional.avg_pool3d(features, window, stride=1)  # type: ignore[arg-type]  # symbols when exported
        # (N, features, T' - 1, 1, 1) at 224 pixels
        return self.logits(self.dropout(pooled)).mean((2, 3, 4))  # type: ignore[no-any-return]


_KINETICS_CLIP = InputSpec(
    clip=ClipSpec(frames=64, fps=25.0),
    size_px=224,
    short_side_px=256,
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
)

ROWS = (
    ModelRow(
        "i3d",
        I3D,
        {},
        OPTIONS,
        parameters=12_689_984,
        gflops=222.31,
        paper="Carreira and Zisserman 2017, arXiv:1705.07750",
        input=_KINETICS_CLIP,
    ),
)
