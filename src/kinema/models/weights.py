"""kinema's weights file: one .safetensors file whose header says what the numbers are.

The tensors carry the network's own names. The header's metadata holds one entry, `kinema`, a JSON
object with sorted keys: `format` (this version: 1) and `card` (a `ModelCard`). One entry and
sorted keys because the same model saved twice must give the same bytes. Nothing is pickled, so
opening a file runs no code.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import torch
from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from kinema.core.atomic import replacing
from kinema.core.errors import DataError, KinemaError, UsageError, WeightsError, shortened
from kinema.core.labels import LabelMap
from kinema.core.spec import InputSpec
from kinema.models.dymsta import IN_BACKBONE, DymstaNet
from kinema.models.model import Option, OptionValue, VideoModel
from kinema.models.sniff import what_is
from kinema.models.zoo import create_model, full_options

__all__ = [
    "HeadChange",
    "LoadReport",
    "ModelCard",
    "Weights",
    "fresh_notes",
    "load_backbone",
    "load_extractor",
    "load_model",
    "load_weights",
    "read_card",
    "replace_head",
    "save_weights",
]

_ENTRY = "kinema"
_FORMAT: Final = 1


@dataclass(frozen=True)
class ModelCard:
    """What a weights file says about its tensors.

    Attributes:
        architecture: a name of the zoo.
        options: options of that architecture; those not given have their defaults.
        in_channels: channels C of a clip.
        labels: the K classes.
        input: what the network expects to be fed.
        provenance: where the numbers come from: recipe, data fingerprint, split rule, licence,
            version of kinema, date.
        metrics: measured results, each with the `protocol` that gave it (split, level, views).
    """

    architecture: str
    options: dict[str, OptionValue]
    in_channels: int
    labels: LabelMap
    input: InputSpec
    provenance: dict[str, JsonValue]
    metrics: tuple[dict[str, JsonValue], ...] = ()

    def __post_init__(self) -> None:
        if self.in_channels != self.input.channels:
            raise UsageError(
                f"a network of {self.in_channels} channels fed with {self.input.channels} ({self.input.modality})",
                allowed="as many channels as the input has",
            )
        for metric in self.metrics:
            if not metric.get("protocol"):
                raise UsageError(
                    f"a metric without its protocol: {metric}", allowed="metrics that say how they were measured"
                )


@dataclass(frozen=True)
class Weights:
    """A network as read from a file, in evaluation mode on the CPU, and what the file says about it."""

    model: VideoModel
    card: ModelCard


@dataclass(frozen=True)
class HeadChange:
    """What `replace_head` exchanged.

    Attributes:
        heads: names of the submodules that are new.
        classes_before: how many classes the old ones told apart.
        classes: how many the new ones do.
    """

    heads: tuple[str, ...]
    classes_before: int
    classes: int

    def __str__(self) -> str:
        return f"{', '.join(self.heads)}: new weights for {self.classes} classes in place of {self.classes_before}"


@dataclass(frozen=True)
class LoadReport:
    """What `load_backbone` or `load_extractor` took from a file.

    Attributes:
        path: the file.
        matched: names of the tensors taken.
        fresh: names of the model's tensors left as they were, being of a head for other classes or
            of what follows an extractor.
        differing_options: options of the file that the model does not share, such as
            "max_pool: True in the file, False here".
        unused: names of the file's tensors that an extractor has no place for, being behind its tap.
        differing_input: what the file's network was fed with and this one will not be, such as
            "value_range: 255 in the file, 1 here"; empty where that was not asked for.
    """

    path: Path
    matched: tuple[str, ...]
    fresh: tuple[str, ...]
    differing_options: tuple[str, ...]
    unused: tuple[str, ...] = ()
    differing_input: tuple[str, ...] = ()

    def __str__(self) -> str:
        head = f"; new: {shortened(list(self.fresh))}" if self.fresh else ""
        unused = f"; behind the tap: {shortened(list(self.unused))}" if self.unused else ""
        options = f"; {'; '.join(self.differing_options)}" if self.differing_options else ""
        fed = f"; fed otherwise: {'; '.join(self.differing_input)}" if self.differing_input else ""
        return f"{len(self.matched)} tensors from {self.path}{head}{unused}{options}{fed}"


class _Header(BaseModel):
    """The JSON of the header entry, checked as something that anybody may have written."""

    model_config = ConfigDict(extra="forbid", strict=True)

    format: Literal[1]
    card: ModelCard


def save_weights(path: Path | str, model: VideoModel, card: ModelCard) -> None:
    """Write `model` and `card` to `path`, whole or not at all; same model and card, same bytes.

    Args:
        path: the file, by custom ending in `.safetensors`.
        model: a network of the zoo, on any device.
        card: what it is. Options not given are written with their defaults.

    Raises:
        WeightsError: the card does not describe this model, so the file could not be read back.
        UsageError: the card names an unknown architecture or option.
        DataError: the folder cannot be written to, or has no room.
    """
    options = full_options(card.architecture, card.options)
    expected = _bare_model(card).state_dict()
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    _require_fit(f"a model described as {card.architecture}", tensors, expected)
    header = _Header(format=_FORMAT, card=card).model_dump(mode="json")
    header["card"]["options"] = options
    try:
        text = json.dumps(header, sort_keys=True, ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise WeightsError(
            f"cannot write {path}: a number of its card is infinite or not a number",
            allowed="finite numbers in provenance and metrics",
        ) from error
    with replacing(path) as beside:
        try:
            save_file(tensors, beside, metadata={_ENTRY: text})
        except SafetensorError as error:
            raise DataError(
                f"cannot write {path}: {error}",
                allowed=f"room for {sum(tensor.nbytes for tensor in tensors.values()) // 2**20 + 1} MiB",
                next_step="free some space, or choose another place with --out",
            ) from error


def read_card(path: Path | str) -> ModelCard:
    """What the weights file at `path` says about itself; reads its header only.

    Raises:
        WeightsError: there is no such file, or it is none of kinema's; the message says what it is.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = sorted(file.keys())
    except (OSError, SafetensorError) as error:
        what, next_step = what_is(Path(path))
        raise WeightsError(f"{path} is {what}", allowed="a weights file of kinema", next_step=next_step) from error
    if _ENTRY not in metadata:
        entries = ", ".join(sorted(metadata)) or "none"
        raise WeightsError(
            f"{path} is a safetensors file of another program; tensors: {shortened(tensors)}; "
            f"header entries: {entries}",
            allowed=f"weights whose header has the entry '{_ENTRY}'",
            next_step=f"kinema models convert {path} -o OUT.safetensors",
        )
    try:
        return _Header.model_validate_json(metadata[_ENTRY]).card
    except ValidationError as error:
        raise _bad_header(path, error) from error
    except KinemaError as error:
        raise WeightsError(
            f"the header of {path} contradicts itself: {error.given}",
            allowed=error.allowed,
            next_step="get the file again, or write it again from its source",
        ) from error


