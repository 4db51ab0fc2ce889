"""A report: one HTML file that holds everything, asks nothing of a network, and prints well."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from kinema.core.atomic import replacing
from kinema.core.errors import DataError
from kinema.evaluation.estimate import Estimate
from kinema.evaluation.figures import Run, Timeline, draw_confusion, draw_panel, draw_timeline, panel_names
from kinema.evaluation.metrics import Metrics

__all__ = ["BrokenFile", "Fact", "Mistake", "Protocol", "Report", "Thumbnail", "write_report"]

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
MOST_CONFUSED = 12
LISTED_CONFUSIONS_FROM = 12  # classes; a smaller matrix is read at a glance


@dataclass(frozen=True)
class Protocol:
    """How the numbers came about, in words that complete the sentences of the report.

    Attributes:
        split: the rule that parted the data, such as "five folds by source video, seed 0".
        views: what a video's prediction is made of, such as "mean over 10 even windows of 16
            frames, centre crop".
        samples: which samples were measured, such as "held-out" or "validation".
        note: anything else a reader must know to repeat it.
    """

    split: str
    views: str
    samples: str = "held-out"
    note: str = ""


@dataclass(frozen=True)
class Thumbnail:
    """A small picture: PNG bytes and what it shows."""

    png: bytes
    caption: str

    def __post_init__(self) -> None:
        _check_png(self.png, self.caption)


@dataclass(frozen=True)
class Mistake:
    """A sample that was answered wrongly.

    Attributes:
        path: which one.
        truth: the true class, by name or "class 3".
        prediction: the answer, likewise.
        probability: how sure the answer was, 0 to 1.
        thumbnail: PNG bytes of a frame of it, if wanted.
    """

    path: str
    truth: str
    prediction: str
    probability: float
    thumbnail: bytes | None = None

    def __post_init__(self) -> None:
        if self.thumbnail is not None:
            _check_png(self.thumbnail, self.path)


@dataclass(frozen=True)
class BrokenFile:
    """A file that could not be used, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class Fact:
    """A line about the model or the run, such as "parameters" and "33.2 million"."""

    name: str
    value: str


@dataclass(frozen=True)
class Report:
    """What a report shows; parts without content are left out of it.

    Attributes:
        title: heading of the page.
        metrics: the headline first (video level where there is one); at least one.
        protocol: how they were measured.
        runs: training curves, one entry a run or fold.
        timelines: untrimmed videos.
        mistakes: in the order shown, the worst first.
        broken: files that were skipped.
        warnings: in addition to those of the metrics.
        facts: model, parameters, input, device, seconds, versions.
        thumbnails: a gallery.
    """

    title: str
    metrics: tuple[Metrics, ...]
    protocol: Protocol
    runs: tuple[Run, ...] = ()
    timelines: tuple[Timeline, ...] = ()
    mistakes: tuple[Mistake, ...] = ()
    broken: tuple[BrokenFile, ...] = ()
    warnings: tuple[str, ...] = ()
    facts: tuple[Fact, ...] = ()
    thumbnails: tuple[Thumbnail, ...] = ()

    def __post_init__(self) -> None:
        if not self.metrics:
            raise DataError(f"a report '{self.title}' without metrics", allowed="at least one level measured")

    @property
    def answer(self) -> str:
        """The result in one sentence."""
        best = self.metrics[0]
        samples = f"{self.protocol.samples} {best.level}{'' if best.n == 1 else 's'}"
        return f"Right on {best.correct} of {best.n} {samples}: {best.accuracy}"

    @property
    def all_warnings(self) -> tuple[str, ...]:
        """What to know before believing a number: the report's own, of the metrics, of broken files; each once."""
        of_metrics = (warning for metrics in self.metrics for warning in metrics.warnings)
        files = "1 file was" if len(self.broken) == 1 else f"{len(self.broken)} files were"
        of_files = (f"{files} broken or skipped and count nowhere; they are listed below",) if self.broken else ()
        return tuple(dict.fromkeys([*self.warnings, *of_files, *of_metrics]))


@dataclass(frozen=True)
class _Bar:
    """One line of the table of figures; ends in percent of the axis, None without an interval."""

    name: str
    estimate: Estimate
    low: float | None
    high: float | None


@dataclass(frozen=True)
class _Confusion:
    """A pair of classes taken for each other: how many of `support` samples of `truth` were called `prediction`."""

    truth: str
    prediction: str
    count: int
    support: int


def write_report(path: Path | str, report: Report) -> None:
    """Write `report` to `path` as one HTML file, whole or not at all.

    The page holds its style, figures and pictures, runs no script and may load nothing, which its
    own content security policy enforces. Every text given is escaped.

    Raises:
        DataError: the folder cannot be written to.
    """
    page = _environment().get_template("report.html.j2").render(_content(report))
    with replacing(path) as beside:
        # A file name that is no valid text (a lone surrogate) becomes a character reference.
        beside.write_bytes(page.encode("utf-8", "xmlcharrefreplace"))


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("kinema.evaluation", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["data_uri"] = _data_uri
    return environment


def _content(report: Report) -> dict[str, Any]:
    """The variables of the template. Only figures drawn here are marked as HTML; all else is escaped."""
    return {
        "report": report,
        "bars": [bar for metrics in report.metrics for bar in _bars(metrics)],
        "panels": [(name, Markup(draw_panel(name, report.runs))) for name in panel_names(report.runs)],  # noqa: S704 - drawn by matplotlib, which escapes
        "confusions": [
            (metrics, Markup(draw_confusion(metrics)), _most_confused(metrics))  # noqa: S704 - likewise
            for metrics in report.metrics
        ],
        "timelines": [(video, Markup(draw_timeline(video))) for video in report.timelines],  # noqa: S704 - likewise
    }


def _bars(metrics: Metrics) -> list[_Bar]:
    level = metrics.level
    figures = [
        (f"{level} top-1", metrics.accuracy),
        (f"{level} top-1, over groups", metrics.accuracy_over_groups),
        (f"{level} top-5", metrics.top5),
        (f"{level} macro F1", metrics.macro_f1),
        (f"{level} ROC-AUC", metrics.roc_auc),
    ]
    return [
        _Bar(
            name,
            estimate,
            None if estimate.low is None else 100 * estimate.low,
            None if estimate.high is None else 100 * estimate.high,
        )
        for name, estimate in figures
        if estimate is not None
    ]


def _most_confused(metrics: Metrics) -> list[_Confusion]:
    """The pairs most often taken for each other, where the matrix is too large to read."""
    rows = metrics.per_class
    if len(rows) < LISTED_CONFUSIONS_FROM:
        return []
    names = [row.label or f"class {row.class_index}" for row in rows]
    pairs = [
        _Confusion(names[truth], names[prediction], count, rows[truth].support)
        for truth, counts in enumerate(metrics.confusion)
        for prediction, count in enumerate(counts)
        if count and truth != prediction
    ]
    return sorted(pairs, key=lambda pair: (-pair.count, pair.truth, pair.prediction))[:MOST_CONFUSED]


def _data_uri(png: bytes) -> str:
    return f"data:image/png;base64,{b64encode(png).decode('ascii')}"


def _check_png(png: bytes, what: str) -> None:
    if not png.startswith(PNG_SIGNATURE):
        raise DataError(f"a thumbnail for {what} that is no PNG", allowed="the bytes of a PNG file")
