"""Wide 3D ResNet: bottlenecks whose layers are `k` times as wide, in place of more of them.

Papers: Zagoruyko and Komodakis, "Wide Residual Networks" (2016), https://arxiv.org/abs/1605.07146;
in 3D: Hara et al., "Can Spatiotemporal 3D CNNs Retrace the History of 2D CNNs and ImageNet?" (2018),
https://arxiv.org/abs/1711.09577.
Origin: written anew after the description of https://github.com/kenshohara/3D-ResNets-PyTorch (MIT),
branch CVPR2018, whose first convolution gives 64 channels whatever `k` is (those of its master
branch are `k` times as many, and do not fit the published weights); parameters carry the original
names, so published tensors load without renaming.

Deliberate differences are those of `kinema.models.resnet3d`; besides, `k` need not be whole.
"""

from __future__ import annotations

from collections.abc import Sequence

from kinema.core.spec import InputSpec
from kinema.models import resnet3d
from kinema.models.model import Option
from kinema.models.resnet3d import Bottleneck, ResNet3d, Shortcut
from kinema.models.row import ModelRow

__all__ = ["OPTIONS", "ROWS", "wide_bottleneck", "wide_resnet3d"]

OPTIONS = (
    # From 1: a layer narrower than the first convolution has no room for its channels in shortcut A.
    Option("k", float, "channels of every layer but the first convolution, times this", low=1),
    *resnet3d.OPTIONS,
)


def wide_bottleneck(in_channels: int, planes: int, stride: int, shortcut: Shortcut) -> Bottleneck:
    """A bottleneck that gives twice its `planes`, where that of the plain ResNet gives four times as many."""
    return Bottleneck(in_channels, planes, stride, shortcut, out_channels=2 * planes)


def wide_resnet3d(
    depths: Sequence[int],
    num_classes: int,
    in_channels: int = 3,
    *,
    k: float = 2.0,
    shortcut: Shortcut = "B",
    conv1_t_size: int = 7,
    conv1_t_stride: int = 1,
    max_pool: bool = True,
    widen_factor: float = 1.0,
    dropout: float = 0.0,
) -> ResNet3d:
    """Wide 3D ResNet over clips (N, C, T, H, W) of any length and size.

    Args:
        depths: blocks in each of the four layers.
        num_classes: K.
        in_channels: C, 3 for RGB.
        k: multiplies the planes of every layer; those of the first convolution stay 64.
        shortcut: as for `ResNet3d`, like the options that follow.
        conv1_t_size: kernel of the first convolution in time, frames.
        conv1_t_stride: its stride in time, frames.
        max_pool: whether a max-pool follows it.
        widen_factor: multiplies everything, the first convolution included.
        dropout: share of features dropped before `fc` in training.
    """
    return ResNet3d(
        wide_bottleneck,
        depths,
        num_classes,
        in_channels,
        planes=(64 * k, 128 * k, 256 * k, 512 * k),
        shortcut=shortcut,
        conv1_t_size=conv1_t_size,
        conv1_t_stride=conv1_t_stride,
        max_pool=max_pool,
        widen_factor=widen_factor,
        dropout=dropout,
    )


ROWS = (
    ModelRow(
        "wide_resnet3d_50",
        wide_resnet3d,
        {"depths": (3, 4, 6, 3)},
        OPTIONS,
        parameters=158_248_272,
        gflops=52.48,
        paper="Hara et al. 2018, arXiv:1711.09577",
        input=InputSpec(),
    ),
)