def load_weights(path: Path | str, *, dtype: torch.dtype = torch.float32) -> Weights:
    """Read a network and its card.

    Args:
        path: a weights file of kinema.
        dtype: floating precision of the network, whatever precision the file stores.

    Returns:
        The network in evaluation mode, on the CPU.

    Raises:
        WeightsError: the file is none of kinema's, or its tensors do not fit its own card.
    """
    card = read_card(path)
    tensors = _read_tensors(path)
    try:
        model = _bare_model(card)
    except UsageError as error:
        raise WeightsError(
            f"{path} asks for what this kinema cannot build: {error.given}",
            allowed=error.allowed,
            next_step="use the version of kinema that wrote the file, or a newer one",
        ) from error
    _require_fit(str(path), tensors, model.state_dict())
    model.to(dtype).to_empty(device="cpu").load_state_dict(tensors)
    return Weights(model.eval(), card)


def load_model(path: Path | str, *, dtype: torch.dtype = torch.float32) -> VideoModel:
    """The bare network of a weights file, in evaluation mode; arguments and errors as for `load_weights`."""
    return load_weights(path, dtype=dtype).model


def replace_head(model: VideoModel, num_classes: int) -> HeadChange:
    """Give `model` fresh heads for `num_classes` classes, in place, on the device and in the dtype of the old.

    Returns:
        What was exchanged, to be told to whoever asked.

    Raises:
        UsageError: fewer than one class.
    """
    Option("num_classes", int, "", low=1).check(num_classes)
    before: list[int] = []
    for name in model.heads:
        old = model.get_submodule(name)
        bias = old.bias is not None
        new: nn.Module
        if isinstance(old, nn.Linear):
            new = nn.Linear(old.in_features, num_classes, bias=bias)
        elif isinstance(old, nn.Conv3d):
            kernel = (old.kernel_size[0], old.kernel_size[1], old.kernel_size[2])
            new = nn.Conv3d(old.in_channels, num_classes, kernel, bias=bias)
        else:
            raise TypeError(f"head {name} is a {type(old).__name__}, neither Linear nor Conv3d")
        before.append(len(old.weight))
        model.set_submodule(name, new.to(device=old.weight.device, dtype=old.weight.dtype))
    return HeadChange(model.heads, before[0], num_classes)


