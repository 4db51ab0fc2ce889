"""The folder of one run: what lies in it, and the files that grow as it goes.

config.yaml          every setting, enough to repeat the run
metrics.csv          a row an epoch
curves.png           the same as a picture
events.out.tfevents* the same for TensorBoard
best.safetensors     the epoch that validated best (without validation: the last epoch)
last.safetensors     the last epoch finished
state.pt             enough to go on as if nothing had happened
predictions.csv      every test video with its scores (written at the end)
metrics.json         the test figures with their protocol (written at the end)
report.html          all of it for a person (written at the end)
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from kinema.core.atomic import replacing
from kinema.core.errors import DataError, UsageError
from kinema.training.checkpoint import EpochRow

__all__ = ["RunFolder"]


class RunFolder:
    """Names and writes the files of one run.

    Args:
        path: the folder; made when first written to.
        run: the folder that is resumed as a whole, where this is one fold of it.
    """

    def __init__(self, path: Path, *, run: Path | None = None) -> None:
        self.path = path
        self.run = run or path
        self.config = path / "config.yaml"
        self.best = path / "best.safetensors"
        self.last = path / "last.safetensors"
        self.state = path / "state.pt"
        self.metrics = path / "metrics.csv"
        self.curves = path / "curves.png"
        self.report = path / "report.html"

    def fold(self, number: int) -> RunFolder:
        """The folder of fold `number`, from 1."""
        return RunFolder(self.path / f"fold-{number}", run=self.path)

    def begin(self) -> None:
        """Make the folder.

        Raises:
            UsageError: a run lies there already.
            DataError: it cannot be made.
        """
        if self.config.exists():
            raise UsageError(
                f"{self.path} holds a run already",
                allowed="an empty or new folder",
                next_step=f"continue it with --resume {self.path}, or choose another --out",
            )
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(
                f"cannot make {self.path}: {error.strerror}",
                allowed="a place that may be written to",
                next_step="choose another --out",
            ) from error

    def write_metrics(self, rows: Sequence[EpochRow]) -> None:
        """All finished epochs as metrics.csv."""
        with replacing(self.metrics) as beside, beside.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, [field.name for field in fields(EpochRow)])
            writer.writeheader()
            writer.writerows(asdict(row) for row in rows)

    def tensorboard(self, epoch: int) -> SummaryWriter:
        """A writer that goes on after `epoch` epochs; what an interrupted run wrote beyond is purged."""
        return SummaryWriter(str(self.path), purge_step=epoch + 1)
