"""Files of PyTorchVideo's model hub, https://github.com/facebookresearch/pytorchvideo; kinema has its names.

X3D XS, S and M have one set of tensors and differ in the clips they were trained on, so which of them
a file holds must be said.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from kinema.models.convert.recognised import Layout, Recognised, by_layout

__all__ = ["recognise"]

_CONV = "res_blocks.0.branch2.conv_a.weight"
_LAYOUTS = (
    Layout(
        "blocks.0.multipathway_blocks.0.conv.weight",
        "blocks.0.multipathway_fusion.conv_fast_to_slow.weight",
        "blocks.6.proj.weight",
        ("slowfast_r50", "slowfast_r101", "slowfast_16x8_r101_50_50"),
    ),
    Layout(
        "blocks.0.conv.conv_t.weight",
        f"blocks.2.{_CONV}",
        "blocks.5.proj.weight",
        ("x3d_xs", "x3d_s", "x3d_m", "x3d_l"),
    ),
    Layout(
        "blocks.0.conv.weight", f"blocks.2.{_CONV}", "blocks.5.proj.weight", ("slow_r50", "csn_r101", "r2plus1d_r50")
    ),
    # These two pool once more, as a block of its own.
    Layout("blocks.0.conv.weight", f"blocks.3.{_CONV}", "blocks.6.proj.weight", ("c2d_r50", "i3d_r50")),
)


def recognise(tensors: Mapping[str, torch.Tensor]) -> Recognised | None:
    """The network in `tensors`, or those it may be; None if they are none of PyTorchVideo's."""
    return by_layout(tensors, "PyTorchVideo", _LAYOUTS)