def fresh_notes(card: ModelCard) -> tuple[str, ...]:
    """One sentence where layers were left fresh when the weights were converted, or none."""
    fresh = _fresh_tensors(card)
    if not fresh:
        return ()
    told = f"{shortened(fresh)} had no values when the weights were converted, and are random"
    return (f"{told}: train the network before its answers are believed",)


def load_backbone(model: VideoModel, path: Path | str, labels: LabelMap, *, fed: InputSpec | None = None) -> LoadReport:
    """Start `model` from the weights at `path`; its heads stay fresh where the classes differ, or the file's are.

    Args:
        model: a network made by `create_model`.
        path: weights of the same architecture, or of the one that is the backbone of a `dymsta`.
        labels: the classes that `model` is to tell apart. A head made for others, or for as many
            whose names are unknown, is not taken.
        fed: what `model` will be fed, to be compared with what the file's network was.

    Raises:
        WeightsError: the file is none of kinema's, holds another architecture, or differs in
            another tensor than the heads; nothing has been loaded then.
    """
    card = read_card(path)
    if isinstance(model, DymstaNet) and card.architecture == model.backbone.architecture:
        return load_extractor(model, path, fed=fed)
    _require_architecture(path, card, model)
    tensors = _read_tensors(path)
    own = model.state_dict()
    of_heads = [name for name in own if name.startswith(tuple(f"{head}." for head in model.heads))]
    if card.labels.is_known and card.labels == labels:
        of_heads = [name for name in of_heads if name in _fresh_tensors(card)]
    fresh = tuple(of_heads)
    taken = {name: tensor for name, tensor in tensors.items() if name not in fresh}
    _require_fit(str(path), taken, {name: tensor for name, tensor in own.items() if name not in fresh})
    model.load_state_dict(taken, strict=False)
    return LoadReport(
        Path(path),
        matched=tuple(sorted(taken)),
        fresh=fresh,
        differing_options=_differing_options(card, model),
        differing_input=_differing_input(card, fed),
    )


