"""What the names and shapes of foreign tensors show; each source's file has a `recognise` that answers with it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

import torch

from kinema.core.errors import WeightsError
from kinema.core.spec import InputSpec
from kinema.models.model import OptionValue
from kinema.models.zoo import create_model, find_row

__all__ = ["Layout", "Recognised", "by_layout", "count_blocks", "factor_of", "is_conv3d", "length_of"]


@dataclass(frozen=True)
class Recognised:
    """A network recognised in a set of tensors.

    Attributes:
        source: the project whose names these are, in words.
        architectures: names in the zoo; several where a file cannot tell them apart.
        tensors: the tensors under kinema's names and in its layout.
        in_channels: channels C of a clip.
        num_classes: K; None where the head is not there.
        options: those that shapes show; the others are the user's to give.
        original: what a tensor was called before, by its name in `tensors`, where that differs.
        skipped: names of tensors that belong to training and not to the network.
        input: what the network was trained on; None is what its row in the zoo says.
        input_reason: why it is that one, in words.
    """

    source: str
    architectures: tuple[str, ...]
    tensors: Mapping[str, torch.Tensor]
    in_channels: int
    num_classes: int | None
    options: Mapping[str, OptionValue] = field(default_factory=dict)
    original: Mapping[str, str] = field(default_factory=dict)
    skipped: tuple[str, ...] = ()
    input: InputSpec | None = None
    input_reason: str = ""


@dataclass(frozen=True)
class Layout:
    """Networks that have some names in common and are told apart by all of them.

    Attributes:
        first: weight of their first convolution, over space and time.
        mark: another tensor that each of them has.
        head: weight of their last layer, whose length is the number of classes.
        architectures: their names in the zoo.
    """

    first: str
    mark: str
    head: str
    architectures: tuple[str, ...]


def by_layout(tensors: Mapping[str, torch.Tensor], source: str, layouts: Iterable[Layout]) -> Recognised | None:
    """The networks of the first layout that fits which are closest to the tensors; None if no layout fits."""
    for layout in layouts:
        if not (is_conv3d(tensors, layout.first) and layout.mark in tensors):
            continue
        in_channels, num_classes = tensors[layout.first].shape[1], length_of(tensors, layout.head)
        known = {}
        for name in layout.architectures:
            with torch.device("meta"):
                known[name] = create_model(name, num_classes or 1, in_channels).state_dict()
        nearness = {name: _nearness(tensors, wanted) for name, wanted in known.items()}
        closest = tuple(name for name in known if nearness[name] == max(nearness.values()))
        options: dict[str, OptionValue] = {}
        if "widen_factor" in find_row(closest[0]).defaults:
            width = len(known[closest[0]][layout.first])
            options["widen_factor"] = factor_of((len(tensors[layout.first]), width))
        return Recognised(source, closest, tensors, in_channels, num_classes, options)
    return None


def _nearness(tensors: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor]) -> tuple[int, int]:
    """How many tensors have the kernel wanted, less those that are absent; then, how many the very shape."""
    shapes = [(tensors[name].shape if name in tensors else None, tensor.shape) for name, tensor in wanted.items()]
    absent = sum(given is None for given, _ in shapes)
    kernels = sum(given is not None and given[2:] == shape[2:] for given, shape in shapes)
    return kernels - absent, sum(given == shape for given, shape in shapes)


def is_conv3d(tensors: Mapping[str, torch.Tensor], name: str) -> bool:
    """Whether `name` is the weight of a convolution over space and time: (out, in, kT, kH, kW)."""
    return name in tensors and tensors[name].ndim == 5


def length_of(tensors: Mapping[str, torch.Tensor], name: str) -> int | None:
    """Length of the first axis of tensor `name`; None where it is not there."""
    return len(tensors[name]) if name in tensors else None


def count_blocks(names: Iterable[str], layer: str) -> int:
    """How many numbered blocks stand under `layer`: for "layer1" one more than the largest N of "layer1.N.…"."""
    pattern = re.compile(rf"{re.escape(layer)}\.(\d+)\.")
    numbers = [int(found[1]) for found in map(pattern.match, names) if found]
    return max(numbers, default=-1) + 1


def factor_of(*channels: tuple[int, int | Fraction]) -> float:
    """The likeliest number that each (channels, base) is `int(base * number)` of.

    Of all that fit, the smallest if three decimals write it, as those of eighths, or else the one with
    the fewest decimals.

    Raises:
        WeightsError: no number fits all.
    """
    low = max(Fraction(count) / base for count, base in channels)
    high = min(Fraction(count + 1) / base for count, base in channels)
    if low >= high:
        given = ", ".join(str(count) for count, _ in channels)
        bases = ", ".join(f"{float(base):g}" for _, base in channels)
        raise WeightsError(
            f"layers of {given} channels, which are not one multiple of {bases}",
            allowed="channels that one factor gives",
            next_step="convert a network whose layers are all as wide as one factor makes them",
        )
    if (low * 1000).denominator == 1:
        return float(low)
    decimals = 0
    while Fraction(steps := math.ceil(low * 10**decimals), 10**decimals) >= high:
        decimals += 1
    return float(Fraction(steps, 10**decimals))
