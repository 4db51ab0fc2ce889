"""When a run ends before its time, because validation gets no better."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kinema.core.errors import UsageError
from kinema.datasets.sample import Sample
from kinema.training.checkpoint import EpochRow
from kinema.training.config import TrainConfig

__all__ = ["best_epoch", "describe_close", "describe_end", "ended_early", "require_epochs", "require_watched"]


def best_epoch(rows: Sequence[EpochRow]) -> int:
    """The epoch (from 1) whose weights are kept: of the best video accuracy, then the lowest loss, then the first."""
    return max(rows, key=lambda row: (row.val_video_accuracy or 0.0, -(row.val_loss or 0.0), -row.epoch)).epoch


def ended_early(config: TrainConfig, rows: Sequence[EpochRow]) -> bool:
    """Whether the last `early_stopping` epochs of `rows` validated no better than one before them.

    It follows from the finished epochs alone, so a run that ended stays ended when it is resumed.
    Epochs in which the head is trained by itself are no reason to end: the count begins after them.
    """
    if config.early_stopping == 0 or len(rows) <= config.head_epochs:
        return False
    return len(rows) - max(best_epoch(rows), config.head_epochs) >= config.early_stopping


def require_watched(config: TrainConfig, val: Sequence[Sample]) -> None:
    """Refuse to follow a validation where no video validates, such as where all that did are broken.

    Raises:
        UsageError: so it is.
    """
    if val:
        return
    for follows, follower in (
        (config.early_stopping > 0, f"early_stopping {config.early_stopping}"),
        (config.schedule == "plateau", "schedule 'plateau'"),
    ):
        if follows:
            raise UsageError(
                f"{follower}, but there are no validation videos",
                allowed="validation videos, which tell when the network gets no better",
                next_step="add some, or leave it out",
            )


def require_epochs(config: TrainConfig, epochs: int) -> None:
    """Refuse a run of `epochs` in which the head is trained alone to the end.

    Raises:
        UsageError: so it is.
    """
    if config.head_epochs >= epochs:
        raise UsageError(
            f"head_epochs {config.head_epochs}, but total_steps {config.total_steps} are {epochs} epochs",
            allowed="fewer head_epochs than epochs, so that the rest of the network is trained, too",
            next_step="give fewer head_epochs or more total_steps; or train the head alone with --train-from",
        )


def describe_close(config: TrainConfig, rows: Sequence[EpochRow], weights: Path) -> str:
    """How a run ended and where its weights lie, in a line."""
    if ended_early(config, rows):
        how = describe_end(config, rows)
    elif rows and rows[-1].val_loss is not None:
        how = f"ended after epoch {len(rows)}, the last; the best was epoch {best_epoch(rows)}"
    else:
        how = f"ended after epoch {len(rows)}, the last"
    return f"{how}; weights in {weights}"


def describe_end(config: TrainConfig, rows: Sequence[EpochRow]) -> str:
    """Why a run ended early, in a line."""
    epochs = "epoch" if config.early_stopping == 1 else f"{config.early_stopping} epochs"
    return f"ended after epoch {len(rows)}: the last {epochs} validated no better than epoch {best_epoch(rows)}"
