"""Spatio-temporal attention of DyMSTA-Net: where in a frame, and in which frames, found side by side.

Paper: Kim and Park, "Video Classification Model using Dynamic Convolution and Multi-Scale
Spatio-Temporal Attention Mechanisms", section II, which asks for both kinds of importance in parallel
and gives no formula. Two readings: gates on the features, after Woo et al., "CBAM" (2018),
https://arxiv.org/abs/1807.06521; and self-attention divided into time and space, after Bertasius et
al., "Is Space-Time Attention All You Need for Video Understanding?" (TimeSformer, 2021),
https://arxiv.org/abs/2102.05095, which runs one after the other what is in parallel here.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

__all__ = ["DividedSelfAttention", "SpatioTemporalGates"]

_TEMPORAL_SQUEEZE = 8  # channels over the width of the layer that finds the temporal gate
_MOST_HEADS = 8


class SpatioTemporalGates(nn.Module):
    """x + (x · S + x · T) / 2, with a gate S for each place of each frame and a gate T for each frame.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = max(channels // _TEMPORAL_SQUEEZE, 1)
        self.spatial = nn.Conv3d(2, 1, (1, 7, 7), padding=(0, 3, 3))
        self.temporal = nn.Sequential(
            nn.Conv1d(channels, squeezed, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv1d(squeezed, 1, 1),
        )

    def spatial_gate(self, x: torch.Tensor) -> torch.Tensor:
        """S, (N, 1, T, H, W) in (0, 1), from the mean and the maximum over channels."""
        over_channels = torch.cat((x.mean(dim=1, keepdim=True), x.amax(dim=1, keepdim=True)), dim=1)
        return torch.sigmoid(self.spatial(over_channels))

    def temporal_gate(self, x: torch.Tensor) -> torch.Tensor:
        """T, (N, 1, T, 1, 1) in (0, 1), from the means of frames and of those before and after them."""
        return torch.sigmoid(self.temporal(x.mean(dim=(3, 4))))[..., None, None]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, T, H, W) to the same shape."""
        return x + 0.5 * (x * self.spatial_gate(x) + x * self.temporal_gate(x))


class _SelfAttention(nn.Module):
    """Multi-head self-attention among the tokens of each group; batch and groups stay apart."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.heads = math.gcd(channels, _MOST_HEADS)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, groups, tokens, C) to the same shape."""
        samples, groups, tokens, channels = x.shape
        qkv = self.qkv(x).reshape(samples, groups, tokens, 3, self.heads, channels // self.heads)
        q, k, v = qkv.permute(3, 0, 1, 4, 2, 5).flatten(2, 3)  # each (N, groups · heads, tokens, C/heads)
        mixed = functional.scaled_dot_product_attention(q, k, v)
        mixed = mixed.reshape(samples, groups, self.heads, tokens, channels // self.heads)
        return self.out(mixed.transpose(2, 3).flatten(3))  # type: ignore[no-any-return]


class DividedSelfAttention(nn.Module):
    """x + self-attention along time at each place + self-attention among the places of each frame.

    No position is added: convolutions before it have padded their borders and so tell positions apart,
    and clips of any length and size can come.

    Args:
        channels: C; as many heads as divide it, at most 8.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.temporal = _SelfAttention(channels)
        self.spatial = _SelfAttention(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, T, H, W) to the same shape."""
        tokens = self.norm(x.flatten(3).permute(0, 2, 3, 1))  # (N, T, H·W, C)
        temporal = self.temporal(tokens.transpose(1, 2)).transpose(1, 2)
        attended: torch.Tensor = temporal + self.spatial(tokens)  # (N, T, H·W, C)
        return x + attended.permute(0, 3, 1, 2).reshape(x.shape)
