"""The multi-scale temporal block of DyMSTA-Net: short, medium and long stretches of time side by side.

Paper: Kim and Park, "Video Classification Model using Dynamic Convolution and Multi-Scale
Spatio-Temporal Attention Mechanisms", section II: 3D convolutions of T_short < T_medium < T_long
frames, and a max-pool that leaves one value of all time. The lengths, the widths and how the parts
are joined are not given there.
"""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["MultiScaleTemporalBlock", "conv_bn_relu"]


def conv_bn_relu(in_channels: int, out_channels: int, size: tuple[int, int, int] = (1, 1, 1)) -> nn.Sequential:
    """Convolution of odd `size` that keeps T, H and W, batch norm, ReLU."""
    padding = (size[0] // 2, size[1] // 2, size[2] // 2)
    conv = nn.Conv3d(in_channels, out_channels, size, padding=padding, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(conv, nn.BatchNorm3d(out_channels), nn.ReLU(inplace=True))


class MultiScaleTemporalBlock(nn.Module):
    """Four branches of C/4 channels each, joined by a 1x1x1 convolution, beside a shortcut.

    Args:
        channels: C.
        spans: T_short, T_medium and T_long in time steps: odd and ascending.
    """

    def __init__(self, channels: int, spans: tuple[int, int, int]) -> None:
        super().__init__()
        width = max(channels // 4, 1)
        self.short, self.medium, self.long = (conv_bn_relu(channels, width, (span, 3, 3)) for span in spans)
        self.whole = conv_bn_relu(channels, width)
        self.join = conv_bn_relu(4 * width, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, T, H, W) to the same shape, for any T."""
        short = self.short(x)  # (N, C/4, T, H, W)
        whole = self.whole(x.amax(dim=2, keepdim=True))  # (N, C/4, 1, H, W): one value of all time
        branches = (short, self.medium(x), self.long(x), whole.expand_as(short))
        return x + self.join(torch.cat(branches, dim=1))  # type: ignore[no-any-return]
