"""Optimizers as configurations name them, with a learning rate for each stage where they say so."""

from __future__ import annotations

from typing import Any

from torch.optim import SGD, AdamW, Optimizer

from kinema.models.model import VideoModel
from kinema.training.config import TrainConfig
from kinema.training.freezing import head_stage

__all__ = ["build_optimizer", "rate_shares", "set_rate"]

_SHARE = "share"  # key of a group of parameters: its rate as a share of the schedule's


def build_optimizer(model: VideoModel, config: TrainConfig) -> Optimizer:
    """The optimizer of `config` over the parameters of `model` that require gradients.

    SGD decays every parameter, as the published 3D ResNet recipes do; AdamW leaves out biases and
    batch norm (one dimension), as is usual with it. Either is fused unless the configuration says
    otherwise: gradients of 16-mixed are unscaled before the step, which a fused one would do itself.
    The first group of parameters holds the classifier, which has the full rate.
    """
    fused = config.precision != "16-mixed" if config.fused is None else config.fused
    groups = _groups(model, config)
    if config.optimizer == "sgd":
        optimizer: Optimizer = SGD(
            groups,
            lr=config.lr,
            momentum=config.momentum,
            dampening=config.dampening,
            nesterov=config.nesterov,
            fused=fused,
        )
    else:
        optimizer = AdamW(groups, lr=config.lr, fused=fused)
    set_rate(optimizer, config.lr)
    return optimizer


def set_rate(optimizer: Optimizer, rate: float) -> None:
    """Let the classifier learn at `rate` and every other stage at its share of it."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get(_SHARE, 1.0)  # states of earlier versions have none


def rate_shares(model: VideoModel, config: TrainConfig) -> dict[str, float]:
    """The learning rate of each stage as a share of the classifier's.

    `layer_decay` d gives a stage d times the rate of the next one, so stage i of S has d^(S-1-i): the
    layer-wise decay of ELECTRA (Clark et al. 2020, arXiv:2003.10555) and BEiT (Bao et al. 2021,
    arXiv:2106.08254), with stages for their layers. `backbone_lr` gives every stage before the head one share.
    """
    last = len(model.stages) - 1
    head = model.stages.index(head_stage(model, config))
    return {
        stage: config.layer_decay ** (last - number) * (1.0 if number >= head else config.backbone_lr)
        for number, stage in enumerate(model.stages)
    }


def _groups(model: VideoModel, config: TrainConfig) -> list[dict[str, Any]]:
    """The trained parameters in groups that share a rate, a decay and the epoch in which they begin to learn.

    The last because torch's fused SGD wants all of a group to have taken its first step, or none.
    """
    shares = rate_shares(model, config)
    stage_of = {name: stage for stage, names in model.parameters_by_stage().items() for name in names}
    early = set(model.stages[model.stages.index(head_stage(model, config)) :]) if config.head_epochs else set()
    found: dict[tuple[float, bool, bool], list[Any]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            decays = config.optimizer == "sgd" or parameter.ndim > 1
            stage = stage_of[name]
            found.setdefault((shares[stage], stage in early, decays), []).append(parameter)
    return [
        {"params": parameters, "weight_decay": config.weight_decay if decays else 0.0, _SHARE: share}
        for (share, _, decays), parameters in sorted(found.items(), key=lambda item: item[0], reverse=True)
    ]
