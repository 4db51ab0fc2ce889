"""3D ResNeXt: bottlenecks whose 3x3x3 convolution works on many small groups of channels, each apart.

Papers: Xie et al., "Aggregated Residual Transformations for Deep Neural Networks" (2017),
https://arxiv.org/abs/1611.05431; in 3D: Hara et al., "Can Spatiotemporal 3D CNNs Retrace the History
of 2D CNNs and ImageNet?" (2018), https://arxiv.org/abs/1711.09577.
Origin: written anew after the description of https://github.com/kenshohara/3D-ResNets-PyTorch (MIT),
branch CVPR2018, whose first convolution gives 64 channels (that of its master branch gives 128,
which does not fit the published weights); parameters carry the original names, so published tensors
load without renaming.

Deliberate differences are those of `kinema.models.resnet3d`; besides, any cardinality can be run
(the original sizes `fc` for 32 groups only), and so can any `widen_factor` that leaves a channel in
each group.
"""

from __future__ import annotations

from collections.abc import Sequence

from kinema.core.spec import InputSpec
from kinema.models import resnet3d
from kinema.models.model import Option
from kinema.models.resnet3d import BlockFactory, Bottleneck, ResNet3d, Shortcut
from kinema.models.row import ModelRow

__all__ = ["OPTIONS", "ROWS", "grouped_bottleneck", "resnext3d"]

OPTIONS = (
    Option("cardinality", int, "groups of channels in the middle of a block", low=1),
    *(option for option in resnet3d.OPTIONS if option.name != "widen_factor"),
    # From 0.25: at less, the groups of layer1 would have no channel.
    Option("widen_factor", float, "channels of every layer, times this", low=0.25),
)


def grouped_bottleneck(cardinality: int) -> BlockFactory:
    """Makes bottlenecks of `cardinality` groups, each of a 32nd of the planes; they give twice the planes.

    A layer's groups are thus as wide whatever their number: 4, 8, 16 and 32 channels in the four layers.
    """

    def block(in_channels: int, planes: int, stride: int, shortcut: Shortcut) -> Bottleneck:
        inside = cardinality * (planes // 32)
        return Bottleneck(in_channels, inside, stride, shortcut, out_channels=2 * planes, groups=cardinality)

    return block


def resnext3d(
    depths: Sequence[int],
    num_classes: int,
    in_channels: int = 3,
    *,
    cardinality: int = 32,
    shortcut: Shortcut = "B",
    conv1_t_size: int = 7,
    conv1_t_stride: int = 1,
    max_pool: bool = True,
    widen_factor: float = 1.0,
    dropout: float = 0.0,
) -> ResNet3d:
    """3D ResNeXt over clips (N, C, T, H, W) of any length and size.

    Args:
        depths: blocks in each of the four layers.
        num_classes: K.
        in_channels: C, 3 for RGB.
        cardinality: groups of the 3x3x3 convolutions.
        shortcut: as for `ResNet3d`, like the options that follow.
        conv1_t_size: kernel of the first convolution in time, frames.
        conv1_t_stride: its stride in time, frames.
        max_pool: whether a max-pool follows it.
        widen_factor: multiplies everything, the first convolution included; groups are as many, but wider.
        dropout: share of features dropped before `fc` in training.
    """
    return ResNet3d(
        grouped_bottleneck(cardinality),
        depths,
        num_classes,
        in_channels,
        planes=(128, 256, 512, 1024),
        shortcut=shortcut,
        conv1_t_size=conv1_t_size,
        conv1_t_stride=conv1_t_stride,
        max_pool=max_pool,
        widen_factor=widen_factor,
        dropout=dropout,
    )


def _row(depth: int, depths: tuple[int, ...], parameters: int, gflops: float) -> ModelRow:
    return ModelRow(
        f"resnext3d_{depth}",
        resnext3d,
        {"depths": depths},
        OPTIONS,
        parameters,
        gflops,
        "Hara et al. 2018, arXiv:1711.09577",
        InputSpec(),
    )


ROWS = (
    _row(50, (3, 4, 6, 3), parameters=26_685_264, gflops=14.90),
    _row(101, (3, 4, 23, 3), parameters=48_340_816, gflops=19.14),
    _row(152, (3, 8, 36, 3), parameters=66_178_896, gflops=24.36),
)
