"""DyMSTA-Net: a pretrained extractor, dynamic convolution, several scales of time, and attention.

Paper: Kim and Park, "Video Classification Model using Dynamic Convolution and Multi-Scale
Spatio-Temporal Attention Mechanisms" (in Korean), Myongji University; three pages, no code.
Origin: written after the paper. It names the parts, their order and what each is for, and leaves open
the extractor, every size and most formulas; docs/concepts/dymsta.md lists what was chosen and why.

The extractor is any network of the zoo whose stages give features (N, C, T, H, W), cut behind the
stage at which it is tapped. Its tensors keep their own names, behind `backbone.`, so weights
of the whole network can be loaded into it (`kinema.models.weights.load_extractor`).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from torch import nn

from kinema.core.errors import UsageError, nearest
from kinema.core.spec import ClipSpec, InputSpec
from kinema.models.extractor import AUTO, build_extractor, find_tap
from kinema.models.layers.dynamic_conv3d import GatedKernelConv3d, MixedKernelConv3d
from kinema.models.layers.multi_scale_temporal import MultiScaleTemporalBlock, conv_bn_relu
from kinema.models.layers.spatio_temporal_attention import DividedSelfAttention, SpatioTemporalGates
from kinema.models.model import Option, VideoModel
from kinema.models.row import ModelRow

__all__ = ["IN_BACKBONE", "OPTIONS", "DymstaNet", "rows"]

IN_BACKBONE = "backbone."
"""What the names of the extractor's stages and tensors begin with."""

OPTIONS = (
    Option("backbone", str, "the extractor", words="a name of `kinema models list`"),
    Option("tap", str, "last stage of the extractor; auto: the deepest with 4 time steps", words="a stage, or auto"),
    Option(
        "dynamic",
        str,
        "kernels mixed by attention, one kernel scaled, one as it is, or no convolution",
        choices=("attention", "literal", "static", "off"),
    ),
    Option("kernels", int, "kernels that dynamic=attention mixes", low=2),
    Option(
        "temporal_kernels",
        str,
        "time steps that short, medium and long convolutions span",
        choices=("auto", "1-3-5", "3-5-7", "off"),
    ),
    Option("attention", str, "gates, or self-attention in time and in space", choices=("gates", "divided", "off")),
    Option("dropout", float, "share of features dropped before fc", low=0, below=1),
)

Dynamic = Literal["attention", "literal", "static", "off"]
TemporalKernels = Literal["auto", "1-3-5", "3-5-7", "off"]
Attention = Literal["gates", "divided", "off"]

_INPUT = InputSpec(clip=ClipSpec(frames=16, stride=2))
_LEAST_TIME_STEPS = 4  # fewer make no difference between short, medium and long
_MOST_CHANNELS = 256  # a 3x3x3 kernel grows with their square

_SPANS: Mapping[TemporalKernels, tuple[int, int, int]] = {"1-3-5": (1, 3, 5), "3-5-7": (3, 5, 7)}


def _dynamic(kind: Dynamic, channels: int, kernels: int) -> nn.Sequential:
    """The first part: a 3x3x3 convolution of the given kind, batch norm, ReLU."""
    if kind == "static":
        return conv_bn_relu(channels, channels, (3, 3, 3))
    conv = (
        MixedKernelConv3d(channels, channels, kernels) if kind == "attention" else GatedKernelConv3d(channels, channels)
    )
    return nn.Sequential(conv, nn.BatchNorm3d(channels), nn.ReLU(inplace=True))


def _spans(kind: TemporalKernels, time_steps: int) -> tuple[int, int, int]:
    """T_short, T_medium and T_long; by itself no longer than what there is of time."""
    if kind == "auto":
        kind = "1-3-5" if time_steps <= _LEAST_TIME_STEPS else "3-5-7"
    return _SPANS[kind]


