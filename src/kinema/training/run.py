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
.owner.N             who trains in it now (`kinema.core.claims`)
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, fields
from pathlib import Path

from safetensors import SafetensorError
from torch.utils.tensorboard import SummaryWriter

from kinema.core.atomic import leftovers, replacing
from kinema.core.claims import Claim, Claims, Owner
from kinema.core.errors import DataError, TrainingError, UsageError, WeightsError, shortened
from kinema.core.progress import Progress
from kinema.inference.predictor import Predictor, load
from kinema.training.checkpoint import EpochRow
from kinema.training.config import TrainConfig
from kinema.training.recipe import load_recipe, make_config

__all__ = ["RunFolder", "is_lost_reader"]

_WRITTEN = (
    "config.yaml", "metrics.csv", "curves.png", "best.safetensors", "last.safetensors", "state.pt",
    "predictions.csv", "metrics.json", "report.html",
)  # fmt: skip
_OWNER = ".owner"


class RunFolder:
    """Names and writes the files of one run.

    Args:
        path: the folder; made when first written to.
        whole: the folder that is owned and resumed as a whole, where this is one fold of it.

    Attributes:
        claim: this process's, while it trains in the folder.
    """

    def __init__(self, path: Path, *, whole: RunFolder | None = None) -> None:
        self.path = path
        self.whole = whole or self
        self.claim: Claim | None = None
        self.config = path / "config.yaml"
        self.best = path / "best.safetensors"
        self.last = path / "last.safetensors"
        self.state = path / "state.pt"
        self.metrics = path / "metrics.csv"
        self.curves = path / "curves.png"
        self.report = path / "report.html"

    def fold(self, number: int) -> RunFolder:
        """The folder of fold `number`, from 1."""
        return RunFolder(self.path / f"fold-{number}", whole=self)

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

    @contextmanager
    def owned(self, progress: Progress) -> Iterator[None]:
        """A block that trains in the folder, and keeps all other processes from it.

        Where a process elsewhere was at it and may be gone, it is waited for: three minutes at most.

        Raises:
            UsageError: another process trains in it.
            TrainingError: it cannot be written to.
        """

        def waiting(owner: Owner | None, seconds: float) -> None:
            progress.log(
                f"{owner or 'another process'} was at {self.path} and may be gone; waiting {seconds:.0f} s at most"
            )

        claims = Claims(self.path)
        with self.writing():
            claim = claims.claim_from_silent(_OWNER, waiting=waiting)
        if claim is None:
            raise UsageError(
                f"{claims.holder(_OWNER) or 'another process'} trains in {self.path}",
                allowed="one training at a time in a folder",
                next_step="wait for it or stop it, which saves (Ctrl-C there, or SIGTERM), or choose another --out",
            )
        self.claim = claim
        try:
            with claim.keep_alive():
                yield
        finally:
            self.claim = None
            with suppress(OSError):  # the folder may be gone
                claim.forget()

    def settings(self) -> TrainConfig:
        """What the run in the folder was begun with.

        Raises:
            UsageError: no run there.
            DataError: its config.yaml is damaged. One that is cut off may be YAML, so every setting must be there.
        """
        if not self.config.exists():
            raise UsageError(
                f"no run in {self.path}",
                allowed="the folder of a run that was begun, with its config.yaml",
                next_step="start one with kinema train DATA",
            )
        try:
            found = load_recipe(self.config)
            missing = [name for name in TrainConfig.model_fields if name not in found]
            config = make_config(found)
        except UsageError as error:
            raise self._damaged(error.given) from error
        if missing:
            raise self._damaged(f"{shortened(missing)} missing")
        return config

    def _damaged(self, why: str) -> DataError:
        return DataError(
            f"{self.config} is not as its run wrote it: {why}",
            allowed="all settings, as this version of kinema writes them; the other files of the run are as they were",
            next_step="put a copy in its place, or write it anew: the weights of the run hold its settings, too "
            f"(provenance in the header of {self.last.name})",
        )

    def trained(self, device: str) -> Predictor:
        """The best weights of a run that is over.

        Raises:
            WeightsError: they are damaged or gone.
        """
        try:
            return load(self.best, device=device)
        except WeightsError as error:
            raise WeightsError(
                error.given,
                allowed="the file as the run wrote it",
                next_step=f"put a copy in its place; or remove {self.state.name} beside it, and --resume trains anew, "
                f"to the same end; {self.last.name} has the weights of the last epoch",
            ) from error

    def write_metrics(self, rows: Sequence[EpochRow]) -> None:
        """All finished epochs as metrics.csv."""
        with replacing(self.metrics) as beside, beside.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, [field.name for field in fields(EpochRow)])
            writer.writeheader()
            writer.writerows(asdict(row) for row in rows)

    @contextmanager
    def tensorboard(self, epoch: int) -> Iterator[SummaryWriter]:
        """A writer that goes on after `epoch` epochs; what an interrupted run wrote beyond is purged."""
        with suppress(OSError):  # of a fold, it is new; what fails here is told of below
            self.path.mkdir(parents=True, exist_ok=True)
        with self.writing():
            board = SummaryWriter(str(self.path), purge_step=epoch + 1)
        try:
            yield board
        finally:
            with suppress(OSError):  # what cannot be written was told of when it was flushed
                board.close()

    def write_scalars(self, board: SummaryWriter, row: EpochRow) -> None:
        """One epoch for TensorBoard."""
        for name, value in asdict(row).items():
            if value is not None and name != "epoch":
                board.add_scalar(name, value, row.epoch)
        board.flush()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """A block that writes into the folder, each file whole or not at all.

        Raises:
            TrainingError: it cannot, with what is kept and how to go on; or another process owns it by now.
        """
        claim = self.whole.claim
        try:
            if claim is not None and claim.lost:
                raise TrainingError(
                    f"this process was silent for long, and another has gone on with the run in {self.whole.path}",
                    allowed="one training at a time in a folder",
                    next_step="nothing: the other writes what this one would have written",
                )
            if not self.path.is_dir():
                raise TrainingError(
                    f"the folder {self.path} was removed while its run went on; nothing of it is left",
                    allowed="a folder that stays where it is",
                    next_step="bring it back and --resume it, or start again with another --out",
                )
            yield
        except (OSError, SafetensorError, DataError, RuntimeError) as error:
            if is_lost_reader(error):
                raise
            reason = error.given if isinstance(error, DataError) else _reason(error)
            raise TrainingError(
                f"cannot write into {self.path}: {reason}; what was saved before is whole",
                allowed="a folder that may be written to, with room for the run's files and one more of the largest",
                next_step="make room or let it be written to, then go on with: "
                f"kinema train --resume {self.whole.path}",
            ) from error

    def clear_leftovers(self) -> tuple[Path, ...]:
        """Remove the unfinished files that a killed run left beside those it was replacing."""
        left = tuple(leftovers(self.path, _WRITTEN)) if self.path.is_dir() else ()
        for path in left:
            path.unlink(missing_ok=True)
        return left


def is_lost_reader(error: BaseException) -> bool:
    """Whether torch says that a process which reads clips was killed; it interrupts whatever is going on then."""
    return isinstance(error, RuntimeError) and "DataLoader worker (pid" in str(error)


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error.__context__, OSError):  # what torch.save raises has it there
        return _reason(error.__context__)
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
