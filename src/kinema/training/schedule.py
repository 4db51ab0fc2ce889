"""The learning rate as a function of time: pure, so that a resumed run is on it without replaying it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from kinema.training.config import TrainConfig

__all__ = ["Plateau", "learning_rate"]

_WARMUP_FLOOR = 0.01


def learning_rate(config: TrainConfig, epochs_done: float, *, plateau_factor: float = 1.0) -> float:
    """The learning rate of the next step.

    Args:
        config: peak, schedule, warm-up, milestones.
        epochs_done: fraction of the run in epochs, in [0, epochs); 2.5 is the middle of the third.
        plateau_factor: what `Plateau` has come down to; 1 for other schedules.
    """
    warm = config.warmup * config.epochs
    if epochs_done < warm:
        return config.lr * (_WARMUP_FLOOR + (1 - _WARMUP_FLOOR) * epochs_done / warm)
    if config.schedule == "cosine":
        passed = (epochs_done - warm) / (config.epochs - warm)
        return config.lr * 0.5 * (1 + math.cos(math.pi * min(passed, 1.0)))
    if config.schedule == "multistep":
        return config.lr * config.gamma ** sum(epochs_done >= milestone for milestone in config.milestones)
    return config.lr * plateau_factor


@dataclass
class Plateau:
    """Divides the rate when the validation loss has not fallen for more than `patience` epochs.

    Attributes:
        patience: epochs without a lower loss that are borne.
        gamma: factor of each division.
        factor: product of the factors so far.
        best: lowest loss seen.
        waited: epochs since then.
    """

    patience: int
    gamma: float
    factor: float = 1.0
    best: float = math.inf
    waited: int = 0

    def observe(self, loss: float) -> None:
        """Take note of the validation loss of one epoch."""
        if loss < self.best:
            self.best, self.waited = loss, 0
            return
        self.waited += 1
        if self.waited > self.patience:
            self.factor *= self.gamma
            self.waited = 0

    def remember(self) -> dict[str, float]:
        """What must survive an interruption."""
        return {"factor": self.factor, "best": self.best, "waited": self.waited}

    def restore(self, remembered: dict[str, float]) -> None:
        """Go on from what `remember` gave; an empty dict is the beginning."""
        if remembered:
            self.factor, self.best, self.waited = remembered["factor"], remembered["best"], int(remembered["waited"])
