"""C3D: eight 3x3x3 convolutions and three fully connected layers.

Papers: Tran et al., "Learning Spatiotemporal Features with 3D Convolutional Networks" (2015),
https://arxiv.org/abs/1412.0767; with batch norm: Carreira and Zisserman, "Quo Vadis, Action Recognition?" (2017),
section 2, "3D-ConvNet", https://arxiv.org/abs/1705.07750.
Origin: written after the papers; parameters carry the names that PyTorch ports share: conv1 to conv5b,
fc6 to fc8. The network with batch norm was never published; its names are ours.

A deliberate difference: clips of any length and size. `fc6` reads a grid of 1x4x4 places, which
16 x 112 x 112 gives. Other grids are averaged to that one (and repeated where they are smaller), and a pool
leaves an axis that has shrunk to one value as it is. Where the grid is 1x4x4, both do nothing at
all, so the numbers are those of the plain network.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional

from kinema.core.spec import InputSpec
from kinema.models.model import Option, VideoModel
from kinema.models.row import ModelRow

__all__ = ["OPTIONS", "ROWS", "C3d"]

OPTIONS = (
    Option("widen_factor", float, "channels of every layer, times this", low=0.125),
    Option("dropout", float, "share of features dropped before fc7 and before fc8", low=0, below=1),
)


class HalvingMaxPool(nn.Module):
    """Largest of 2x2x2 values; an axis of one value keeps it.

    Args:
        time: whether time is halved too, and not only height and width.
        border: values of padding around height and width.
    """

    def __init__(self, *, time: bool = True, border: int = 0) -> None:
        super().__init__()
        self.window = (2 if time else 1, 2, 2)
        self.border = border

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, T, H, W) to (N, C, T/2, H/2, W/2), rounded down but never to 0."""
        border = (0, self.border, self.border)
        room = [size + 2 * margin for size, margin in zip(x.shape[2:], border, strict=True)]
        kernel = [min(pair) for pair in zip(self.window, room, strict=True)]
        return functional.max_pool3d(x, kernel, stride=self.window, padding=border)


class C3d(VideoModel):
    """C3D over clips (N, C, T, H, W) of any length and size.

    Args:
        num_classes: K.
        in_channels: C, 3 for RGB.
        batch_norm: whether every layer but the last is normalised over the batch, and then has no bias.
        pool1_halves_time: whether the first pool halves time, as the other four do.
        widen_factor: multiplies the channels of every layer.
        dropout: share of features dropped before `fc7` and before `fc8` in training.
    """

    trunk: ClassVar = {
        "conv1": ("conv1", "bn1", "relu", "pool1"),  # 3x16x112x112 -> 64x16x112x112 -> 64x16x56x56
        "conv2": ("conv2", "bn2", "relu", "pool2"),  # 128x8x28x28
        "conv3": ("conv3a", "bn3a", "relu", "conv3b", "bn3b", "relu", "pool3"),  # 256x4x14x14
        "conv4": ("conv4a", "bn4a", "relu", "conv4b", "bn4b", "relu", "pool4"),  # 512x2x7x7
        "conv5": ("conv5a", "bn5a", "relu", "conv5b", "bn5b", "relu", "pool5"),  # 512x1x4x4
    }
    top: ClassVar = ("fc6", "fc7", "fc8")
    heads: ClassVar = ("fc8",)

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 3,
        *,
        batch_norm: bool = False,
        pool1_halves_time: bool = False,
        widen_factor: float = 1.0,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        c64, c128, c256, c512, c4096 = (int(channels * widen_factor) for channels in (64, 128, 256, 512, 4096))

        def add_convolution(name: str, inputs: int, outputs: int) -> None:
            self.add_module(f"conv{name}", nn.Conv3d(inputs, outputs, 3, padding=1, bias=not batch_norm))
            self.add_module(f"bn{name}", nn.BatchNorm3d(outputs) if batch_norm else nn.Identity())

        add_convolution("1", in_channels, c64)
        self.pool1 = HalvingMaxPool(time=pool1_halves_time)
        add_convolution("2", c64, c128)
        self.pool2 = HalvingMaxPool()
        add_convolution("3a", c128, c256)
        add_convolution("3b", c256, c256)
        self.pool3 = HalvingMaxPool()
        add_convolution("4a", c256, c512)
        add_convolution("4b", c512, c512)
        self.pool4 = HalvingMaxPool()
        add_convolution("5a", c512, c512)
        add_convolution("5b", c512, c512)
        self.pool5 = HalvingMaxPool(border=1)
        self.grid = nn.AdaptiveAvgPool3d((1, 4, 4))
        self.fc6 = nn.Linear(c512 * 4 * 4, c4096, bias=not batch_norm)
        self.bn6 = nn.BatchNorm1d(c4096) if batch_norm else nn.Identity()
        self.fc7 = nn.Linear(c4096, c4096, bias=not batch_norm)
        self.bn7 = nn.BatchNorm1d(c4096) if batch_norm else nn.Identity()
        self.fc8 = nn.Linear(c4096, num_classes)
        self.relu = nn.ReLU(inplace=True)
        self.dropout = nn.Dropout(dropout)
        self._initialise()

    def _initialise(self) -> None:
        # The paper's fixed deviations (0.01 and 0.005) let the signal fade; those of He et al. 2015 hold it.
        for module in self.modules():
            if isinstance(module, nn.Conv3d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="linear" if module is self.fc8 else "relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def modules_by_stage(self) -> dict[str, tuple[str, ...]]:
        """As for every network; `fc6` and `fc7` take their batch norms along."""
        with_norms = {"fc6": ("fc6", "bn6"), "fc7": ("fc7", "bn7")}
        return {stage: with_norms.get(stage, modules) for stage, modules in super().modules_by_stage().items()}

    def forward_head(self, features: torch.Tensor) -> torch.Tensor:
        """(N, features, T', H', W') to logits (N, K)."""
        x = self.grid(features).flatten(1)  # (N, 512 · 1 · 4 · 4)
        x = self.dropout(self.relu(self.bn6(self.fc6(x))))  # (N, 4096)
        x = self.dropout(self.relu(self.bn7(self.fc7(x))))  # (N, 4096)
        return self.fc8(x)  # type: ignore[no-any-return]


_CLIP_16X112 = InputSpec()

ROWS = (
    ModelRow("c3d", C3d, {}, OPTIONS, 79_634_576, 77.10, "Tran et al. 2015, arXiv:1412.0767", _CLIP_16X112),
    ModelRow(
        "c3d_bn",
        C3d,
        {"batch_norm": True, "pool1_halves_time": True},
        OPTIONS,
        79_645_520,
        39.64,
        "Carreira and Zisserman 2017, arXiv:1705.07750",
        _CLIP_16X112,
    ),
)
