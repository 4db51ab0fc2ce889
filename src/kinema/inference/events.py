"""Events: from scores over time to the stretches worth telling a person about. Pure arithmetic.

A class at a time, a stretch opens where its score reaches `enter` and closes where it falls below
`leave`; stretches no further apart than `merge_gap_seconds` become one; what is then shorter than
`min_duration_seconds` is dropped. All four comparisons include the boundary: exactly `enter` opens,
exactly `leave` stays open, a gap of exactly `merge_gap_seconds` merges, and a stretch of exactly
`min_duration_seconds` is kept.

    enter  ····┌──┐·········   one event from where the score first reaches `enter`
    leave  ··┌─┘··└───┐·····   until it falls below `leave`
           ──┘        └─────
               |======|
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from kinema.core.errors import DataError, UsageError
from kinema.core.labels import LabelMap
from kinema.inference.aggregate import MICROSECOND, timeline
from kinema.inference.result import Event, Window, label_or_none

__all__ = ["EventRule", "Interval", "Segment", "event_classes", "events_in", "find_events"]

QUIET_NAMES = frozenset(
    {"normal", "background", "none", "nofight", "nonfight", "noviolence", "nonviolence", "noevent", "negative"}
)
"""Names of the class in which nothing happens, compared in lower case with only letters kept, so
that `no_fight`, `No fight` and `NoFight` are one. The one place that decides this."""

SCORE_DECIMALS = 9
"""Decimals that scores are compared with: the mean of three windows of 0.6 is 0.6, whatever a float says."""


@dataclass(frozen=True)
class EventRule:
    """When a score becomes an event.

    Attributes:
        enter: score that opens an event, above 0, at most 1.
        leave: score below which it closes, 0 to `enter`.
        min_duration_seconds: shortest event told of, 0 or more.
        merge_gap_seconds: longest pause inside one event, 0 or more.
    """

    enter: float = 0.6
    leave: float = 0.4
    min_duration_seconds: float = 0.5
    merge_gap_seconds: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.enter <= 1:
            raise UsageError(f"events that open at a score of {self.enter}", allowed="above 0, at most 1")
        if not 0 <= self.leave <= self.enter:
            raise UsageError(
                f"events that open at {self.enter} and close below {self.leave}",
                allowed=f"a closing score from 0 to {self.enter}, not above the opening one",
            )
        for name in ("min_duration_seconds", "merge_gap_seconds"):
            seconds = getattr(self, name)
            if not (math.isfinite(seconds) and seconds >= 0):
                raise UsageError(f"{name} = {seconds}", allowed="0 or more, finite")


@dataclass(frozen=True)
class Segment:
    """The score of one class, 0 to 1, over [start_seconds, end_seconds)."""

    start_seconds: float
    end_seconds: float
    score: float


@dataclass(frozen=True)
class Interval:
    """A stretch [start_seconds, end_seconds) found in the scores of one class.

    Attributes:
        start_seconds: first instant, included.
        end_seconds: last instant, excluded.
        peak: highest score within, 0 to 1.
        mean: score averaged over the instants within that have one, 0 to 1.
    """

    start_seconds: float
    end_seconds: float
    peak: float
    mean: float


def find_events(segments: Sequence[Segment], rule: EventRule) -> tuple[Interval, ...]:
    """The stretches that `rule` finds in the scores of one class.

    Args:
        segments: sorted, not overlapping. Where none covers an instant nothing is known of it: an
            open event closes there and, unless the gap is merged, must reach `enter` again. An
            event still open at the end closes with the last segment.
        rule: the thresholds.

    Returns:
        Intervals that are sorted and do not overlap; lengths are compared in whole microseconds.

    Raises:
        DataError: segments that overlap or are out of order.
    """
    for earlier, later in pairwise(segments):
        if _seconds(later.start_seconds - earlier.end_seconds) < 0:
            raise DataError(
                f"a segment from {later.start_seconds} s after one until {earlier.end_seconds} s",
                allowed="segments sorted, not overlapping",
            )
    merged: list[slice] = []
    for stretch in _open_stretches(segments, rule):
        if merged:
            pause = segments[stretch.start].start_seconds - segments[merged[-1].stop - 1].end_seconds
            if _seconds(pause - rule.merge_gap_seconds) <= 0:
                merged[-1] = slice(merged[-1].start, stretch.stop)
                continue
        merged.append(stretch)
    intervals = (_interval(segments[stretch]) for stretch in merged)
    return tuple(i for i in intervals if _seconds(i.end_seconds - i.start_seconds - rule.min_duration_seconds) >= 0)


def event_classes(labels: LabelMap) -> tuple[int, ...]:
    """The classes that count as events unless the caller says otherwise.

    Of two named classes of which one is a quiet one (`QUIET_NAMES`), the other; else every class.
    """
    if labels.names is None or labels.count != 2:
        return tuple(range(labels.count))
    loud = tuple(i for i, name in enumerate(labels.names) if _letters(name) not in QUIET_NAMES)
    return loud if len(loud) == 1 else (0, 1)


def events_in(
    windows: Sequence[Window], labels: LabelMap, rule: EventRule, *, classes: Sequence[int] | None = None
) -> tuple[Event, ...]:
    """The events of one video, class by class on its timeline, sorted by start, then class.

    Args:
        windows: of one video, in any order; no window gives no event.
        labels: the classes of the model; events of unknown names carry their index alone.
        rule: the thresholds, the same for every class.
        classes: which classes count as events; None: `event_classes(labels)`.

    Raises:
        UsageError: a class the model does not have.
    """
    chosen = event_classes(labels) if classes is None else classes
    for index in chosen:
        if not 0 <= index < labels.count:
            raise UsageError(f"events of class {index}", allowed=f"0 to {labels.count - 1}")
    pieces = timeline(windows)
    found = [
        Event(label_or_none(labels, index), index, i.start_seconds, i.end_seconds, i.peak, i.mean)
        for index in sorted(set(chosen))
        for i in find_events([Segment(p.start_seconds, p.end_seconds, p.probabilities[index]) for p in pieces], rule)
    ]
    return tuple(sorted(found, key=lambda event: (event.start_seconds, event.class_index)))


def _open_stretches(segments: Sequence[Segment], rule: EventRule) -> Iterator[slice]:
    """Runs of adjacent segments from the first that reaches `enter` to the last before `leave`."""
    opened: int | None = None
    for index, segment in enumerate(segments):
        adjacent = index > 0 and _seconds(segment.start_seconds - segments[index - 1].end_seconds) == 0
        if opened is not None and not (adjacent and _reaches(segment.score, rule.leave)):
            yield slice(opened, index)
            opened = None
        if opened is None and _reaches(segment.score, rule.enter):
            opened = index
    if opened is not None:
        yield slice(opened, len(segments))


def _interval(segments: Sequence[Segment]) -> Interval:
    seconds = [segment.end_seconds - segment.start_seconds for segment in segments]
    weighted = math.fsum(length * segment.score for length, segment in zip(seconds, segments, strict=True))
    peak = max(segment.score for segment in segments)
    # A mean of equal scores may exceed them by the last bit of a float.
    mean = min(weighted / math.fsum(seconds), peak)
    return Interval(segments[0].start_seconds, segments[-1].end_seconds, peak, mean)


def _reaches(score: float, threshold: float) -> bool:
    return round(score - threshold, SCORE_DECIMALS) >= 0


def _seconds(difference: float) -> float:
    return round(difference, MICROSECOND)


def _letters(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalpha())