def load_extractor(model: DymstaNet, path: Path | str, *, fed: InputSpec | None = None) -> LoadReport:
    """Start the extractor of `model` from weights of the whole network that it is the front of.

    Args:
        model: a `dymsta` made by `create_model`.
        path: weights of the architecture that is its `backbone`, made for whatever classes.
        fed: as for `load_backbone`.

    Raises:
        WeightsError: the file is none of kinema's, holds another architecture, does not fit its own
            card, or differs in a tensor in front of the tap; nothing has been loaded then.
    """
    card = read_card(path)
    _require_architecture(path, card, model.backbone)
    tensors = _read_tensors(path)
    _require_fit(str(path), tensors, _bare_model(card).state_dict())
    own = model.backbone.state_dict()
    taken = {name: tensor for name, tensor in tensors.items() if name in own}
    _require_fit(f"{path} up to {list(model.backbone.trunk)[-1]}", taken, own)
    model.backbone.load_state_dict(taken)
    return LoadReport(
        Path(path),
        matched=tuple(sorted(taken)),
        fresh=tuple(name for name in model.state_dict() if not name.startswith(IN_BACKBONE)),
        differing_options=_differing_options(card, model.backbone),
        unused=tuple(sorted(tensors.keys() - own.keys())),
        differing_input=_differing_input(card, fed),
    )


def _fresh_tensors(card: ModelCard) -> list[str]:
    """Names of the tensors that a conversion found no values for."""
    fresh = card.provenance.get("fresh_tensors")
    return [str(name) for name in fresh] if isinstance(fresh, list) else []


def _require_architecture(path: Path | str, card: ModelCard, model: VideoModel) -> None:
    if card.architecture != model.architecture:
        raise WeightsError(
            f"{path} holds a {card.architecture}, the network is a {model.architecture}",
            allowed=f"weights of a {model.architecture}",
            next_step=f"choose the model {card.architecture}, or other weights",
        )


def _differing_options(card: ModelCard, model: VideoModel) -> tuple[str, ...]:
    theirs = full_options(card.architecture, card.options)
    return tuple(
        f"{name}: {theirs[name]} in the file, {value} here"
        for name, value in model.options.items()
        if theirs[name] != value
    )


def _differing_input(card: ModelCard, fed: InputSpec | None) -> tuple[str, ...]:
    differing = card.input.differences(fed) if fed is not None else {}
    return tuple(f"{name}: {theirs} in the file, {ours} here" for name, (theirs, ours) in differing.items())


def _bad_header(path: Path | str, error: ValidationError) -> WeightsError:
    problems = [f"{'.'.join(map(str, problem['loc'])) or 'header'}: {problem['msg']}" for problem in error.errors()]
    if any(problem["loc"] == ("format",) and problem["type"] == "literal_error" for problem in error.errors()):
        next_step = f"update kinema: this one reads format {_FORMAT}"
    else:
        next_step = "get the file again, or write it again from its source"
    return WeightsError(
        f"the header of {path} is not as kinema writes it: {shortened(problems)}",
        allowed="an unaltered weights file of kinema",
        next_step=next_step,
    )


def _bare_model(card: ModelCard) -> VideoModel:
    """The network of a card without memory behind its parameters: nothing to initialise, no random draw."""
    with torch.device("meta"):
        return create_model(card.architecture, card.labels.count, card.in_channels, **card.options)


def _read_tensors(path: Path | str) -> dict[str, torch.Tensor]:
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  it is no mapping


def _require_fit(what: str, given: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor]) -> None:
    missing = [name for name in wanted if name not in given]
    left_over = [name for name in given if name not in wanted]
    misshapen = [
        f"{name} {tuple(given[name].shape)} instead of {tuple(wanted[name].shape)}"
        for name in wanted
        if name in given and given[name].shape != wanted[name].shape
    ]
    if not (missing or left_over or misshapen):
        return
    matched = len(wanted) - len(missing) - len(misshapen)
    parts = [("missing", missing), ("left over", left_over), ("other shape", misshapen)]
    listing = "\n".join(f"  {title} ({len(names)}): {shortened(names)}" for title, names in parts if names)
    raise WeightsError(
        f"{what}: the tensors do not fit; {matched} of {len(wanted)} match\n{listing}",
        allowed="every tensor of the network, and no other",
        next_step="check the architecture, its options, the channels and the number of classes",
    )
