"""A network of the zoo out of tensors that another project published.

Each source has a file beside this one that recognises its names. What a file shows is taken from the
file: architecture, options, channels, classes. What it cannot show (a stride, a pool) has its default
or is given. Nothing is left out or left over without being named, and without leave.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path

import torch

from kinema.core.errors import WeightsError, shortened
from kinema.core.spec import FLOW_MEAN, FLOW_STD, InputSpec
from kinema.models.convert import c3d, hara, i3d, pytorchvideo, torchvision
from kinema.models.convert.reading import Foreign, read_foreign
from kinema.models.convert.recognised import Recognised, length_of
from kinema.models.model import Option, OptionValue, VideoModel
from kinema.models.zoo import create_model, find_row, full_options

__all__ = ["Conversion", "convert_file", "convert_tensors"]

_SOURCES = (
    "3D-ResNets-PyTorch, pytorch-i3d, kinetics_i3d_pytorch, DeepMind's kinetics-i3d, torchvision's video networks, "
    "PyTorchVideo and the usual C3D port"
)
_RECOGNISERS = (i3d.recognise, torchvision.recognise, pytorchvideo.recognise, c3d.recognise)
_PREFIXES = ("module.", "_orig_mod.", "model.")  # DataParallel's, torch.compile's, Lightning's
_COUNTER = ".num_batches_tracked"


@dataclass(frozen=True)
class Conversion:
    """A network made of foreign tensors, and what became of each of them.

    Attributes:
        model: in evaluation mode, on the CPU, in the floating precision of the tensors.
        source: the project the tensors came from, in words.
        architecture: its name in the zoo.
        options: every option, those the tensors show and those given or left at their default.
        in_channels: channels C of a clip.
        num_classes: K.
        matched: names of the model's tensors that were filled.
        filled: names of the model's counters of batches that the file lacks, as files of torch before
            0.4.1 and TensorFlow do; set to 0, which no output depends on.
        missing: names of the model's tensors that the file lacks or has in another shape; they hold
            fresh numbers.
        left_over: names in the file that the model has no place for.
        skipped: names in the file of what belongs to training, such as an optimizer's slots.
        input: what the network was trained on; None where kinema has no pictures of so many channels.
        input_reason: how that is known, in words.
        called: what the file itself calls the network; empty where it does not.
        files: the files that were read.
    """

    model: VideoModel
    source: str
    architecture: str
    options: Mapping[str, OptionValue]
    in_channels: int
    num_classes: int
    matched: tuple[str, ...]
    filled: tuple[str, ...]
    missing: tuple[str, ...]
    left_over: tuple[str, ...]
    skipped: tuple[str, ...]
    input: InputSpec | None
    input_reason: str
    called: str = ""
    files: tuple[Path, ...] = ()

    @property
    def fates(self) -> dict[str, tuple[str, ...]]:
        """Names of tensors by what became of them, in words; only what there is."""
        fates = {
            "matched": self.matched,
            "counters set to 0": self.filled,
            "missing, left fresh": self.missing,
            "left over": self.left_over,
            "of training, skipped": self.skipped,
        }
        return {fate: names for fate, names in fates.items() if names}

    def __str__(self) -> str:
        options = "".join(f", {name} {value}" for name, value in self.options.items())
        lines = [f"{self.architecture} from {self.source}: {self.num_classes} classes{options}"]
        lines += [f"  {fate} ({len(names)}): {shortened(names, 4)}" for fate, names in self.fates.items()]
        return "\n".join(lines)


@dataclass(frozen=True)
class _Asked:
    """What the caller says of the network."""

    architecture: str | None
    num_classes: int | None
    options: Mapping[str, object]

    def __post_init__(self) -> None:
        if self.architecture is not None:
            full_options(self.architecture, self.options)
        if self.num_classes is not None:
            Option("num_classes", int, "", low=1).check(self.num_classes)


@dataclass(frozen=True)
class _Fit:
    """How far the tensors of a `Recognised` fill a network."""

    matched: tuple[str, ...]
    filled: tuple[str, ...]
    missing: tuple[str, ...]
    misfits: Mapping[str, str]  # what is wrong with a tensor of the right name; missing and left over at once
    left_over: tuple[str, ...]

    @property
    def is_whole(self) -> bool:
        return not (self.missing or self.misfits or self.left_over)


def convert_file(
    path: Path | str,
    *,
    architecture: str | None = None,
    num_classes: int | None = None,
    options: Mapping[str, object] | None = None,
    allow_unmatched: bool = False,
) -> Conversion:
    """The network in a file of another project; code in the file, if there is any, is not run.

    Args:
        path: a torch file (`.pth`, `.pt`, `.tar`, `.pyth`), a safetensors file, or a TensorFlow checkpoint
            (its prefix, its folder, or a file of it).
        architecture: as for `convert_tensors`, like the arguments that follow.
        num_classes: K.
        options: of the architecture.
        allow_unmatched: whether tensors may be missing or left over.

    Raises:
        WeightsError: the file cannot be read, or its tensors cannot be converted.
        UsageError: an unknown architecture or option, or a value that is not allowed.
    """
    asked = _Asked(architecture, num_classes, options or {})
    foreign = read_foreign(Path(path))
    try:
        return _convert(foreign, asked, allow_unmatched=allow_unmatched)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error.given}", allowed=error.allowed, next_step=error.next_step) from error


def convert_tensors(
    tensors: Mapping[str, torch.Tensor],
    *,
    architecture: str | None = None,
    num_classes: int | None = None,
    options: Mapping[str, object] | None = None,
    allow_unmatched: bool = False,
) -> Conversion:
    """The network that foreign tensors hold.

    Args:
        tensors: by the names of their project; they are copied.
        architecture: name in the zoo, where the tensors cannot tell; it must agree with what they show.
        num_classes: K, where the head is missing; likewise.
        options: those that no shape shows, such as `conv1_t_stride` and `max_pool`; others must agree.
        allow_unmatched: whether tensors may be missing (they stay as in a fresh network) or left over.

    Raises:
        WeightsError: nothing known, several things possible, a contradiction, or tensors that do not fit.
        UsageError: an unknown architecture or option, or a value that is not allowed.
    """
    asked = _Asked(architecture, num_classes, options or {})
    return _convert(Foreign(tensors, ()), asked, allow_unmatched=allow_unmatched)


def _convert(foreign: Foreign, asked: _Asked, *, allow_unmatched: bool) -> Conversion:
    tensors, prefix = _unprefixed(foreign.tensors)
    found = _recognise(tensors, prefix, foreign, asked)
    architecture = _only_one(found, asked)
    num_classes = _agreed_classes(found, asked)
    options = full_options(architecture, {**found.options, **asked.options})

    def build() -> VideoModel:
        return create_model(architecture, num_classes, found.in_channels, **options)

    with torch.device("meta"):
        model = build()
    fit = _fit(found.tensors, model.state_dict())
    if not fit.is_whole:
        _refuse_contradicting_options(found, options)
        if not allow_unmatched:
            raise _unmatched(architecture, found, fit, prefix)
        with torch.random.fork_rng(devices=[]):  # what is missing is the same at each conversion
            torch.manual_seed(0)
            model = build()
    model.to(_precision(found.tensors))
    if fit.is_whole:
        model.to_empty(device="cpu")
    values = {name: found.tensors[name] for name in fit.matched}
    model.load_state_dict(values | dict.fromkeys(fit.filled, torch.tensor(0)), strict=fit.is_whole)
    trained_on, reason = _input(architecture, found)
    return Conversion(
        model=model.eval(),
        source=found.source,
        architecture=architecture,
        options=options,
        in_channels=found.in_channels,
        num_classes=num_classes,
        matched=fit.matched,
        filled=fit.filled,
        missing=(*fit.missing, *fit.misfits),
        left_over=tuple(prefix + found.original.get(name, name) for name in (*fit.left_over, *fit.misfits)),
        skipped=(*found.skipped, *foreign.skipped),
        input=trained_on,
        input_reason=reason,
        called=foreign.arch,
        files=foreign.files,
    )


def _unprefixed(tensors: Mapping[str, torch.Tensor]) -> tuple[Mapping[str, torch.Tensor], str]:
    """The tensors without what a wrapper put before every name, and what that was."""
    taken = ""
    while prefix := next((known for known in _PREFIXES if tensors and all(n.startswith(known) for n in tensors)), ""):
        tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
        taken += prefix
    return tensors, taken


def _recognise(tensors: Mapping[str, torch.Tensor], prefix: str, foreign: Foreign, asked: _Asked) -> Recognised:
    """What the tensors are by their names, or by the names of the architecture that is asked for."""
    found = hara.recognise(tensors, prefixed="module." in prefix)
    found = found or next(filter(None, (recognise(tensors) for recognise in _RECOGNISERS)), None)
    if asked.architecture is None:
        if found is None:
            raise _unknown(tensors, foreign)
        return found
    if found is not None and asked.architecture in found.architectures:
        return found
    own, is_whole = _by_own_names(tensors, asked.architecture, asked)
    if found is None or is_whole:
        return own
    raise WeightsError(
        f"tensors of {_alternatives(found)} ({found.source}), where {asked.architecture} is asked for",
        allowed=_alternatives(found),
        next_step=f"leave out the architecture, or give --arch {found.architectures[0]}",
    )


def _by_own_names(tensors: Mapping[str, torch.Tensor], architecture: str, asked: _Asked) -> tuple[Recognised, bool]:
    """Tensors taken as those of `architecture` under kinema's names, and whether they are just these."""
    with torch.device("meta"):
        model = create_model(architecture, 1, None, **asked.options)
    own = model.state_dict()
    first = next((name for name, tensor in own.items() if tensor.ndim >= 4), "")
    in_channels = find_row(architecture).input.channels
    if first in tensors and tensors[first].shape[1:2] != own[first].shape[1:2]:
        in_channels = tensors[first].shape[1]
    num_classes = length_of(tensors, f"{model.heads[0]}.weight")
    found = Recognised("kinema's own names", (architecture,), tensors, in_channels, num_classes)
    with torch.device("meta"):
        model = create_model(architecture, num_classes or 1, in_channels, **asked.options)
    return found, _fit(tensors, model.state_dict()).is_whole


