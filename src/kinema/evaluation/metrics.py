"""How often a classifier is right, and how sure one may be of that number. Pure arithmetic.

Every figure belongs to a level, `clip` (a single window) or `video` (the mean over the windows of
a video); the two differ by up to 20 points for one model, so neither is ever called just accuracy.
Every headline figure carries a 95 % interval:

- Wilson's for shares of samples (top-1, top-5). It takes samples as independent.
- the group bootstrap's for everything else, and for top-1 as well where groups are given: clips cut
  from one source resemble each other, so whole groups are drawn again, not single clips.
  Without groups single samples are drawn, and `Estimate.method` says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from kinema.core.errors import DataError, UsageError
from kinema.core.labels import LabelMap
from kinema.evaluation.estimate import Estimate, bootstrap, wilson

__all__ = [
    "Average",
    "ClassRow",
    "Level",
    "Metrics",
    "Span",
    "mean_interval_iou",
    "measure",
    "temporal_iou",
]

Level: TypeAlias = Literal["clip", "video"]
Floats: TypeAlias = npt.NDArray[np.float64]
Integers: TypeAlias = npt.NDArray[np.int64]

RANKING_HALF_WIDTH = 0.025  # published models of one table often differ by less than this
FEW_GROUPS = 10  # a bootstrap over fewer is known to be too narrow


@dataclass(frozen=True)
class ClassRow:
    """One class against all others.

    Attributes:
        class_index: 0 to K - 1.
        label: its name; None where names are unknown.
        precision: right among those called so; None where none was.
        recall: found among those that are so; None where none is.
        f1: harmonic mean of both, 0 where nothing was found; None where `recall` is.
        support: samples that truly are of this class.
        predicted: samples called so.
    """

    class_index: int
    label: str | None
    precision: float | None
    recall: float | None
    f1: float | None
    support: int
    predicted: int


@dataclass(frozen=True)
class Average:
    """Precision, recall and F1 averaged over the classes that occur; an undefined precision counts as 0."""

    precision: float
    recall: float
    f1: float


@dataclass(frozen=True, repr=False)
class Metrics:
    """Everything measured at one level on one set of samples.

    Attributes:
        level: what a sample is, and the name in front of every figure in `to_json`.
        n: samples N.
        groups: distinct groups they come from; None where no groups were given.
        labels: the K classes.
        accuracy: top-1, Wilson.
        accuracy_over_groups: top-1, group bootstrap; None without groups.
        top5: top-5, Wilson; None where K <= 5.
        per_class: K rows.
        macro: each class counts the same.
        weighted: each class counts by its support.
        macro_f1: the F1 of `macro` with its interval, bootstrap.
        confusion: (K, K) counts, rows = truth, columns = prediction.
        roc_auc: area under the ROC curve of class 1; None unless K = 2 and both classes occur.
        roc_auc_missing: why there is none; empty where there is one.
        warnings: what keeps these numbers from saying more.
    """

    level: Level
    n: int
    groups: int | None
    labels: LabelMap
    accuracy: Estimate
    accuracy_over_groups: Estimate | None
    top5: Estimate | None
    per_class: tuple[ClassRow, ...]
    macro: Average
    weighted: Average
    macro_f1: Estimate
    confusion: tuple[tuple[int, ...], ...]
    roc_auc: Estimate | None
    roc_auc_missing: str
    warnings: tuple[str, ...]

    @property
    def correct(self) -> int:
        """Samples whose likeliest class is the true one."""
        return sum(row[index] for index, row in enumerate(self.confusion))

    def to_json(self) -> dict[str, Any]:
        """Plain values under documented keys, each figure under its level (`video_` or `clip_` for LEVEL).

        Keys: level, n, groups, labels {count, names}; the estimates LEVEL_top1_accuracy,
        LEVEL_top1_accuracy_over_groups, LEVEL_top5_accuracy, LEVEL_macro_f1, LEVEL_roc_auc, each
        {value, low, high, n, method} or null; LEVEL_roc_auc_missing (why, or ""); LEVEL_macro and
        LEVEL_weighted {precision, recall, f1}; LEVEL_per_class, a list of ClassRow;
        LEVEL_confusion (rows = truth); warnings.
        """
        figures = {
            "top1_accuracy": asdict(self.accuracy),
            "top1_accuracy_over_groups": asdict(self.accuracy_over_groups) if self.accuracy_over_groups else None,
            "top5_accuracy": asdict(self.top5) if self.top5 else None,
            "macro_f1": asdict(self.macro_f1),
            "roc_auc": asdict(self.roc_auc) if self.roc_auc else None,
            "roc_auc_missing": self.roc_auc_missing,
            "macro": asdict(self.macro),
            "weighted": asdict(self.weighted),
            "per_class": [asdict(row) for row in self.per_class],
            "confusion": [list(row) for row in self.confusion],
        }
        return {
            "level": self.level,
            "n": self.n,
            "groups": self.groups,
            "labels": {"count": self.labels.count, "names": list(self.labels.names) if self.labels.names else None},
            **{f"{self.level}_{name}": value for name, value in figures.items()},
            "warnings": list(self.warnings),
        }

    def __repr__(self) -> str:
        over = "" if self.groups is None else f" in {self.groups} groups"
        return f"Metrics({self.level} top-1 {self.accuracy}, n = {self.n}{over})"


class Span(Protocol):
    """Anything that lasts: an Event, a Window, a true interval. [start_seconds, end_seconds)."""

    @property
    def start_seconds(self) -> float:
        """First instant, included."""

    @property
    def end_seconds(self) -> float:
        """Last instant, excluded."""


def measure(
    probabilities: npt.ArrayLike,
    targets: npt.ArrayLike,
    *,
    level: Level,
    labels: LabelMap,
    groups: Sequence[str] | None = None,
    seed: int = 0,
) -> Metrics:
    """All metrics of one set of predictions.

    Args:
        probabilities: (N, K), rows sum to 1; equal ones are ranked by class index.
        targets: (N,) true class indices.
        level: what a row is.
        labels: the K classes.
        groups: for each row what it shares with others (source video, scene, person); None: unknown.
        seed: of the bootstrap; the same inputs and seed give the same intervals.

    Raises:
        DataError: no samples, shapes that do not fit, or numbers that are no probabilities.
        UsageError: another level.
    """
    if level not in ("clip", "video"):
        raise UsageError(f"metrics at level '{level}'", allowed="clip or video")
    scores, truth = _checked(probabilities, targets, labels)
    n, count = scores.shape
    if groups is not None and len(groups) != n:
        raise DataError(f"{len(groups)} groups for {n} samples", allowed="one group a sample")
    ranked = np.argsort(-scores, axis=1, kind="stable")
    predicted = ranked[:, 0].astype(np.int64)
    correct = (predicted == truth).astype(np.float64)
    confusion = confusion_matrix(truth, predicted, labels=np.arange(count))
    accuracy = wilson(int(correct.sum()), n)
    over_groups = (
        bootstrap(lambda w: float(w @ correct / w.sum()), n, groups, seed=seed) if groups is not None else None
    )
    roc_auc, roc_auc_missing = None, _no_roc_auc(truth, count)
    if not roc_auc_missing:
        roc_auc = bootstrap(_auc_of(scores[:, 1], truth == 1), n, groups, seed=seed)
    group_count = None if groups is None else len(set(groups))
    rows = _class_rows(confusion, labels)
    return Metrics(
        level=level,
        n=n,
        groups=group_count,
        labels=labels,
        accuracy=accuracy,
        accuracy_over_groups=over_groups,
        top5=wilson(int((ranked[:, :5] == truth[:, None]).sum()), n) if count > 5 else None,
        per_class=rows,
        macro=_average(truth, predicted, "macro"),
        weighted=_average(truth, predicted, "weighted"),
        macro_f1=bootstrap(_macro_f1_of(truth, predicted, count), n, groups, seed=seed),
        confusion=tuple(tuple(map(int, row)) for row in confusion),
        roc_auc=roc_auc,
        roc_auc_missing=roc_auc_missing,
        warnings=tuple(_warnings(level, accuracy, over_groups, group_count, rows)),
    )


def temporal_iou(found: Sequence[Span], true: Sequence[Span]) -> float:
    """Seconds in both over seconds in either, of the unions of two sets of intervals; 0 to 1.

    Intervals of one set may overlap each other and come in any order. Nothing found where there is
    nothing to find is 1.
    """
    ours, theirs = _union(found), _union(true)
    either = _length(_union([*ours, *theirs]))
    if either == 0:
        return 1.0
    both = max(_length(ours) + _length(theirs) - either, 0.0)
    return min(both / either, 1.0)


def mean_interval_iou(found: Sequence[Span], true: Sequence[Span]) -> float:
    """How well single intervals are met: their mean intersection over union, matched one to one.

    The matching is the one with the greatest sum. An interval left without a partner, missed or
    false, counts as 0, so the mean is over max(found, true) at least. Nothing found where there is
    nothing to find is 1.
    """
    if not found and not true:
        return 1.0
    table = np.array([[temporal_iou([ours], [theirs]) for theirs in true] for ours in found])
    table = table.reshape(len(found), len(true))
    rows, columns = linear_sum_assignment(table, maximize=True)
    met = table[rows, columns]
    partners = int((met > 0).sum())
    return float(met.sum() / (len(found) + len(true) - partners))


@dataclass(frozen=True)
class _Stretch:
    start_seconds: float
    end_seconds: float


def _union(spans: Sequence[Span]) -> list[_Stretch]:
    merged: list[_Stretch] = []
    for span in sorted(spans, key=lambda span: span.start_seconds):
        if merged and span.start_seconds <= merged[-1].end_seconds:
            merged[-1] = _Stretch(merged[-1].start_seconds, max(merged[-1].end_seconds, span.end_seconds))
        else:
            merged.append(_Stretch(span.start_seconds, span.end_seconds))
    return merged


def _length(stretches: Sequence[_Stretch]) -> float:
    return math.fsum(stretch.end_seconds - stretch.start_seconds for stretch in stretches)


def _checked(probabilities: npt.ArrayLike, targets: npt.ArrayLike, labels: LabelMap) -> tuple[Floats, Integers]:
    scores = np.asarray(probabilities, dtype=np.float64)
    truth = np.asarray(targets)
    if scores.ndim != 2 or len(scores) < 1 or scores.shape[1] != labels.count or truth.shape != scores.shape[:1]:
        raise DataError(
            f"probabilities {scores.shape} and targets {truth.shape} for {labels.count} classes",
            allowed=f"(N, {labels.count}) and (N,), N at least 1",
        )
    # Written so that a NaN fails.
    if not ((scores >= 0) & (scores <= 1)).all() or not (np.abs(scores.sum(axis=1) - 1) <= 1e-3).all():
        raise DataError("scores that are no probabilities", allowed="rows of 0 to 1 that sum to 1 (after softmax)")
    if not np.issubdtype(truth.dtype, np.integer) or truth.min() < 0 or truth.max() >= labels.count:
        raise DataError(f"targets of {truth.dtype}, {truth.min()} to {truth.max()}", allowed=f"0 to {labels.count - 1}")
    return scores, truth.astype(np.int64)


def _class_rows(confusion: Integers, labels: LabelMap) -> tuple[ClassRow, ...]:
    rows = []
    for index in range(labels.count):
        hits = int(confusion[index, index])
        support, predicted = int(confusion[index].sum()), int(confusion[:, index].sum())
        rows.append(
            ClassRow(
                class_index=index,
                label=labels.name(index) if labels.is_known else None,
                precision=hits / predicted if predicted else None,
                recall=hits / support if support else None,
                f1=2 * hits / (support + predicted) if support else None,
                support=support,
                predicted=predicted,
            )
        )
    return tuple(rows)


def _average(truth: Integers, predicted: Integers, kind: Literal["macro", "weighted"]) -> Average:
    precision, recall, f1, _ = precision_recall_fscore_support(
        truth, predicted, labels=np.unique(truth), average=kind, zero_division=0
    )
    return Average(float(precision), float(recall), float(f1))


def _macro_f1_of(truth: Integers, predicted: Integers, count: int) -> Callable[[Floats], float]:
    """Macro F1 over the classes that occur, as a function of sample weights (sklearn's, 20 times faster)."""
    right = truth == predicted

    def statistic(weights: Floats) -> float:
        support = np.bincount(truth, weights, count)
        hits = np.bincount(truth[right], weights[right], count)
        called = np.bincount(predicted, weights, count)
        present = support > 0
        return float((2 * hits[present] / (support + called)[present]).mean())

    return statistic


def _auc_of(scores: Floats, positive: npt.NDArray[np.bool_]) -> Callable[[Floats], float]:
    """The share of (positive, negative) pairs ranked rightly, ties half, as a function of sample weights."""
    _, level = np.unique(scores, return_inverse=True)

    def statistic(weights: Floats) -> float:
        hits = np.bincount(level, weights * positive)
        misses = np.bincount(level, weights * ~positive)
        pairs = hits.sum() * misses.sum()
        below = np.cumsum(misses) - misses
        return float(hits @ (below + misses / 2) / pairs) if pairs else math.nan

    return statistic


def _no_roc_auc(truth: Integers, count: int) -> str:
    """Why there is no ROC-AUC, or the empty string."""
    if count != 2:
        return f"defined for two classes, not {count}"
    if len(np.unique(truth)) < 2:
        return f"no sample of class {1 - int(truth[0])}"
    return ""


def _warnings(
    level: Level, accuracy: Estimate, over_groups: Estimate | None, groups: int | None, rows: Sequence[ClassRow]
) -> list[str]:
    found = []
    half = max(e.half_width or 0.0 for e in (accuracy, over_groups or accuracy))
    if half > RANKING_HALF_WIDTH:
        found.append(
            f"{level} top-1 of n = {accuracy.n} is known to about ±{half:.3f}: "
            f"models closer than that cannot be ranked by it"
        )
    largest = max(rows, key=lambda row: row.support)
    if accuracy.low is not None and accuracy.low <= largest.support / accuracy.n:
        found.append(
            f"always answering {_shown(largest)} would be right on {largest.support / accuracy.n:.2f} of the {level}s, "
            f"which the interval of {level} top-1 {accuracy} does not exceed"
        )
    if over_groups and (over_groups.half_width or 0.0) > 1.25 * (accuracy.half_width or 0.0):
        found.append(
            f"{level}s of one group are alike: over groups the interval is {over_groups}, wider than Wilson's, "
            f"which takes {level}s as independent"
        )
    if groups is not None and groups < FEW_GROUPS:
        found.append(f"groups: {groups} only; below {FEW_GROUPS} the bootstrap over groups is too narrow")
    if groups is None and level == "clip":
        found.append("clips of one video are not independent and no groups were given: intervals are too narrow")
    absent = [row for row in rows if not row.support]
    if absent:
        listing = ", ".join(_shown(row) for row in absent[:5]) + (", …" if len(absent) > 5 else "")
        found.append(f"{len(absent)} of {len(rows)} classes have no {level} here ({listing}): averages leave them out")
    if rows[0].label is None:
        found.append("class names are unknown: classes are shown by their index")
    return found


def _shown(row: ClassRow) -> str:
    return f"class {row.class_index}" if row.label is None else f"'{row.label}'"
