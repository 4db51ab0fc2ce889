"""What finished runs left behind: the answer to each test video, and the course of the training."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kinema.core.errors import DataError
from kinema.datasets.spreadsheet import read_cell, write_spreadsheet
from kinema.evaluation.estimate import Estimate, bootstrap, wilson
from kinema.studies.folder import failure, seconds_of, standing
from kinema.studies.grid import Grid, RunPlan

__all__ = [
    "Answers", "Epochs", "Pretrained", "RunResult", "answer_of", "read_pretrainings", "read_results", "write_results",
]  # fmt: skip

_TINY = 1e-7  # predictions are written with six decimals
_COLUMNS = (
    "run", "standing", "split", "n", "correct", "accuracy", "low", "high", "groups", "low_over_groups",
    "high_over_groups", "loss", "epochs", "seconds", "folder", "error",
)  # fmt: skip


@dataclass(frozen=True)
class Answers:
    """How a run answered its test videos, in the order of predictions.csv.

    Attributes:
        videos: (N,) what tells each, path and times.
        groups: (N,) the source of each; the video itself where none is known.
        grouped: whether any source is known.
        correct: (N,) whether the likeliest class was the true one.
        losses: (N,) -log of the probability of the true class.
    """

    videos: tuple[str, ...]
    groups: tuple[str, ...]
    grouped: bool
    correct: npt.NDArray[np.bool_]
    losses: npt.NDArray[np.float64]

    @property
    def accuracy(self) -> Estimate:
        """Video top-1 with Wilson's interval."""
        return wilson(int(self.correct.sum()), len(self.correct))

    @property
    def accuracy_over_groups(self) -> Estimate | None:
        """Video top-1 with the interval of the bootstrap over groups; None where none are known."""
        return share_over_groups(self.correct.astype(np.float64), self.groups) if self.grouped else None


@dataclass(frozen=True)
class Epochs:
    """The course of one training, or one fold: (E,) a figure an epoch; validation is empty where there was none."""

    train_loss: tuple[float, ...]
    train_accuracy: tuple[float, ...]
    val_loss: tuple[float, ...]
    val_accuracy: tuple[float, ...]


@dataclass(frozen=True)
class RunResult:
    """A finished run.

    Attributes:
        run: what was trained.
        split: whose videos were answered, `test`, or `val` where nothing else was held out.
        answers: to each.
        courses: one, or one a fold.
        seconds: that it took, in the call that finished it.
    """

    run: RunPlan
    split: str
    answers: Answers
    courses: tuple[Epochs, ...]
    seconds: float


@dataclass(frozen=True)
class Pretrained:
    """A finished pretraining.

    Attributes:
        run: what was trained.
        split: whose videos were answered, as of a run; None where its data holds none out.
        classes: among which it chose; None where nothing was held out.
        accuracy: video top-1 on them; None likewise.
        over_groups: the same with the interval of the bootstrap over groups; None where none are known.
    """

    run: RunPlan
    split: str | None
    classes: int | None
    accuracy: Estimate | None
    over_groups: Estimate | None


def read_pretrainings(grid: Grid) -> tuple[Pretrained, ...]:
    """How well finished pretrainings learnt their own data, in the order of the study.

    Raises:
        DataError: files of a finished one are damaged.
    """
    return tuple(_pretrained(run) for run in grid.pretrainings if standing(run) == "done")


def read_results(grid: Grid) -> dict[str, RunResult]:
    """Everything that finished runs left, by the name of the run.

    Raises:
        DataError: files of a finished run that are gone or damaged.
    """
    return {run.name: _read(run) for run in grid.runs if standing(run) == "done"}


def answer_of(run: RunPlan) -> str:
    """The figure of a finished run, on a line."""
    figure = _metrics(run)["video"]["video_top1_accuracy"]
    bounds = "" if figure["low"] is None else f" [{figure['low']:.3f}, {figure['high']:.3f}]"
    return f"{figure['value']:.3f}{bounds}"


def share_over_groups(shares: npt.NDArray[np.float64], groups: Sequence[str]) -> Estimate:
    """The mean of `shares` (N,), each 0 to 1, with the interval of the bootstrap over `groups` (N,)."""
    return bootstrap(lambda weights: float(np.average(shares, weights=weights)), len(shares), groups)