class DymstaNet(VideoModel):
    """DyMSTA-Net over clips (N, C, T, H, W) of any length and size that its extractor takes.

    The stages are those of the extractor, as `backbone.layer1`, then `reduce` (1x1x1, only where the
    extractor gives more than 256 channels), `dynamic`, `temporal`, `attention` and `fc`. A part that
    is `off` is not there, nor is its stage.

    Args:
        backbones: the networks to choose the extractor from.
        num_classes: K.
        in_channels: C, 3 for RGB.
        backbone: name of the extractor.
        tap: its last stage, or `auto` for the deepest that leaves 4 time steps of 16 frames.
        dynamic: the first part (see `OPTIONS`).
        kernels: how many kernels `attention` mixes.
        temporal_kernels: time steps that the convolutions of the second part span; `auto` is 1-3-5
            where 16 frames leave 4 time steps or fewer, else 3-5-7.
        attention: the third part.
        dropout: share of features dropped before `fc` in training.

    Raises:
        UsageError: no such backbone or stage, or one that gives no features (N, C, T, H, W).
    """

    top: ClassVar = ("fc",)
    heads: ClassVar = ("fc",)

    def __init__(
        self,
        backbones: Mapping[str, ModelRow],
        num_classes: int,
        in_channels: int = 3,
        *,
        backbone: str = "resnet3d_18",
        tap: str = AUTO,
        dynamic: Dynamic = "attention",
        kernels: int = 4,
        temporal_kernels: TemporalKernels = "auto",
        attention: Attention = "gates",
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        if backbone not in backbones:
            raise UsageError(
                f"no network named '{backbone}' to be a backbone{nearest(backbone, backbones)}",
                allowed=", ".join(sorted(backbones)),
                next_step="kinema models list",
            )
        row = backbones[backbone]
        found = find_tap(row, in_channels, tap, _INPUT.clip.frames, _LEAST_TIME_STEPS)
        channels = min(found.channels, _MOST_CHANNELS)
        own: OrderedDict[str, nn.Module] = OrderedDict()  # the parts in their order, those that are not off
        if found.channels > channels:
            own["reduce"] = conv_bn_relu(found.channels, channels)
        if dynamic != "off":
            own["dynamic"] = _dynamic(dynamic, channels, kernels)
        if temporal_kernels != "off":
            own["temporal"] = MultiScaleTemporalBlock(channels, _spans(temporal_kernels, found.time_steps))
        if attention != "off":
            own["attention"] = (SpatioTemporalGates if attention == "gates" else DividedSelfAttention)(channels)

        self.backbone = build_extractor(row, in_channels, found.stage)  # 3x16x112x112 -> 128x4x14x14
        for name, part in own.items():
            self.add_module(name, part)  # 128x4x14x14, each of them
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(channels, num_classes)
        of_backbone = {
            IN_BACKBONE + stage: tuple(IN_BACKBONE + module for module in modules)
            for stage, modules in self.backbone.trunk.items()
        }
        self.trunk = {**of_backbone, **{name: (name,) for name in own}}  # type: ignore[misc]  # its own, as the options say

    def forward_features(self, clips: torch.Tensor, until: str | None = None) -> torch.Tensor:
        """The features that stage `until` gives, or the last part's: (N, features, T', H', W').

        Args:
            clips: (N, C, T, H, W).
            until: a stage of the trunk, the last one to be run.
        """
        if until is not None and until.startswith(IN_BACKBONE):
            return self.backbone.forward_features(clips, until.removeprefix(IN_BACKBONE))
        x = self.backbone.forward_features(clips)
        for stage in self.trunk:
            if not stage.startswith(IN_BACKBONE):
                x = self.pass_through((stage,), x)
            if stage == until:
                break
        return x

    def forward_head(self, features: torch.Tensor) -> torch.Tensor:
        """(N, features, T', H', W') to logits (N, K)."""
        pooled = features.mean(dim=(2, 3, 4))  # (N, features)
        return self.fc(self.dropout(pooled))  # type: ignore[no-any-return]

    def set_epoch(self, epoch: float) -> None:
        """Cool the softmax over kernels: 30 before the first epoch, 1 from the tenth on."""
        for module in self.modules():
            if isinstance(module, MixedKernelConv3d):
                module.set_epoch(epoch)


def rows(backbones: Mapping[str, ModelRow]) -> tuple[ModelRow, ...]:
    """The rows of this family, built on the networks in `backbones`.

    They are passed in because the zoo, which knows them all, imports this file.
    """
    arguments = {"backbones": backbones}
    paper = "Kim and Park, DyMSTA-Net, Myongji University"
    return (ModelRow("dymsta", DymstaNet, arguments, OPTIONS, 4_251_256, 15.84, paper, _INPUT),)
