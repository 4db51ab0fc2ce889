"""The learning rate as a function of time: pure, so that a resumed run is on it without replaying it.

Time is counted in epochs, or, where a run is given its `total_steps`, in steps of the optimizer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from kinema.training.config import TrainConfig

__all__ = ["Plateau", "Timetable", "learning_rate"]

_WARMUP_FLOOR = 0.01
_LEAST_FALL = 1e-4  # of a loss, as a share of the lowest: the threshold of torch's ReduceLROnPlateau


@dataclass(frozen=True)
class Timetable:
    """How long a run is, and where in it a step lies.

    Attributes:
        config: `epochs` or `total_steps`, and the schedule.
        full: optimizer steps of a whole epoch.
    """

    config: TrainConfig
    full: int

    @property
    def epochs(self) -> int:
        """Epochs of the run; with `total_steps`, the last may be a short one."""
        steps = self.config.total_steps
        return self.config.epochs if steps is None else math.ceil(steps / self.full)

    def steps(self, epoch: int) -> int:
        """Steps of the epoch after `epoch` finished ones."""
        steps = self.config.total_steps
        return self.full if steps is None else min(self.full, steps - epoch * self.full)

    def rate(self, epoch: int, step: int, *, plateau_factor: float = 1.0) -> float:
        """The learning rate of the next step, after `epoch` finished epochs and `step` steps of the running one."""
        steps = epoch * self.full + step
        done = steps if self.config.total_steps is not None else epoch + step / self.full
        return learning_rate(self.config, done, plateau_factor=plateau_factor)


def learning_rate(config: TrainConfig, done: float, *, plateau_factor: float = 1.0) -> float:
    """The learning rate of the next step.

    Args:
        config: peak, schedule, warm-up, milestones.
        done: what lies behind it, in [0, length): epochs (2.5 is the middle of the third), or optimizer steps
            where the run has `total_steps`.
        plateau_factor: what `Plateau` has come down to; 1 for other schedules.
    """
    length = config.total_steps or config.epochs
    warm = config.warmup * length
    if done < warm:
        return config.lr * (_WARMUP_FLOOR + (1 - _WARMUP_FLOOR) * done / warm)
    passed = sum(done >= milestone for milestone in config.milestones)
    if config.schedule == "cosine":
        return config.lr * 0.5 * (1 + math.cos(math.pi * min((done - warm) / (length - warm), 1.0)))
    if config.schedule == "multistep":
        return config.lr * float(config.gamma**passed)
    if config.schedule == "piecewise":
        return (config.lr, *config.rates)[passed]
    return config.lr * plateau_factor


@dataclass
class Plateau:
    """Divides the rate when the validation loss has not fallen for more than `patience` epochs.

    It decides as torch's ReduceLROnPlateau does with its defaults, which the published recipes use: a loss
    counts as lower where it is by more than 0.01 % of the lowest so far. (That class also leaves a rate
    alone which would change by less than 1e-8; here it goes on down.)

    Attributes:
        patience: epochs without a lower loss that are borne.
        gamma: factor of each division.
        factor: product of the factors so far.
        best: lowest loss seen, of those that counted as lower.
        waited: epochs since then, or since the last division.
    """

    patience: int
    gamma: float
    factor: float = 1.0
    best: float = math.inf
    waited: int = 0

    def observe(self, loss: float) -> None:
        """Take note of the validation loss of one epoch."""
        if loss < self.best * (1 - _LEAST_FALL):
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
