"""Every network kinema can build: the families' rows in one table, and the functions that read it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from kinema.core.errors import UsageError, nearest
from kinema.models import (
    bottleneck_resnet,
    c3d,
    cnn_lstm,
    densenet3d,
    dymsta,
    i3d,
    preact_resnet3d,
    resnet2p1d,
    resnet3d,
    resnext3d,
    slowfast,
    torchvision_video,
    two_stream,
    wide_resnet3d,
    x3d,
)
from kinema.models.model import Option, OptionValue, VideoModel
from kinema.models.row import TABLE_CLASSES, ModelRow

__all__ = [
    "ModelDescription",
    "StageDescription",
    "create_model",
    "describe",
    "find_row",
    "full_options",
    "list_families",
    "list_models",
]


@dataclass(frozen=True)
class StageDescription:
    """One stage of a network.

    Attributes:
        name: what `VideoModel.freeze` takes.
        shapes: of what it gives for one clip, without the batch: (C, T, H, W) or (K,); one for
            each stream that leaves it.
        parameters: its learnable numbers.
    """

    name: str
    shapes: tuple[tuple[int, ...], ...]
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


_BACKBONES: dict[str, tuple[ModelRow, ...]] = {
    "3D ResNet": resnet3d.ROWS,
    "R(2+1)D": resnet2p1d.ROWS,
    "Pre-activation 3D ResNet": preact_resnet3d.ROWS,
    "Wide 3D ResNet": wide_resnet3d.ROWS,
    "3D ResNeXt": resnext3d.ROWS,
    "3D DenseNet": densenet3d.ROWS,
    "C3D": c3d.ROWS,
    "I3D": i3d.ROWS,
    "CNN and LSTM": cnn_lstm.ROWS,
    "Two streams": two_stream.ROWS,
    "torchvision's networks": torchvision_video.ROWS,
    "PyTorchVideo's residual networks": bottleneck_resnet.ROWS,
    "SlowFast": slowfast.ROWS,
    "X3D": x3d.ROWS,
}


def _by_name(rows: Iterable[ModelRow]) -> dict[str, ModelRow]:
    table: dict[str, ModelRow] = {}
    for row in rows:
        if row.name in table:
            raise ValueError("the zoo has two rows of one name")
        table[row.name] = row
    return table


_FAMILIES = {**_BACKBONES, "DyMSTA-Net": dymsta.rows(_by_name(chain.from_iterable(_BACKBONES.values())))}
_ZOO = _by_name(chain.from_iterable(_FAMILIES.values()))


def list_families() -> dict[str, tuple[ModelRow, ...]]:
    """The rows of every family, by its title."""
    return dict(_FAMILIES)


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


def create_model(name: str, num_classes: int, in_channels: int | None = None, **options: object) -> VideoModel:
    """Build a network with fresh random weights.

    Args:
        name: one of `list_models()`.
        num_classes: K, the length of its logits.
        in_channels: channels C of its clips (N, C, T, H, W): 3 for RGB, 2 for optical flow, 5 for
            both; None takes those of the input it was made for.
        **options: those of the family, such as `shortcut="A"`; see `describe(name)`.

    Returns:
        The network in training mode, float32; it knows its `architecture` and complete `options`.

    Raises:
        UsageError: an unknown model or option (the nearest is named), or a value that is not allowed.
    """
    row = find_row(name)
    values = full_options(name, options)
    classes = Option("num_classes", int, "", low=1).check(num_classes)
    wanted = row.input.channels if in_channels is None else in_channels
    channels = Option("in_channels", int, "", low=1).check(wanted)
    return row.build(int(classes), int(channels), values)


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
    shapes: dict[str, tuple[tuple[int, ...], ...]] = {}

    def remember(stage: str, last_module: str) -> None:
        def hook(_module: object, _inputs: object, output: torch.Tensor | Sequence[torch.Tensor]) -> None:
            given = (output,) if isinstance(output, torch.Tensor) else output
            streams = (stream for stream in given if isinstance(stream, torch.Tensor))  # some give sizes as well
            shapes[stage] = tuple(tuple(stream.shape[1:]) for stream in streams)

        model.get_submodule(last_module).register_forward_hook(hook)

    for stage, modules in model.modules_by_stage().items():
        remember(stage, modules[-1])
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
