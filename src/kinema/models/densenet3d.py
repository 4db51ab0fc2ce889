"""3D DenseNet: every layer reads what all layers before it in its block have found.

Papers: Huang et al., "Densely Connected Convolutional Networks" (2017), the variant DenseNet-BC,
https://arxiv.org/abs/1608.06993; in 3D: Hara et al., "Can Spatiotemporal 3D CNNs Retrace the History of
2D CNNs and ImageNet?" (2018), https://arxiv.org/abs/1711.09577.
Origin: written anew after the description of https://github.com/kenshohara/3D-ResNets-PyTorch (MIT);
parameters carry the names of its master branch.

Two deliberate differences: a transition leaves an axis that has shrunk to one value as it is, where
the original stops at clips below 15 frames; and the last features are averaged whatever their size,
where the branch of 2018 averages a window of ceil(frames / 16) x floor(pixels / 32)², which is the same for
clips of 16 x 112 x 112.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional

from kinema.core.spec import InputSpec
from kinema.models.model import Option, VideoModel
from kinema.models.row import ModelRow

__all__ = ["OPTIONS", "ROWS", "DenseNet3d"]

OPTIONS = (
    Option("conv1_t_size", int, "frames the first convolution spans", low=1),
    Option("conv1_t_stride", int, "frames the first convolution steps", low=1),
    Option("max_pool", bool, "halve time and space after the first convolution"),
    Option("growth_rate", int, "channels that each layer adds; the first convolution has twice as many", low=1),
    Option("dropout", float, "share of each layer's new values dropped", low=0, below=1),
)

_BOTTLENECK = 4
"""Channels between the two convolutions of a layer, as a multiple of the growth rate."""


class DenseLayer(nn.Module):
    """Batch norm, ReLU and a 1x1x1, then a 3x3x3 convolution; what they give is laid beside the input."""

    def __init__(self, in_channels: int, growth_rate: int, dropout: float) -> None:
        super().__init__()
        between = _BOTTLENECK * growth_rate
        self.norm1 = nn.BatchNorm3d(in_channels)
        self.conv1 = nn.Conv3d(in_channels, between, 1, bias=False)
        self.norm2 = nn.BatchNorm3d(between)
        self.conv2 = nn.Conv3d(between, growth_rate, 3, padding=1, bias=False)
        self.relu = nn.ReLU(inplace=True)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, in, T, H, W) to (N, in + growth, T, H, W)."""
        new = self.conv1(self.relu(self.norm1(x)))
        new = self.conv2(self.relu(self.norm2(new)))
        return torch.cat((x, self.dropout(new)), dim=1)


class HalvingPool(nn.Module):
    """Mean of 2x2x2 values; an axis of one value keeps it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, T, H, W) to (N, C, T/2, H/2, W/2), rounded down but never to 0."""
        return functional.avg_pool3d(x, [min(2, size) for size in x.shape[2:]], stride=2)


def _dense_block(layers: int, in_channels: int, growth_rate: int, dropout: float) -> nn.Sequential:
    inputs = range(in_channels, in_channels + layers * growth_rate, growth_rate)
    named = ((f"denselayer{i}", DenseLayer(width, growth_rate, dropout)) for i, width in enumerate(inputs, start=1))
    return nn.Sequential(OrderedDict(named))


def _transition(in_channels: int, out_channels: int) -> nn.Sequential:
    parts = {
        "norm": nn.BatchNorm3d(in_channels),
        "relu": nn.ReLU(inplace=True),
        "conv": nn.Conv3d(in_channels, out_channels, 1, bias=False),
        "pool": HalvingPool(),
    }
    return nn.Sequential(OrderedDict(parts))


class DenseNet3d(VideoModel):
    """3D DenseNet-BC over clips (N, C, T, H, W) of any length and size.

    Args:
        depths: layers in each of the four blocks.
        num_classes: K.
        in_channels: C, 3 for RGB.
        conv1_t_size: kernel of the first convolution in time, frames.
        conv1_t_stride: its stride in time, frames.
        max_pool: whether a 3x3x3 max-pool of stride 2 follows it.
        growth_rate: channels that each layer adds.
        dropout: share of each layer's new values dropped in training.
    """

    trunk: ClassVar = {
        # 3x16x112x112 -> 64x16x56x56 -> 64x8x28x28
        "conv1": ("features.conv1", "features.norm1", "features.relu1", "features.pool1"),
        "denseblock1": ("features.denseblock1",),  # 256x8x28x28
        "transition1": ("features.transition1",),  # 128x4x14x14
        "denseblock2": ("features.denseblock2",),  # 512x4x14x14
        "transition2": ("features.transition2",),  # 256x2x7x7
        "denseblock3": ("features.denseblock3",),  # 1024x2x7x7 in the 121 layers, more in the deeper ones
        "transition3": ("features.transition3",),  # 512x1x3x3
        "denseblock4": ("features.denseblock4",),  # 1024x1x3x3
        "norm5": ("features.norm5", "features.relu5"),  # 1024x1x3x3
    }
    top: ClassVar = ("classifier",)
    heads: ClassVar = ("classifier",)

    def __init__(
        self,
        depths: Sequence[int],
        num_classes: int,
        in_channels: int = 3,
        *,
        conv1_t_size: int = 7,
        conv1_t_stride: int = 1,
        max_pool: bool = True,
        growth_rate: int = 32,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        channels = 2 * growth_rate
        kernel, stride, padding = (conv1_t_size, 7, 7), (conv1_t_stride, 2, 2), (conv1_t_size // 2, 3, 3)
        parts: OrderedDict[str, nn.Module] = OrderedDict(
            conv1=nn.Conv3d(in_channels, channels, kernel, stride=stride, padding=padding, bias=False),
            norm1=nn.BatchNorm3d(channels),
            relu1=nn.ReLU(inplace=True),
            pool1=nn.MaxPool3d(3, stride=2, padding=1) if max_pool else nn.Identity(),
        )
        for number, layers in enumerate(depths, start=1):
            parts[f"denseblock{number}"] = _dense_block(layers, channels, growth_rate, dropout)
            channels += layers * growth_rate
            if number < len(depths):
                parts[f"transition{number}"] = _transition(channels, channels // 2)
                channels //= 2
        parts["norm5"] = nn.BatchNorm3d(channels)
        parts["relu5"] = nn.ReLU(inplace=True)
        self.features = nn.Sequential(parts)
        self.avgpool = nn.AdaptiveAvgPool3d(1)
        self.classifier = nn.Linear(channels, num_classes)
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.classifier.bias)

    def forward_head(self, features: torch.Tensor) -> torch.Tensor:
        """(N, features, T', H', W') to logits (N, K)."""
        return self.classifier(self.avgpool(features).flatten(1))  # type: ignore[no-any-return]


_HARA_2018 = "Hara et al. 2018, arXiv:1711.09577"
_CLIP_16X112 = InputSpec()


def _row(depth: int, depths: tuple[int, ...], parameters: int, gflops: float) -> ModelRow:
    arguments = {"depths": depths}
    name = f"densenet3d_{depth}"
    return ModelRow(name, DenseNet3d, arguments, OPTIONS, parameters, gflops, _HARA_2018, _CLIP_16X112)


ROWS = (
    _row(121, (6, 12, 24, 16), parameters=11_696_528, gflops=20.81),
    _row(169, (6, 12, 32, 32), parameters=19_252_624, gflops=21.36),
    _row(201, (6, 12, 48, 32), parameters=26_143_120, gflops=22.49),
    _row(264, (6, 12, 64, 48), parameters=41_365_392, gflops=23.99),
)
