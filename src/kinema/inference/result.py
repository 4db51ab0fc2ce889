"""Prediction: what kinema says about one video, and the two JSON forms it leaves the program in.

kinema's own form, schema version 1 (`Prediction.to_json`, `Prediction.from_json`):

    schema            "kinema.prediction"
    version           1
    source            path or URL, as given
    duration_seconds  length of what was looked at
    labels            {"count": K, "names": [K names in index order] or null where they are unknown}
    probabilities     [K], video level: the mean over the windows, sums to 1
    top               the likeliest classes, 5 unless asked otherwise: {"class_index", "label" or null,
                      "probability"}; for convenience, derived from `probabilities` and not read back
    windows           [{"start_seconds", "end_seconds", "probabilities": [K]}], by start
    events            [{"label" or null, "class_index", "start_seconds", "end_seconds", "peak", "mean"}]
    warnings          [text]

Seconds count from the first shown frame; every range is half-open, [start, end).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import PurePath
from typing import Any, TypeAlias

from kinema.core.errors import DataError, UsageError
from kinema.core.labels import LabelMap

__all__ = ["Event", "Prediction", "Score", "Window", "label_or_none", "to_hara"]

Json: TypeAlias = dict[str, Any]

SCHEMA = "kinema.prediction"
SCHEMA_VERSION = 1
SUM_TOLERANCE = 1e-3
"""How far probabilities may sum from 1: half-precision softmax strays this far, logits further."""


@dataclass(frozen=True)
class Window:
    """The scores of one stretch of a video.

    Attributes:
        start_seconds: first instant, included.
        end_seconds: last instant, excluded; after `start_seconds`.
        probabilities: (K,), each 0 to 1, sum 1.
    """

    start_seconds: float
    end_seconds: float
    probabilities: tuple[float, ...]

    def __post_init__(self) -> None:
        _check_range("a window", self.start_seconds, self.end_seconds)
        _check_distribution("a window", self.probabilities)


@dataclass(frozen=True)
class Event:
    """A stretch in which one class was found.

    Attributes:
        label: name of the class; None where names are unknown.
        class_index: 0 to K - 1.
        start_seconds: first instant, included.
        end_seconds: last instant, excluded.
        peak: highest score within, 0 to 1.
        mean: mean score over the instants that were looked at, 0 to 1, at most `peak`.
    """

    label: str | None
    class_index: int
    start_seconds: float
    end_seconds: float
    peak: float
    mean: float

    def __post_init__(self) -> None:
        _check_range("an event", self.start_seconds, self.end_seconds)
        if self.class_index < 0:
            raise DataError(f"an event of class {self.class_index}", allowed="0 or more")
        if not 0 <= self.mean <= self.peak <= 1:
            raise DataError(f"an event with mean {self.mean} and peak {self.peak}", allowed="0 <= mean <= peak <= 1")


@dataclass(frozen=True)
class Score:
    """One class and how likely it is: index 0 to K - 1, name or None where unknown, probability 0 to 1."""

    class_index: int
    label: str | None
    probability: float


@dataclass(frozen=True, repr=False)
class Prediction:
    """All that was found in one video.

    Attributes:
        source: path or URL, as given.
        duration_seconds: length of what was looked at, 0 or more.
        labels: the K classes, named or not.
        probabilities: (K,), video level: the mean of the windows; sum 1.
        windows: by start; they may overlap and may leave gaps.
        events: what `find_events` made of them.
        warnings: what a reader of the numbers must know, such as frames that did not decode.

    Raises:
        DataError: parts that do not fit each other, or are no probabilities.
    """

    source: str
    duration_seconds: float
    labels: LabelMap
    probabilities: tuple[float, ...]
    windows: tuple[Window, ...] = ()
    events: tuple[Event, ...] = ()
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not (math.isfinite(self.duration_seconds) and self.duration_seconds >= 0):
            raise DataError(f"a duration of {self.duration_seconds} s", allowed="0 or more, finite")
        _check_distribution(f"the prediction for {self.source}", self.probabilities)
        for name, scores in [("video", self.probabilities), *(("a window", w.probabilities) for w in self.windows)]:
            if len(scores) != self.labels.count:
                raise DataError(
                    f"{len(scores)} probabilities ({name}) for {self.labels.count} classes in {self.source}",
                    allowed="one probability a class",
                )
        starts = [window.start_seconds for window in self.windows]
        if starts != sorted(starts):
            raise DataError(f"windows of {self.source} out of order", allowed="windows sorted by start")
        for event in self.events:
            if event.class_index >= self.labels.count or event.label != label_or_none(self.labels, event.class_index):
                raise DataError(
                    f"{event} does not belong to {self.labels}", allowed="events of the model's own classes"
                )

    def top(self, k: int = 1) -> list[Score]:
        """The `k` likeliest classes (all of them if there are fewer), best first, equal ones by index."""
        return _top(self.probabilities, self.labels, k)

    def to_json(self, top_k: int = 5) -> Json:
        """The documented form (see the module) as plain dicts, lists, strings and numbers."""
        return {
            "schema": SCHEMA,
            "version": SCHEMA_VERSION,
            "source": self.source,
            "duration_seconds": self.duration_seconds,
            "labels": {"count": self.labels.count, "names": list(self.labels.names) if self.labels.names else None},
            "probabilities": list(self.probabilities),
            "top": [asdict(score) for score in self.top(top_k)],
            "windows": [{**asdict(window), "probabilities": list(window.probabilities)} for window in self.windows],
            "events": [asdict(event) for event in self.events],
            "warnings": list(self.warnings),
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Prediction:
        """The prediction that `to_json` wrote.

        Raises:
            DataError: another schema or version, or parts that are missing or malformed.
        """
        found = (record.get("schema"), record.get("version"))
        if found != (SCHEMA, SCHEMA_VERSION):
            raise DataError(
                f"a record of schema {found[0]!r}, version {found[1]!r}",
                allowed=f"'{SCHEMA}', version {SCHEMA_VERSION}",
                next_step="predict again with this version of kinema",
            )
        try:
            names = record["labels"]["names"]
            return cls(
                source=str(record["source"]),
                duration_seconds=float(record["duration_seconds"]),
                labels=LabelMap(int(record["labels"]["count"]), None if names is None else tuple(map(str, names))),
                probabilities=_floats(record["probabilities"]),
                windows=tuple(
                    Window(float(w["start_seconds"]), float(w["end_seconds"]), _floats(w["probabilities"]))
                    for w in record["windows"]
                ),
                events=tuple(Event(**event) for event in record["events"]),
                warnings=tuple(map(str, record["warnings"])),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"a prediction record that is incomplete or malformed: {error!r}",
                allowed="what Prediction.to_json writes",
            ) from error

    def __repr__(self) -> str:
        best = self.top(1)[0]
        name = f"class {best.class_index}" if best.label is None else best.label
        return (
            f"Prediction({self.source}: {name} {best.probability:.3f}, {self.duration_seconds:.1f} s, "
            f"{len(self.windows)} windows, {len(self.events)} events)"
        )


def label_or_none(labels: LabelMap, class_index: int) -> str | None:
    """The name of a class, or None where names are unknown: an index is shown, never an invented name."""
    return labels.name(class_index) if labels.is_known else None


def to_hara(
    predictions: Iterable[Prediction],
    *,
    top_k: int = 5,
    average: bool = True,
    fps: Mapping[str, float] | None = None,
) -> Json:
    """The result JSON of 3D-ResNets-PyTorch, for tools that read it.

    A video is known by its file name without suffix, as there. Where names are unknown, "label" is
    the class index, an integer.

    Args:
        predictions: one or more videos with distinct file names.
        top_k: classes listed for each.
        average: True gives `{"results": {id: [{"label", "score"}, ...]}}`; False, as its
            `--inference_no_average`, `{"results": {id: [{"segment": [b, e], "result": [...]}]}}` with
            frames [b, e) counted from 1.
        fps: frames a second for each source; needed without `average`, since segments count frames.

    Raises:
        DataError: two videos of one file name, which that format cannot tell apart.
        UsageError: no frame rate for a source whose segments are asked for.
    """
    results: dict[str, list[Json]] = {}
    for prediction in predictions:
        video = PurePath(prediction.source).stem
        if video in results:
            raise DataError(
                f"two videos named '{video}' (the second: {prediction.source})",
                allowed="distinct file names: this format knows a video by its name alone",
                next_step="rename one, or write kinema's own JSON",
            )
        if average:
            results[video] = _hara_scores(prediction.probabilities, prediction.labels, top_k)
            continue
        rate = (fps or {}).get(prediction.source)
        if rate is None or not rate > 0:
            raise UsageError(f"no frame rate for {prediction.source}", allowed="frames a second for every source")
        results[video] = [
            {
                "segment": [round(window.start_seconds * rate) + 1, round(window.end_seconds * rate) + 1],
                "result": _hara_scores(window.probabilities, prediction.labels, top_k),
            }
            for window in prediction.windows
        ]
    return {"results": results}


def _hara_scores(probabilities: tuple[float, ...], labels: LabelMap, k: int) -> list[Json]:
    return [
        {"label": score.class_index if score.label is None else score.label, "score": score.probability}
        for score in _top(probabilities, labels, k)
    ]


def _top(probabilities: tuple[float, ...], labels: LabelMap, k: int) -> list[Score]:
    if k < 1:
        raise UsageError(f"the top {k} classes", allowed="1 or more")
    order = sorted(range(len(probabilities)), key=lambda index: -probabilities[index])
    return [Score(index, label_or_none(labels, index), probabilities[index]) for index in order[:k]]


def _floats(values: Iterable[Any]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def _check_range(what: str, start_seconds: float, end_seconds: float) -> None:
    if not (math.isfinite(start_seconds) and math.isfinite(end_seconds) and start_seconds < end_seconds):
        raise DataError(f"{what} from {start_seconds} s to {end_seconds} s", allowed="finite, the end after the start")


def _check_distribution(what: str, probabilities: tuple[float, ...]) -> None:
    # Written so that a NaN fails both tests.
    if not all(0 <= p <= 1 for p in probabilities) or not (abs(math.fsum(probabilities) - 1) <= SUM_TOLERANCE):
        raise DataError(
            f"{what} has scores {probabilities[:4]}{' …' if len(probabilities) > 4 else ''} that are no probabilities",
            allowed="one a class, each 0 to 1, sum 1 (after softmax)",
        )
