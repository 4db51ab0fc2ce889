"""Files of 3D-ResNets-PyTorch, https://github.com/kenshohara/3D-ResNets-PyTorch, old and new.

New ones (2020, branch master) hold names as kinema has them. Old ones (2018, branch CVPR2018) put
`module.` before each name and dots into the names of DenseNet's layers; they were trained on raw
bytes less the mean of ActivityNet.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction

import torch

from kinema.core.errors import WeightsError
from kinema.core.spec import InputSpec
from kinema.models.convert.recognised import Recognised, count_blocks, factor_of, is_conv3d, length_of
from kinema.models.model import OptionValue
from kinema.models.zoo import find_row, list_models

__all__ = ["recognise"]

_NEW = "3D-ResNets-PyTorch"
_OLD = "3D-ResNets-PyTorch, branch CVPR2018"
_OLD_DENSE = re.compile(r"\.(norm|conv)\.([12])\.")

_Depths = dict[tuple[int, ...], int]
_BASIC: _Depths = {(1, 1, 1, 1): 10, (2, 2, 2, 2): 18, (3, 4, 6, 3): 34}
_BOTTLENECK: _Depths = {(3, 4, 6, 3): 50, (3, 4, 23, 3): 101, (3, 8, 36, 3): 152, (3, 24, 36, 3): 200}
_DENSE: _Depths = {(6, 12, 24, 16): 121, (6, 12, 32, 32): 169, (6, 12, 48, 32): 201, (6, 12, 64, 48): 264}
# Mean of ActivityNet over raw bytes, and no division: mean.py and opts.py of branch CVPR2018.
_OLD_INPUT = replace(InputSpec(), mean=(114.7748, 107.7354, 99.4750), std=(1.0, 1.0, 1.0), value_range=255.0)


def recognise(tensors: Mapping[str, torch.Tensor], *, prefixed: bool) -> Recognised | None:
    """The network in `tensors`, whose names have lost their `module.`; None if they are not of this project.

    Args:
        tensors: by name.
        prefixed: whether there was a `module.` before each name.

    Raises:
        WeightsError: they are of this project, but of a network that kinema does not build.
    """
    if is_conv3d(tensors, "features.conv0.weight") or is_conv3d(tensors, "features.conv1.weight"):
        return _densenet(tensors, prefixed=prefixed)
    stem = "conv1_s" if is_conv3d(tensors, "conv1_s.weight") else "conv1"
    first = {"layer1.0.conv1.weight", "layer1.0.conv1_s.weight"} & set(tensors)
    if not is_conv3d(tensors, f"{stem}.weight") or len(first) != 1 or not is_conv3d(tensors, next(iter(first))):
        return None
    try:
        return _resnet(tensors, prefixed=prefixed)
    except KeyError as error:
        raise WeightsError(
            f"a residual network of 3D-ResNets-PyTorch without its {error.args[0]}",
            allowed="all tensors of a network",
            next_step="get the file again, or save the whole network where it was trained",
        ) from error


def _densenet(tensors: Mapping[str, torch.Tensor], *, prefixed: bool) -> Recognised | None:
    original = {_new_dense_name(name): name for name in tensors}
    renamed = {name: tensors[old] for name, old in original.items()}
    blocks = tuple(_count_dense_layers(renamed, number) for number in (1, 2, 3, 4))
    if not any(blocks):
        return None
    depth = _depth_of(_DENSE, blocks, "DenseNet of dense layers")
    stem = renamed["features.conv1.weight"]
    growth = length_of(renamed, "features.denseblock1.denselayer1.conv2.weight")
    old = prefixed or "features.conv0.weight" in tensors
    trained_on, why = _input(stem.shape[1], old=old)
    return Recognised(
        source=_OLD if old else _NEW,
        architectures=(_buildable(f"densenet3d_{depth}"),),
        tensors=renamed,
        original={name: old_name for name, old_name in original.items() if name != old_name},
        in_channels=stem.shape[1],
        num_classes=length_of(renamed, "classifier.weight"),
        options={"conv1_t_size": stem.shape[2], **({"growth_rate": growth} if growth else {})},
        input=trained_on,
        input_reason=why,
    )


def _new_dense_name(name: str) -> str:
    name = name.replace("features.conv0.", "features.conv1.").replace("features.norm0.", "features.norm1.")
    return _OLD_DENSE.sub(r".\1\2.", name)


def _count_dense_layers(tensors: Mapping[str, torch.Tensor], block: int) -> int:
    start = f"features.denseblock{block}.denselayer"
    return len({name[len(start) :].partition(".")[0] for name in tensors if name.startswith(start)})


def _resnet(tensors: Mapping[str, torch.Tensor], *, prefixed: bool) -> Recognised:
    factored, bottleneck = "conv1_s.weight" in tensors, "layer1.0.conv3.weight" in tensors
    stem = tensors["conv1_t.weight" if factored else "conv1.weight"]
    in_channels = tensors["conv1_s.weight" if factored else "conv1.weight"].shape[1]
    blocks = tuple(count_blocks(tensors, f"layer{number}") for number in (1, 2, 3, 4))
    kind = "bottlenecks" if bottleneck else "basic blocks"
    depth = _depth_of(_BOTTLENECK if bottleneck else _BASIC, blocks, f"residual network of {kind}")
    family, options = _family(tensors, len(stem), factored=factored, bottleneck=bottleneck)
    options["shortcut"] = "B" if any(".downsample." in name for name in tensors) else "A"
    options["conv1_t_size"] = stem.shape[2]
    name = _buildable(f"{family}_{depth}")
    # Of master, ResNeXt cannot be trained, and in its wide networks the first convolution is as wide as layer1 (k 1).
    old = prefixed or family == "resnext3d" or options.get("k", 1) != 1
    trained_on, why = _input(in_channels, old=old)
    return Recognised(
        source=_OLD if old else _NEW,
        architectures=(name,),
        tensors=tensors,
        in_channels=in_channels,
        num_classes=length_of(tensors, "fc.weight"),
        options={key: value for key, value in options.items() if key in find_row(name).defaults},
        input=trained_on,
        input_reason=why,
    )


def _family(
    tensors: Mapping[str, torch.Tensor], stem_channels: int, *, factored: bool, bottleneck: bool
) -> tuple[str, dict[str, OptionValue]]:
    """The family that has blocks of this form, and the options that give their widths."""
    first = "conv1_t" if factored and not bottleneck else "conv1"
    planes = [len(tensors[f"layer{number}.0.{first}.weight"]) for number in (1, 2, 3, 4)]
    stem = (stem_channels, 64)
    if bottleneck and not factored:
        widths = [len(tensors[f"layer{number}.0.conv3.weight"]) for number in (1, 2, 3, 4)]
        groups = planes[0] // tensors["layer1.0.conv2.weight"].shape[1]
        if groups > 1 or widths[0] > 4 * planes[0]:
            halves = [width // 2 for width in widths]
            factor = factor_of(stem, *zip(halves, (128, 256, 512, 1024), strict=True))
            return "resnext3d", {"cardinality": groups, "widen_factor": factor}
        if widths[0] == 2 * planes[0]:
            factor = factor_of(stem)
            bases = [Fraction(str(factor)) * base for base in (64, 128, 256, 512)]
            return "wide_resnet3d", {"k": factor_of(*zip(planes, bases, strict=True)), "widen_factor": factor}
    family = "resnet2p1d" if factored else "preact_resnet3d" if _is_preact(tensors) else "resnet3d"
    return family, {"widen_factor": factor_of(stem, *zip(planes, (64, 128, 256, 512), strict=True))}


def _is_preact(tensors: Mapping[str, torch.Tensor]) -> bool:
    """Whether a block normalises what comes in: layer2 is the first whose widths in and inside differ in any case."""
    norm, conv = tensors["layer2.0.bn1.weight"], tensors["layer2.0.conv1.weight"]
    return len(norm) == conv.shape[1] != conv.shape[0]


def _input(in_channels: int, *, old: bool) -> tuple[InputSpec | None, str]:
    """How the frames were normalised (None: as the row says), and how kinema knows."""
    if in_channels == 2:
        row = InputSpec()
        flow = replace(row, modality="flow", mean=row.mean[:2], std=row.std[:2])
        return flow, "flow is normalised there by the first two means and deviations of Kinetics"
    if in_channels == 3 and old:
        return _OLD_INPUT, "files of branch CVPR2018 were trained on raw bytes less the mean of ActivityNet"
    return None, "files of branch master were trained with the mean and deviation of Kinetics"


def _depth_of(depths: _Depths, blocks: tuple[int, ...], what: str) -> int:
    if blocks not in depths:
        raise WeightsError(
            f"a {what} with {', '.join(map(str, blocks))} of them in its four layers",
            allowed="; ".join(f"{', '.join(map(str, known))} (depth {depth})" for known, depth in depths.items()),
            next_step="choose the file of a depth that was published",
        )
    return depths[blocks]


def _buildable(name: str) -> str:
    if name not in list_models():
        raise WeightsError(
            f"tensors of a {name}, a depth that kinema does not build",
            allowed=", ".join(other for other in list_models() if other.startswith(name.rpartition("_")[0])),
            next_step="kinema models list",
        )
    return name
