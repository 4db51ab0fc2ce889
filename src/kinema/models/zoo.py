"""Every network kinema can build: one row a variant, and the functions that read the table."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from kinema.core.errors import UsageError, nearest
from kinema.core.spec import InputSpec
from kinema.models import resnet3d
from kinema.models.model import Option, OptionValue, VideoModel
from kinema.models.resnet3d import BasicBlock, Bottleneck, ResNet3d

__all__ = [
    "TABLE_CLASSES",
    "ModelDescription",
    "ModelRow",
    "StageDescription",
    "create_model",
    "describe",
    "find_row",
    "full_options",
    "list_models",
]

TABLE_CLASSES = 400
"""The number of classes K behind the `parameters` of a row: Kinetics-400, as papers count."""


@dataclass(frozen=True)
class ModelRow:
    """One variant of a family.

    Attributes:
        name: what a user types.
        builder: the family, called with `arguments`, `num_classes`, `in_channels` and the options.
        arguments: what makes this variant, such as its depth; not for users to change.
        options: what users may change.
        parameters: learnable numbers with 400 classes and default options.
        gflops: 10⁹ operations of one clip of `input`, a multiplication and an addition counted as two.
        paper: where it was published, in one short line.
        input: what it was made for; any other length and size work too.
    """

    name: str
    builder: Callable[..., VideoModel]
    arguments: Mapping[str, Any]
    options: tuple[Option, ...]
    parameters: int
    gflops: float
    paper: str
    input: InputSpec

    @property
    def defaults(self) -> dict[str, OptionValue]:
        """Each option with the value that it has in the builder's signature."""
        signature = inspect.signature(self.builder).parameters
        return {option.name: signature[option.name].default for option in self.options}

    def to_json(self) -> dict[str, Any]:
        """What `kinema models list --json` writes of it."""
        return {
            "name": self.name,
            "parameters": self.parameters,
            "gflops": self.gflops,
            "num_classes": TABLE_CLASSES,
            "input": asdict(self.input),
            "paper": self.paper,
        }


@dataclass(frozen=True)
class StageDescription:
    """One stage of a network.

    Attributes:
        name: its submodule.
        shape: what that submodule gives for one clip, without the batch: (C, T, H, W) or (K,).
        parameters: learnable numbers from its first to before the next stage's first.
    """

    name: str
    shape: tuple[int, ...]
    parameters: int


@dataclass(frozen=True)
class ModelDescription:
    """What `kinema models show` tells about a network as built.

    Attributes:
        row: its row in the table.
        values: every option with its value.
        num_classes: K.
        clip_shape: (C, T, H, W) of the clip that was counted with.
        parameters: learnable numbers.
        gflops: 10⁹ operations of one such clip, multiplications and additions counted apart.
        stages: from the clip to the logits.
    """

    row: ModelRow
    values: Mapping[str, OptionValue]
    num_classes: int
    clip_shape: tuple[int, ...]
    parameters: int
    gflops: float
    stages: tuple[StageDescription, ...]

    def to_json(self) -> dict[str, Any]:
        """What `kinema models show --json` writes of it."""
        options = [
            {
                "name": option.name,
                "value": self.values[option.name],
                "allowed": option.allowed,
                "summary": option.summary,
            }
            for option in self.row.options
        ]
        return {
            "name": self.row.name,
            "parameters": self.parameters,
            "gflops": self.gflops,
            "num_classes": self.num_classes,
            "clip_shape": self.clip_shape,
            "input": asdict(self.row.input),
            "paper": self.row.paper,
            "stages": [asdict(stage) for stage in self.stages],
            "options": options,
        }


_HARA_2018 = "Hara et al. 2018, arXiv:1711.09577"
_CLIP_16X112 = InputSpec()


def _resnet3d(
    depth: int, block: type[BasicBlock | Bottleneck], depths: tuple[int, ...], parameters: int, gflops: float
) -> ModelRow:
    arguments = {"block": block, "depths": depths}
    name = f"resnet3d_{depth}"
    return ModelRow(name, ResNet3d, arguments, resnet3d.OPTIONS, parameters, gflops, _HARA_2018, _CLIP_16X112)


