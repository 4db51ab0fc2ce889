"""Start a network of the zoo from a 2D network of the same layout, such as one trained on ImageNet.

Paper: Carreira and Zisserman, "Quo Vadis, Action Recognition? A New Model and the Kinetics Dataset"
(2017), section 2, https://arxiv.org/abs/1705.07750.

    2D network (torchvision)        network of the zoo
    GoogLeNet                       i3d
    ResNet-18, 34, 50, 101, 152     resnet3d_18 … resnet3d_152, shortcut B
    ResNeXt-50 (32x4d)              resnext3d_50
    Wide ResNet-50-2                wide_resnet3d_50, k = 2
    DenseNet-121, 169, 201          densenet3d_121, densenet3d_169, densenet3d_201

Pictures and clips are normalised alike: torchvision's GoogLeNet computes with values between -1 and 1, as
I3D does, the others with ImageNet's means and deviations, which the `InputSpec` of the new weights should
then have.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from kinema.core.errors import WeightsError
from kinema.models.i3d import I3D
from kinema.models.inflate import inflate_kernel
from kinema.models.model import VideoModel

__all__ = ["InflationReport", "inflate_into"]

_CLASSIFIERS = ("fc.", "classifier.", "aux1.", "aux2.")
"""Where 2D networks keep what tells their classes apart."""

_DENSENET_STEM = {"features.conv0.": "features.conv1.", "features.norm0.": "features.norm1."}
_I3D_POINTS = {
    "conv1": "Conv3d_1a_7x7",
    "conv2": "Conv3d_2b_1x1",
    "conv3": "Conv3d_2c_3x3",
    "inception3a": "Mixed_3b",
    "inception3b": "Mixed_3c",
    "inception4a": "Mixed_4b",
    "inception4b": "Mixed_4c",
    "inception4c": "Mixed_4d",
    "inception4d": "Mixed_4e",
    "inception4e": "Mixed_4f",
    "inception5a": "Mixed_5b",
    "inception5b": "Mixed_5c",
}
_I3D_BRANCHES = {
    "branch1": "b0",
    "branch2.0": "b1a",
    "branch2.1": "b1b",
    "branch3.0": "b2a",
    "branch3.1": "b2b",
    "branch4.1": "b3b",
}


@dataclass(frozen=True)
class InflationReport:
    """What `inflate_into` did.

    Attributes:
        matched: names of the model's tensors that were filled.
        fresh: names of those left as they were: its heads, and counters that the 2D network does not have.
        unused: names of the 2D network's tensors left aside: its classifiers.
    """

    matched: tuple[str, ...]
    fresh: tuple[str, ...]
    unused: tuple[str, ...]

    def __str__(self) -> str:
        aside = f"; {len(self.unused)} of the 2D network unused" if self.unused else ""
        return f"{len(self.matched)} tensors inflated; new: {', '.join(self.fresh)}{aside}"


def inflate_into(model: VideoModel, tensors: Mapping[str, torch.Tensor]) -> InflationReport:
    """Fill `model`, all but its heads, from a 2D network of its layout.

    A still picture then gives in every frame that no padding reaches the features that it gave in 2D.
    I3D's batch norms have no scale, so GoogLeNet's go into the convolutions in front of them. That is
    the same function in evaluation; in training, where a batch's own deviation is divided out, they
    are lost, but not where `model.freeze` holds the statistics.

    Args:
        model: one of the table above, for clips of any channels; for others than the pictures have, see
            `kinema.models.inflate.inflate_kernel`.
        tensors: the 2D network's `state_dict()`, with torchvision's names.

    Returns:
        Which tensors were taken.

    Raises:
        WeightsError: a tensor, other than of the heads, is missing, left over or of another shape;
            nothing has been loaded then.
    """
    sources = _without_scales(tensors) if isinstance(model, I3D) else dict(tensors)
    places = {_place(name, model): name for name in sources}
    own = model.state_dict()
    heads = tuple(f"{head}." for head in model.heads)
    wanted = {name: tensor for name, tensor in own.items() if not name.startswith(heads)}
    first = next(name for name, tensor in wanted.items() if tensor.ndim == 5)
    filled = {
        name: _fitted(sources[places[name]], tensor, may_change_channels=name == first)
        for name, tensor in wanted.items()
        if name in places
    }
    unused = tuple(name for place, name in places.items() if place not in wanted)
    _require_fit(model, filled, wanted, [name for name in unused if not name.startswith(_CLASSIFIERS)])
    model.load_state_dict(filled, strict=False)
    fresh = tuple(name for name in own if name not in filled)
    return InflationReport(tuple(filled), fresh, unused)


def _place(name: str, model: VideoModel) -> str:
    """The name in `model` of a 2D network's tensor; its own name where there is none."""
    if isinstance(model, I3D):
        point, _, rest = name.partition(".")
        if point not in _I3D_POINTS:
            return name
        for flat, branch in _I3D_BRANCHES.items():
            if rest.startswith(f"{flat}."):
                rest = f"{branch}{rest.removeprefix(flat)}"
        return f"{_I3D_POINTS[point]}.{rest.replace('conv.weight', 'conv3d.weight')}"
    for flat, deep in _DENSENET_STEM.items():
        if name.startswith(flat):
            return name.replace(flat, deep)
    return name


def _without_scales(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """GoogLeNet with its scales in the convolutions: scale · (w * x - mean) = (scale · w) * x - scale · mean."""
    folded = dict(tensors)
    for name, scale in tensors.items():
        unit = name.removesuffix(".bn.weight")
        weight, mean = f"{unit}.conv.weight", f"{unit}.bn.running_mean"
        if unit != name and weight in tensors and mean in tensors:
            folded[weight] = tensors[weight] * scale.reshape(-1, 1, 1, 1)
            folded[mean] = tensors[mean] * scale
            del folded[name]
    return folded


def _fitted(flat: torch.Tensor, wanted: torch.Tensor, *, may_change_channels: bool) -> torch.Tensor:
    if flat.ndim == 4 and wanted.ndim == 5:
        return inflate_kernel(flat, wanted.shape[2], wanted.shape[1] if may_change_channels else None)
    return flat


def _require_fit(
    model: VideoModel,
    filled: Mapping[str, torch.Tensor],
    wanted: Mapping[str, torch.Tensor],
    left_over: list[str],
) -> None:
    counters = ".num_batches_tracked"  # old files of batch norms have none
    missing = [name for name in wanted if name not in filled and not name.endswith(counters)]
    misshapen = [
        f"{name} {tuple(tensor.shape)} instead of {tuple(wanted[name].shape)}"
        for name, tensor in filled.items()
        if tensor.shape != wanted[name].shape
    ]
    parts = {"missing": missing, "left over": left_over, "other shape": misshapen}
    listing = "".join(
        f"\n  {title} ({len(names)}): {', '.join(names[:4])}{', …' if names[4:] else ''}"
        for title, names in parts.items()
        if names
    )
    if listing:
        raise WeightsError(
            f"these tensors are of no 2D network with the layout of {model.architecture}{listing}",
            allowed="GoogLeNet for i3d; ResNets, ResNeXts, wide ResNets and DenseNets as torchvision names them for "
            "the networks of their depth, with shortcut B",
            next_step="choose the network of the same family and depth, or build one with "
            "kinema.models.inflate.inflate",
        )
