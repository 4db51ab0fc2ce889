"""Files of torchvision's video networks, https://github.com/pytorch/vision; kinema has its names."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from kinema.models.convert.recognised import Layout, Recognised, by_layout

__all__ = ["recognise"]

_LAYOUTS = (
    Layout("stem.0.weight", "layer1.0.conv1.0.0.weight", "fc.weight", ("r2plus1d_18",)),
    Layout("stem.0.weight", "layer1.0.conv1.0.weight", "fc.weight", ("r3d_18", "mc3_18")),
    Layout("features.0.0.0.weight", "features.0.1.0.weight", "classifier.1.weight", ("s3d",)),
    Layout("conv_proj.weight", "pos_encoding.class_token", "head.1.weight", ("mvit_v1_b", "mvit_v2_s")),
    Layout(
        "patch_embed.proj.weight",
        "features.0.0.attn.qkv.weight",
        "head.weight",
        ("swin3d_t", "swin3d_s", "swin3d_b"),
    ),
)


def recognise(tensors: Mapping[str, torch.Tensor]) -> Recognised | None:
    """The network in `tensors`; None if they are none of torchvision's."""
    return by_layout(tensors, "torchvision", _LAYOUTS)
