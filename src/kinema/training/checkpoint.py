"""All that a run must remember to go on as if nothing had happened.

No random state is among it: what a step draws follows from the seed and the step's number.
"""

from __future__ import annotations

import pickle
import time
import zipfile
import zlib
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins import Precision

from kinema.core.atomic import replacing
from kinema.core.errors import TrainingError
from kinema.training.averaging import WeightAverage

__all__ = ["EpochRow", "RunState", "SaveClock", "load_state", "save_state"]

# What torch and pickle raise for bytes that are no state, and what a state of other parts leads to.
_UNREADABLE = (
    pickle.UnpicklingError, RuntimeError, OSError, EOFError, ValueError, TypeError, LookupError, AttributeError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip


@dataclass(frozen=True)
class EpochRow:
    """One row of metrics.csv. Validation columns are None where a run has no validation clips.

    Attributes:
        epoch: from 1.
        train_loss: mean over the clips of the epoch, augmented as they were trained on.
        train_clip_accuracy: share of those clips that were right.
        val_loss: mean cross-entropy of validation clips, without smoothing or weights.
        val_clip_accuracy: share of validation clips (windows) that are right.
        val_video_accuracy: share of validation videos that are right.
        lr: learning rate of the last step.
        clips_per_second: training clips a second, without validation.
    """

    epoch: int
    train_loss: float
    train_clip_accuracy: float
    val_loss: float | None
    val_clip_accuracy: float | None
    val_video_accuracy: float | None
    lr: float
    clips_per_second: float


@dataclass
class RunState:
    """Where a run stands, between two steps of the optimizer.

    Attributes:
        epoch: epochs finished.
        step: optimizer steps finished in the running epoch.
        loss_sum: sum of clip losses in the running epoch.
        correct: clips right in the running epoch.
        clips: clips seen in the running epoch.
        seconds: time trained in the running epoch.
        trained_seconds: time trained in finished epochs, over all calls.
        data: what is learnt from and tested on, in words and a fingerprint.
        best: value that chose best.safetensors, by order of importance; empty before the first.
        plateau: factor, best loss and epochs waited of the plateau schedule.
        rows: finished epochs.
    """

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    correct: int = 0
    clips: int = 0
    seconds: float = 0.0
    trained_seconds: float = 0.0
    data: str = ""
    best: tuple[float, ...] = ()
    plateau: dict[str, float] = field(default_factory=dict)
    rows: list[EpochRow] = field(default_factory=list)

    def finish_epoch(self, row: EpochRow) -> None:
        """Close the running epoch with its row."""
        self.rows.append(row)
        self.trained_seconds += self.seconds
        self.epoch += 1
        self.step = self.correct = self.clips = 0
        self.loss_sum = self.seconds = 0.0


class SaveClock:
    """Tells when the next resumable state is due.

    Args:
        seconds: longest time from one state to the next.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.restart()

    @property
    def due(self) -> bool:
        """Whether `seconds` have gone by since the last state."""
        return time.monotonic() - self._saved >= self.seconds

    def restart(self) -> None:
        """A state has just been saved."""
        self._saved = time.monotonic()


def save_state(
    path: Path,
    state: RunState,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    average: WeightAverage | None = None,
    arithmetic: Precision | None = None,
) -> None:
    """Write everything to `path`, whole or not at all; of `arithmetic` the scale of gradients, where it has one."""
    content = {
        "state": {f.name: getattr(state, f.name) for f in fields(state) if f.name != "rows"},
        "rows": [asdict(row) for row in state.rows],
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "average": average.remember() if average else None,
        "arithmetic": arithmetic.state_dict() if arithmetic else {},
    }
    # Through a file of Python's, an error of the disk is the cause of what torch raises, which does not name it.
    with replacing(path) as beside, beside.open("wb") as file:
        torch.save(content, file)


def load_state(
    path: Path,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    average: WeightAverage | None = None,
    arithmetic: Precision | None = None,
) -> RunState:
    """Put model, optimizer, average and arithmetic where `save_state` found them.

    Raises:
        TrainingError: no such file, a damaged one, or one of another network or version.
    """
    try:
        _require_intact(path)
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        model.load_state_dict(content["model"])
        optimizer.load_state_dict(content["optimizer"])
        if average is not None:
            average.restore(content["average"])
        if arithmetic is not None:
            arithmetic.load_state_dict(content["arithmetic"])
        return RunState(**content["state"], rows=[EpochRow(**row) for row in content["rows"]])
    except FileNotFoundError as error:
        raise TrainingError(
            f"no state to resume from at {path}",
            allowed="the folder of a run that was interrupted",
            next_step="start the run again without --resume",
        ) from error
    except _UNREADABLE as error:
        raise TrainingError(
            f"{path} cannot be resumed from: {type(error).__name__}: {str(error).partition(chr(10))[0]}",
            allowed="a state file written by this version of kinema for this network",
            next_step="put a copy in its place; or remove it, and --resume trains anew to the same end; or train on "
            "from the weights beside it, which are files of their own: kinema train DATA --weights last.safetensors",
        ) from error


def _require_intact(path: Path) -> None:
    """Compare every part of the file with its checksum, which torch writes and does not look at."""
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise zipfile.BadZipFile(f"'{damaged}' does not agree with its checksum")