def _only_one(found: Recognised, asked: _Asked) -> str:
    if asked.architecture in found.architectures:
        return asked.architecture
    if len(found.architectures) > 1:
        raise WeightsError(
            f"tensors that {_alternatives(found)} have alike ({found.source})",
            allowed="one of these, named",
            next_step=f"give --arch {found.architectures[0]}, or which of them it is",
        )
    return found.architectures[0]


def _agreed_classes(found: Recognised, asked: _Asked) -> int:
    if found.num_classes is None and asked.num_classes is None:
        raise WeightsError(
            "tensors without the last layer, whose length is the number of classes",
            allowed="whole networks",
            next_step="give --num-classes and --allow-unmatched for a fresh last layer, to be trained",
        )
    if None not in {found.num_classes, asked.num_classes} and found.num_classes != asked.num_classes:
        raise WeightsError(
            f"a last layer of {found.num_classes} classes, where {asked.num_classes} are asked for",
            allowed=str(found.num_classes),
            next_step="leave out the number of classes; training gives a network a last layer for others",
        )
    return found.num_classes or asked.num_classes or 0


def _refuse_contradicting_options(found: Recognised, options: Mapping[str, OptionValue]) -> None:
    """Raise where an option is asked for that shapes show to be another, now that the tensors do not fit."""
    other = {name: shown for name, shown in found.options.items() if options[name] != shown}
    if other:
        asked = ", ".join(f"{name}={options[name]}" for name in other)
        shown = ", ".join(f"{name}={value}" for name, value in other.items())
        raise WeightsError(
            f"options {asked} are asked for, where the tensors show {shown}",
            allowed=shown,
            next_step=f"leave out {', '.join(other)}: the tensors tell",
        )


