"""Files of the usual C3D port, https://github.com/jfzhang95/pytorch-video-recognition; kinema has its names."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from kinema.models.convert.recognised import Layout, Recognised, by_layout

__all__ = ["recognise"]

_LAYOUTS = (Layout("conv1.weight", "conv3a.weight", "fc8.weight", ("c3d", "c3d_bn")),)


def recognise(tensors: Mapping[str, torch.Tensor]) -> Recognised | None:
    """The network in `tensors`; None if they are not of C3D."""
    return by_layout(tensors, "a port of C3D", _LAYOUTS)