_ROWS = (
    _resnet3d(10, BasicBlock, (1, 1, 1, 1), parameters=14_604_624, gflops=11.31),
    _resnet3d(18, BasicBlock, (2, 2, 2, 2), parameters=33_409_104, gflops=16.62),
    _resnet3d(34, BasicBlock, (3, 4, 6, 3), parameters=63_718_736, gflops=25.39),
    _resnet3d(50, Bottleneck, (3, 4, 6, 3), parameters=47_018_576, gflops=20.14),
    _resnet3d(101, Bottleneck, (3, 4, 23, 3), parameters=86_064_720, gflops=27.78),
    _resnet3d(152, Bottleneck, (3, 8, 36, 3), parameters=118_223_440, gflops=37.22),
    _resnet3d(200, Bottleneck, (3, 24, 36, 3), parameters=127_423_056, gflops=51.61),
)


def _by_name(rows: tuple[ModelRow, ...]) -> dict[str, ModelRow]:
    table = {row.name: row for row in rows}
    if len(table) < len(rows):
        raise ValueError("the zoo has two rows of one name")
    return table


_ZOO = _by_name(_ROWS)


def list_models() -> list[str]:
    """The names that `create_model` takes, sorted."""
    return sorted(_ZOO)


def find_row(name: str) -> ModelRow:
    """The row of the model called `name`; UsageError with the nearest name when there is none."""
    if name not in _ZOO:
        raise UsageError(
            f"no model named '{name}'{nearest(name, _ZOO)}",
            allowed=", ".join(list_models()),
            next_step="kinema models list",
        )
    return _ZOO[name]


def full_options(name: str, options: Mapping[str, object]) -> dict[str, OptionValue]:
    """Every option of model `name` with its value: the one in `options`, checked, or else the default.

    Raises:
        UsageError: an unknown model or option (the nearest is named), or a value that is not allowed.
    """
    row = find_row(name)
    known = {option.name: option for option in row.options}
    for given in options:
        if given not in known:
            raise UsageError(
                f"{name} has no option '{given}'{nearest(given, known)}",
                allowed=", ".join(known),
                next_step=f"kinema models show {name}",
            )
    chosen = {given: known[given].check(value) for given, value in options.items()}
    return {**row.defaults, **chosen}


def create_model(name: str, num_classes: int, in_channels: int = 3, **options: object) -> VideoModel:
    """Build a network with fresh random weights.

    Args:
        name: one of `list_models()`.
        num_classes: K, the length of its logits.
        in_channels: channels C of its clips (N, C, T, H, W): 3 for RGB, 2 for optical flow.
        **options: those of the family, such as `shortcut="A"`; see `describe(name)`.

    Returns:
        The network in training mode, float32; it knows its `architecture` and complete `options`.

    Raises:
        UsageError: an unknown model or option (the nearest is named), or a value that is not allowed.
    """
    row = find_row(name)
    values = full_options(name, options)
    classes = Option("num_classes", int, "", low=1).check(num_classes)
    channels = Option("in_channels", int, "", low=1).check(in_channels)
    model = row.builder(**row.arguments, num_classes=classes, in_channels=channels, **values)
    model.architecture = name
    model.options = values
    return model


def describe(
    name: str, num_classes: int = TABLE_CLASSES, in_channels: int | None = None, **options: object
) -> ModelDescription:
    """Shapes, parameters and cost of a model at its row's input, found without allocating its weights.

    Args:
        name: one of `list_models()`.
        num_classes: K.
        in_channels: channels of a clip; None takes those of the row's input.
        **options: as for `create_model`.

    Raises:
        UsageError: as for `create_model`.
    """
    row = find_row(name)
    channels = row.input.channels if in_channels is None else in_channels
    clip_shape = (channels, row.input.time_steps, row.input.size_px, row.input.size_px)
    with torch.device("meta"):  # shapes only: the deepest model is described in half a second
        model = create_model(name, num_classes, channels, **options).eval()
        clips = torch.empty(1, *clip_shape)
    shapes: dict[str, tuple[int, ...]] = {}

    def remember(stage: str) -> None:
        model.get_submodule(stage).register_forward_hook(
            lambda _module, _inputs, output: shapes.update({stage: tuple(output.shape[1:])})
        )

    for stage in model.stages:
        remember(stage)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(clips)
    sizes = {key: parameter.numel() for key, parameter in model.named_parameters()}
    stages = tuple(
        StageDescription(stage, shapes[stage], sum(sizes[key] for key in keys))
        for stage, keys in model.parameters_by_stage().items()
    )
    return ModelDescription(
        row=row,
        values=model.options,
        num_classes=num_classes,
        clip_shape=clip_shape,
        parameters=sum(sizes.values()),
        gflops=counter.get_total_flops() / 1e9,
        stages=stages,
    )
