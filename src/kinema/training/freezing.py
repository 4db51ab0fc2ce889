"""Which stages of a network a run trains, and from which epoch on.

Stages before the trained ones take no gradient: autograd keeps nothing of them, and a step costs
their forward pass alone. What their batch norms do is a setting of its own (`frozen_batch_norm`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from kinema.core.errors import UsageError, nearest
from kinema.models.model import VideoModel
from kinema.models.recompute import BATCH_NORMS
from kinema.models.zoo import create_model
from kinema.training.config import TrainConfig

__all__ = [
    "HEAD",
    "Phase",
    "describe_phase",
    "describe_training",
    "enter_phase",
    "head_stage",
    "phase_at",
    "plan_phases",
    "trained_share",
]

HEAD = "head"
"""Instead of a stage's name: the first of the stages that make logits of the trunk's features."""

_LISTED = 5  # stages that a line names one by one


@dataclass(frozen=True)
class Phase:
    """What is trained from one epoch on.

    Attributes:
        first_epoch: epochs finished when it begins.
        start: the first stage that is trained.
    """

    first_epoch: int
    start: str


def plan_phases(network: VideoModel, config: TrainConfig) -> tuple[Phase, ...]:
    """What `config` trains of `network`, by the epoch it begins in; the first begins with the run.

    Raises:
        UsageError: a stage that the network does not have, or a head that begins before what is trained at all.
    """
    start = _stage(network, "train_from", config.train_from) if config.train_from else network.stages[0]
    head = head_stage(network, config)
    if config.head_epochs == 0:
        return (Phase(0, start),)
    if network.stages.index(head) < network.stages.index(start):
        raise UsageError(
            f"head_from '{head}' lies before train_from '{start}', where nothing is trained",
            allowed=f"head_from {', '.join(network.stages[network.stages.index(start) :])}",
            next_step="leave out head_epochs and head_from, or train from an earlier stage",
        )
    return (Phase(0, head), Phase(config.head_epochs, start))


def head_stage(network: VideoModel, config: TrainConfig) -> str:
    """The stage that the head begins with.

    Raises:
        UsageError: a stage that the network does not have.
    """
    return _stage(network, "head_from", config.head_from or HEAD)


def phase_at(phases: Sequence[Phase], epoch: int) -> Phase:
    """The phase that the epoch after `epoch` finished ones belongs to."""
    return [phase for phase in phases if phase.first_epoch <= epoch][-1]


def enter_phase(network: VideoModel, phase: Phase, config: TrainConfig) -> bool:
    """Freeze and thaw what `phase` says; whether that changed anything."""
    wanted = set(network.stages[network.stages.index(phase.start) :])
    if {stage for stage, trained in _trained(network).items() if trained} == wanted & set(_trained(network)):
        return False
    network.freeze(phase.start, statistics=config.frozen_batch_norm == "hold")
    return True


def trained_share(network: VideoModel) -> tuple[int, int]:
    """How many parameters are trained, and how many there are."""
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in network.parameters()]
    return sum(size for size, trained in sizes if trained), sum(size for size, _ in sizes)


def describe_phase(network: VideoModel, config: TrainConfig) -> str:
    """One line: how many parameters are trained, of which stages, and what the batch norms before them do."""
    trained, count = trained_share(network)
    if trained == count:
        return f"trains all {_millions(count)} parameters"
    by_stage = _trained(network)
    stages = [stage for stage, any_trained in by_stage.items() if any_trained]
    named = ", ".join(stages) if len(stages) <= _LISTED else f"{stages[0]} to {stages[-1]}"
    modules = network.modules_by_stage()
    before = [name for stage, any_trained in by_stage.items() if not any_trained for name in modules[stage]]
    norms = any(isinstance(module, BATCH_NORMS) for name in before for module in network.get_submodule(name).modules())
    still = "hold still" if config.frozen_batch_norm == "hold" else "move on"
    return f"trains {_of(trained, count)} parameters: {named}" + (f"; batch norms before it {still}" if norms else "")


def describe_training(config: TrainConfig, num_classes: int) -> str:
    """What a run trains, as its weights and its report say it."""
    with torch.device("meta"):
        network = create_model(config.model, num_classes, config.input_spec.channels, **config.model_options)
    phases = plan_phases(network, config)
    told = []
    for phase in phases:
        enter_phase(network, phase, config)
        told.append(describe_phase(network, config).removeprefix("trains "))
    return told[0] if len(told) == 1 else f"{told[0]}; after {config.head_epochs} epochs {told[1]}"


def _trained(network: VideoModel) -> dict[str, bool]:
    """Whether each stage with parameters is trained."""
    return {
        stage: any(network.get_parameter(name).requires_grad for name in names)
        for stage, names in network.parameters_by_stage().items()
        if names
    }


def _stage(network: VideoModel, setting: str, name: str) -> str:
    if name in network.stages:
        return name
    if name == HEAD:
        return network.top[0]
    raise UsageError(
        f"{setting} '{name}': {network.architecture or type(network).__name__} has no such stage"
        f"{nearest(name, network.stages)}",
        allowed=", ".join(dict.fromkeys((*network.stages, HEAD))),
        next_step=f"kinema models show {network.architecture}",
    )


_MILLION = 1_000_000


def _millions(count: int) -> str:
    return f"{count / _MILLION:.1f} million" if count >= _MILLION else f"{count:,}"


def _of(part: int, whole: int) -> str:
    """8.4 of 33.2 million; in full what would be rounded away."""
    alike = part >= _MILLION / 10 and whole >= _MILLION
    return f"{part / _MILLION:.1f} of {_millions(whole)}" if alike else f"{part:,} of {_millions(whole)}"