def _fit(tensors: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor]) -> _Fit:
    misfits = {}
    for name, tensor in wanted.items():
        if name in tensors:
            given = tensors[name]
            if given.shape != tensor.shape:
                misfits[name] = f"{tuple(given.shape)} instead of {tuple(tensor.shape)}"
            elif tensor.is_floating_point() and not given.is_floating_point():
                misfits[name] = f"{given.dtype} instead of floating numbers"
    absent = [name for name in wanted if name not in tensors]
    return _Fit(
        matched=tuple(name for name in wanted if name in tensors and name not in misfits),
        filled=tuple(name for name in absent if name.endswith(_COUNTER)),
        missing=tuple(name for name in absent if not name.endswith(_COUNTER)),
        misfits=misfits,
        left_over=tuple(name for name in tensors if name not in wanted),
    )


def _precision(tensors: Mapping[str, torch.Tensor]) -> torch.dtype:
    """The narrowest floating type that holds every tensor."""
    floating = {tensor.dtype for tensor in tensors.values() if tensor.is_floating_point()}
    return reduce(torch.promote_types, floating) if floating else torch.float32


def _input(architecture: str, found: Recognised) -> tuple[InputSpec | None, str]:
    row = find_row(architecture).input
    if found.input is not None:
        return found.input, found.input_reason
    if row.channels == found.in_channels:
        return row, found.input_reason or "what its authors trained it on"
    if found.in_channels == 2:
        flow = replace(row, modality="flow", mean=(FLOW_MEAN,) * 2, std=(FLOW_STD,) * 2)
        return flow, "two channels are taken for flow, from -1 to 1"
    return None, ""


def _unmatched(architecture: str, found: Recognised, fit: _Fit, prefix: str) -> WeightsError:
    parts = {
        "missing": fit.missing,
        "left over": [prefix + found.original.get(name, name) for name in fit.left_over],
        "other shape": [f"{prefix}{found.original.get(name, name)} {what}" for name, what in fit.misfits.items()],
    }
    listing = "\n".join(f"  {title} ({len(names)}): {shortened(names)}" for title, names in parts.items() if names)
    total = len(fit.matched) + len(fit.missing) + len(fit.misfits)
    return WeightsError(
        f"{len(fit.matched)} of the {total} tensors of a {architecture} match ({found.source})\n{listing}",
        allowed="every tensor of the network, and no other",
        next_step="name the network with --arch and --option if it is another; "
        "--allow-unmatched takes what matches and leaves the rest fresh",
    )


def _unknown(tensors: Mapping[str, torch.Tensor], foreign: Foreign) -> WeightsError:
    shapes = [f"{name} {tuple(tensor.shape)}" for name, tensor in tensors.items()]
    ndims = {tensor.ndim for tensor in tensors.values()}
    pictures = " (convolutions over pictures, not over clips)" if 4 in ndims and 5 not in ndims else ""
    called = f", called {foreign.arch}" if foreign.arch else ""
    return WeightsError(
        f"tensors of a network unknown to kinema{called}{pictures}: {shortened(shapes)}",
        allowed=f"networks of {_SOURCES}",
        next_step="name it with --arch if the tensors have the names that kinema gives them (kinema models list)",
    )


def _alternatives(found: Recognised) -> str:
    return " or ".join(found.architectures)