def write_results(path: Path, grid: Grid, results: dict[str, RunResult]) -> None:
    """results.csv: a row for each run that is planned, finished or not; an axis called like a column is `axis.NAME`."""
    axes = list(grid.study.axes)
    levels = [f"axis.{axis}" if axis in _COLUMNS else axis for axis in axes]
    write_spreadsheet(
        path, [*levels, *_COLUMNS], (_row(run, axes, results.get(run.name), grid.out) for run in grid.runs)
    )


def _row(run: RunPlan, axes: Sequence[str], result: RunResult | None, out: Path) -> list[str | int | float | None]:
    levels: list[str | int | float | None] = [run.levels[axis] for axis in axes]
    where = str(run.folder.relative_to(out))
    if result is None:
        failed = failure(run)
        return [*levels, run.name, standing(run), *[None] * 12, where, failed.error if failed else None]
    answers = result.answers
    accuracy, over = answers.accuracy, answers.accuracy_over_groups
    return [
        *levels, run.name, "done", result.split, accuracy.n, int(answers.correct.sum()), round(accuracy.value, 6),
        _rounded(accuracy.low), _rounded(accuracy.high), over.n if over else None, _rounded(over.low if over else None),
        _rounded(over.high if over else None), round(float(answers.losses.mean()), 6),
        max(len(course.train_loss) for course in result.courses), round(result.seconds, 1), where, None,
    ]  # fmt: skip


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _read(run: RunPlan) -> RunResult:
    with _told(run):
        split = str(_metrics(run)["split"])
        courses = tuple(_epochs(path) for path in _courses(run.folder))
        return RunResult(run, split, _answers(run.folder / "predictions.csv"), courses, seconds_of(run))


def _pretrained(run: RunPlan) -> Pretrained:
    with _told(run):
        if not (run.folder / "metrics.json").exists():
            return Pretrained(run, None, None, None, None)
        metrics = _metrics(run)
        video = metrics["video"]
        groups = video.get("video_top1_accuracy_over_groups")
        return Pretrained(
            run, str(metrics["split"]), int(video["labels"]["count"]), Estimate(**video["video_top1_accuracy"]),
            Estimate(**groups) if groups else None,
        )  # fmt: skip


@contextmanager
def _told(run: RunPlan) -> Iterator[None]:
    """Say of damaged files whose they are."""
    try:
        yield
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"the finished run in {run.folder} cannot be read: {error!r}",
            allowed="metrics.json, metrics.csv and predictions.csv as the run wrote them",
            next_step=f"remove {run.folder / 'done.json'}, and run the study again",
        ) from error


def _metrics(run: RunPlan) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run.folder / "metrics.json").read_text(encoding="utf-8"))
    return found


def _answers(path: Path) -> Answers:
    videos, groups, correct, losses = [], [], [], []
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            label = read_cell(row["label"])
            video = "\t".join(row[key] for key in ("path", "start_seconds", "end_seconds"))
            videos.append(video)
            groups.append(row["group"])
            correct.append(read_cell(row["predicted"]) == label)
            losses.append(-math.log(max(float(row[f"p_{label}"]), _TINY)))
    named = any(groups)
    # A clip that names no source is a source of its own.
    sources = tuple(group or video for group, video in zip(groups, videos, strict=True))
    return Answers(tuple(videos), sources, named, np.array(correct, bool), np.array(losses))


def _courses(folder: Path) -> Iterator[Path]:
    whole = folder / "metrics.csv"
    if whole.exists():
        yield whole
    else:
        yield from sorted(folder.glob("fold-*/metrics.csv"), key=lambda path: int(path.parent.name.rpartition("-")[2]))


def _epochs(path: Path) -> Epochs:
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))

    def column(name: str) -> tuple[float, ...]:
        return tuple(float(row[name]) for row in rows) if all(row[name] for row in rows) else ()

    return Epochs(column("train_loss"), column("train_clip_accuracy"), column("val_loss"), column("val_video_accuracy"))
