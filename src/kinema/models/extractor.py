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
    if stage != AUTO:
        _require_stage(network, stage)
        return _tap(network, row, in_channels, stage, frames)
    for name in reversed(tuple(network.trunk)):
        tap = _tap(network, row, in_channels, name, frames)
        if tap.time_steps >= least_time_steps:
            return tap
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


@torch.no_grad()
def _tap(network: VideoModel, row: ModelRow, in_channels: int, stage: str, frames: int) -> Tap:
    def features(length: int) -> object:
        clips = torch.empty(2, in_channels, length, row.input.size_px, row.input.size_px, device="meta")
        return network.forward_features(clips, until=stage)

    given = features(frames)
    if not isinstance(given, torch.Tensor) or given.ndim != 5:
        raise _no_map(row, stage, given)
    twice = features(2 * frames)
    # Axes of another order, or frames that were moved into the batch, show in clips of another length.
    if not isinstance(twice, torch.Tensor) or given.shape[:2] != twice.shape[:2] or len(given) != 2:
        raise _no_map(row, stage, given)
    return Tap(stage, given.shape[1], given.shape[2])


def _no_map(row: ModelRow, stage: str, given: object) -> UsageError:
    what = f"a tensor of shape {tuple(given.shape)} for two clips" if isinstance(given, torch.Tensor) else "several"
    return UsageError(
        f"{row.name} cannot be a backbone: its stage '{stage}' gives {what}, not one map of features",
        allowed="networks whose stages give features (N, C, T, H, W), such as resnet3d_18 or i3d",
        next_step="choose another backbone",
    )
