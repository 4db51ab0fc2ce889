"""3D convolutions whose kernel depends on the clip: each sample of a batch is convolved with its own.

Papers: Kim and Park, "Video Classification Model using Dynamic Convolution and Multi-Scale
Spatio-Temporal Attention Mechanisms" (DyMSTA-Net), which makes K_dynamic of a base kernel K and the
mean of the input; Chen et al., "Dynamic Convolution: Attention over Convolution Kernels" (2020),
https://arxiv.org/abs/1912.03458, which it cites and which mixes several kernels.

Both layers are linear in their kernels, so what one convolution with a mixed kernel gives is also the
mix of what convolutions with fixed kernels give. The first costs less, but has as many groups as there
are samples; in ONNX that number is fixed when the program is written, so programs get the second.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import nn
from torch.nn import functional

__all__ = ["GatedKernelConv3d", "MixedKernelConv3d", "temperature_after"]

FIRST_TEMPERATURE: Final = 30.0
LAST_TEMPERATURE: Final = 1.0
COOLING_EPOCHS: Final = 10.0

_SIZE = 3  # of a kernel on each axis
_SQUEEZE = 4  # channels over the width of the layer that finds the attention


def temperature_after(epoch: float) -> float:
    """Temperature of the softmax over kernels when `epoch` epochs lie behind: 30, falling evenly to 1 at 10.

    High at first (Chen et al., section 3.2), because near equal shares let every kernel learn.
    """
    passed = min(max(epoch / COOLING_EPOCHS, 0.0), 1.0)
    return FIRST_TEMPERATURE + passed * (LAST_TEMPERATURE - FIRST_TEMPERATURE)


def _kaiming(kernel: torch.Tensor) -> None:
    nn.init.kaiming_normal_(kernel, mode="fan_out", nonlinearity="relu")


class MixedKernelConv3d(nn.Module):
    """3x3x3 convolution of stride 1 with a mix of kernels, in shares that each sample's mean decides.

    Chen et al. 2020, figure 3: shares = softmax(FC(ReLU(FC(mean of x))) / temperature), which add up to one.

    Args:
        in_channels: C.
        out_channels: C'.
        kernels: how many kernels there are to mix.
    """

    temperature: torch.Tensor

    def __init__(self, in_channels: int, out_channels: int, kernels: int) -> None:
        super().__init__()
        squeezed = max(in_channels // _SQUEEZE, 1)
        self.weight = nn.Parameter(torch.empty(kernels, out_channels, in_channels, _SIZE, _SIZE, _SIZE))
        self.squeeze = nn.Linear(in_channels, squeezed)
        self.shares = nn.Linear(squeezed, kernels)
        self.register_buffer("temperature", torch.tensor(FIRST_TEMPERATURE))
        for kernel in self.weight.detach():
            _kaiming(kernel)

    def set_epoch(self, epoch: float) -> None:
        """Cool down to `temperature_after(epoch)`; the weights file keeps where it stands."""
        self.temperature.fill_(temperature_after(epoch))

    def attention(self, x: torch.Tensor) -> torch.Tensor:
        """Share of each kernel, (N, kernels), each in (0, 1) and of sum 1, from x (N, C, T, H, W)."""
        squeezed = functional.relu(self.squeeze(x.mean(dim=(2, 3, 4))))
        return functional.softmax(self.shares(squeezed) / self.temperature, dim=1)

    def kernels(self, x: torch.Tensor) -> torch.Tensor:
        """The kernel of each sample, (N, C', C, 3, 3, 3)."""
        return (self.attention(x) @ self.weight.flatten(1)).reshape(-1, *self.weight.shape[1:])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, T, H, W) to (N, C', T, H, W)."""
        if torch.compiler.is_exporting():
            return self.mix_outputs(x)
        return self.mix_kernels(x)

    def mix_kernels(self, x: torch.Tensor) -> torch.Tensor:
        """One convolution, each sample a group of it with a kernel of its own."""
        samples, channels = x.shape[:2]
        kernels = self.kernels(x).flatten(0, 1)  # (N · C', C, 3, 3, 3)
        out = functional.conv3d(x.reshape(1, samples * channels, *x.shape[2:]), kernels, padding=1, groups=samples)
        return out.reshape(samples, -1, *x.shape[2:])

    def mix_outputs(self, x: torch.Tensor) -> torch.Tensor:
        """One convolution with all kernels, the outputs of which are mixed: the same values."""
        outputs = functional.conv3d(x, self.weight.flatten(0, 1), padding=1)
        outputs = outputs.reshape(-1, *self.weight.shape[:2], *x.shape[2:])  # (N, kernels, C', T, H, W)
        return (outputs * self.attention(x)[:, :, None, None, None, None]).sum(dim=1)


class GatedKernelConv3d(nn.Module):
    """3x3x3 convolution of stride 1 whose one kernel each sample's mean scales, a factor an output channel.

    Kim and Park, section II, to the letter: the mean of x passes an activation function to become
    W_dynamic, and K_dynamic = W_dynamic · K. The paper gives neither the activation nor the shape of
    W_dynamic: here it is sigmoid(FC(mean of x)), one number an output channel.

    Args:
        in_channels: C.
        out_channels: C'.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, _SIZE, _SIZE, _SIZE))
        self.gate = nn.Linear(in_channels, out_channels)
        _kaiming(self.weight)

    def factors(self, x: torch.Tensor) -> torch.Tensor:
        """W_dynamic, (N, C') in (0, 1), from x (N, C, T, H, W)."""
        return torch.sigmoid(self.gate(x.mean(dim=(2, 3, 4))))

    def kernels(self, x: torch.Tensor) -> torch.Tensor:
        """K_dynamic, the kernel of each sample, (N, C', C, 3, 3, 3)."""
        return self.factors(x)[:, :, None, None, None, None] * self.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, T, H, W) to (N, C', T, H, W): a factor on a kernel is a factor on what it gives."""
        return functional.conv3d(x, self.weight, padding=1) * self.factors(x)[:, :, None, None, None]
