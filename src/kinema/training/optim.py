"""Optimizers as configurations name them."""

from __future__ import annotations

from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from kinema.training.config import TrainConfig

__all__ = ["build_optimizer"]


def build_optimizer(model: nn.Module, config: TrainConfig) -> Optimizer:
    """The optimizer of `config` over the parameters of `model` that require gradients.

    SGD decays every parameter, as the published 3D ResNet recipes do; AdamW leaves out biases and
    batch norm (one dimension), as is usual with it. Either is fused unless the configuration says
    otherwise: gradients of 16-mixed are unscaled before the step, which a fused one would do itself.
    """
    fused = config.precision != "16-mixed" if config.fused is None else config.fused
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if config.optimizer == "sgd":
        return SGD(
            trained,
            lr=config.lr,
            momentum=config.momentum,
            dampening=config.dampening,
            nesterov=config.nesterov,
            weight_decay=config.weight_decay,
            fused=fused,
        )
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return AdamW(groups, lr=config.lr, fused=fused)
