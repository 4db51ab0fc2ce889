"""Networks of the zoo as feature extractors: where one can be tapped, and what is left of it in front."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from kinema.core.errors import UsageError, nearest
from kinema.models.model import VideoModel
from kinema.models.row import ModelRow

__all__ = ["AUTO", "Tap", "build_extractor", "find_tap"]

AUTO = "auto"
"""In place of a stage: the deepest one that leaves enough time steps."""


@dataclass(frozen=True)
class Tap:
    """Where features are taken from a network.

    Attributes:
        stage: of its trunk, the last one to be run.
        channels: C' of the features (N, C', T', H', W').
        time_steps: T' that a clip of the length asked about leaves.
    """

    stage: str
    channels: int
    time_steps: int


def find_tap(row: ModelRow, in_channels: int, stage: str, frames: int, least_time_steps: int) -> Tap:
    """The tap at `stage` of a network, found by running it without memory behind its numbers.

    Args:
        row: the network, with its default options.
        in_channels: channels C of a clip.
        stage: of its trunk, or `AUTO` for the deepest that leaves `least_time_steps`.
        frames: length of a clip.
        least_time_steps: what `AUTO` asks for; a stage that is named may leave fewer.

    Raises:
        UsageError: there is no such stage, or it gives no features (N, C', T', H', W').
    """
    with torch.device("meta"):
        network = row.build(1, in_channels, row.defaults).eval()
        clips = torch.empty(2, in_channels, frames, row.input.size_px, row.input.size_px)
    if stage != AUTO:
        _require_stage(network, stage)
        return _tap(network, clips, stage)
    for name in reversed(tuple(network.trunk)):
        shape = _shape_of_map(network, clips, name)
        if shape[2] >= least_time_steps:
            return _tap(network, clips, name)
    raise UsageError(
        f"no stage of {row.name} leaves {least_time_steps} time steps of {frames} frames",
        allowed=f"tap={' or '.join(network.trunk)}",
        next_step="name the stage, or take another backbone",
    )


def build_extractor(row: ModelRow, in_channels: int, stage: str) -> VideoModel:
    """The network of `row` with fresh random weights, up to `stage` of its trunk and no further."""
    network = row.build(1, in_channels, row.defaults)
    network.truncate(stage)
    return network


def _require_stage(network: VideoModel, stage: str) -> None:
    if stage not in network.trunk:
        raise UsageError(
            f"{network.architecture} cannot be tapped at '{stage}'{nearest(stage, network.trunk)}",
            allowed=", ".join([AUTO, *network.trunk]),
            next_step=f"kinema models show {network.architecture}",
        )


def _tap(network: VideoModel, clips: torch.Tensor, stage: str) -> Tap:
    shape = _shape_of_map(network, clips, stage)
    longer = _shape_of_map(network, torch.cat((clips, clips), dim=2), stage)
    # Axes of another order, or frames that were moved into the batch, show in clips of another length.
    if shape[:2] != longer[:2] or shape[0] != len(clips):
        raise _no_map(network, stage, f"a tensor of shape {shape} for two clips")
    return Tap(stage, shape[1], shape[2])


@torch.no_grad()
def _shape_of_map(network: VideoModel, clips: torch.Tensor, stage: str) -> tuple[int, ...]:
    given: object = network.forward_features(clips, until=stage)
    if not isinstance(given, torch.Tensor):
        raise _no_map(network, stage, "several tensors")
    if given.ndim != 5:
        raise _no_map(network, stage, f"a tensor of shape {tuple(given.shape)} for two clips")
    return tuple(given.shape)


def _no_map(network: VideoModel, stage: str, given: str) -> UsageError:
    return UsageError(
        f"{network.architecture} cannot be a backbone: its stage '{stage}' gives {given}, not one map of features",
        allowed="networks whose stages give features (N, C, T, H, W), such as resnet3d_18 or i3d",
        next_step="choose another backbone",
    )
