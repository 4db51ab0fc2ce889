"""What a report draws, as inline SVG: training curves, a confusion matrix, timelines.

Figures take their colours and fonts from the page they stand in, through CSS variables (`--ink`,
`--muted`, `--line`, `--paper`, `--c0` to `--c5`), so one figure serves light, dark and print.
matplotlib knows no variables: each colour here is a placeholder that `as_svg` exchanges for one.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from io import StringIO
from typing import Any, Literal
from xml.sax.saxutils import quoteattr

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator, NullFormatter, StrMethodFormatter

from kinema.core.errors import DataError
from kinema.evaluation.metrics import Metrics
from kinema.inference.aggregate import timeline
from kinema.inference.events import EventRule, Segment, event_classes
from kinema.inference.result import Event, Prediction, label_or_none

__all__ = [
    "DASHES",
    "MUTED",
    "SERIES",
    "STYLE",
    "Curve",
    "Run",
    "ScoreLine",
    "Stretch",
    "Timeline",
    "as_svg",
    "draw_confusion",
    "draw_panel",
    "draw_timeline",
    "panel_names",
]

INK, MUTED, LINE, PAPER = "#fe0101", "#fe0102", "#fe0103", "#fe0104"
SERIES = ("#fe0110", "#fe0111", "#fe0112", "#fe0113", "#fe0114", "#fe0115")
RIGHT, WRONG = SERIES[0], SERIES[1]
VARIABLES = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    LINE: "var(--line)",
    PAPER: "var(--paper)",
    **{placeholder: f"var(--c{index})" for index, placeholder in enumerate(SERIES)},
}

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: selectable, small, in the page's own font
    "svg.hashsalt": "kinema",  # the same figure gives the same bytes
    "text.parse_math": False,  # a file name may hold dollar signs
    "font.size": 11,
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.8,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "legend.frameon": False,
    "legend.fontsize": 10,
}
DASHES = (0.0, (3.0, 2.0))
NUMBERED_CLASSES = 20  # a larger matrix has no room for counts
NAMED_CLASSES = 60  # nor, larger still, for names
MOST_LINES = 4


@dataclass(frozen=True)
class Curve:
    """One line of a training figure.

    Attributes:
        figure: what is drawn, such as "loss" or "video top-1"; curves of one name share a panel.
        split: whose samples; "" where it is of neither, as the learning rate.
        epochs: (E,) abscissae, ascending.
        values: (E,) ordinates; NaN leaves a gap.
        log_scale: whether the panel's ordinate is logarithmic.
    """

    figure: str
    split: Literal["train", "val", ""]
    epochs: tuple[float, ...]
    values: tuple[float, ...]
    log_scale: bool = False

    def __post_init__(self) -> None:
        if len(self.epochs) != len(self.values):
            raise DataError(f"{self.figure}: {len(self.epochs)} epochs with {len(self.values)} values")


@dataclass(frozen=True)
class Run:
    """One training or fold: its name in the legend and its curves."""

    name: str
    curves: tuple[Curve, ...]


@dataclass(frozen=True)
class Stretch:
    """A true interval [start_seconds, end_seconds) and the name of what happens in it."""

    start_seconds: float
    end_seconds: float
    label: str

    def __post_init__(self) -> None:
        if not self.start_seconds < self.end_seconds:
            raise DataError(f"an interval from {self.start_seconds} s to {self.end_seconds} s")


@dataclass(frozen=True)
class ScoreLine:
    """The scores of one class over time: its name and segments, sorted, not overlapping."""

    label: str
    segments: tuple[Segment, ...]


@dataclass(frozen=True)
class Timeline:
    """The scores of one untrimmed video, what was found in it and what is there.

    Attributes:
        title: path or name of the video.
        duration_seconds: length of the time axis, above 0.
        lines: scores of the classes worth seeing, at most six.
        found: intervals drawn above the scores.
        true: intervals drawn beneath; None where nobody knows them.
        rule: whose thresholds are drawn, if any.
        iou: temporal intersection over union of `found` and `true`, where both are known.
    """

    title: str
    duration_seconds: float
    lines: tuple[ScoreLine, ...]
    found: tuple[Event, ...]
    true: tuple[Stretch, ...] | None = None
    rule: EventRule | None = None
    iou: float | None = None

    def __post_init__(self) -> None:
        if not self.duration_seconds > 0:
            raise DataError(f"a timeline of {self.duration_seconds} s for {self.title}", allowed="above 0")
        if len(self.lines) > len(SERIES):
            raise DataError(f"{len(self.lines)} lines in one timeline", allowed=f"at most {len(SERIES)}")

    @classmethod
    def of(
        cls,
        prediction: Prediction,
        *,
        true: Sequence[Stretch] | None = None,
        rule: EventRule | None = None,
        iou: float | None = None,
    ) -> Timeline:
        """The timeline of a prediction: its event classes, or of many classes those that peak highest."""
        pieces = timeline(prediction.windows)
        classes = event_classes(prediction.labels)
        peaks = {index: max((piece.probabilities[index] for piece in pieces), default=0.0) for index in classes}
        shown = sorted(sorted(classes, key=lambda index: -peaks[index])[:MOST_LINES])
        lines = (
            ScoreLine(
                label_or_none(prediction.labels, index) or f"class {index}",
                tuple(Segment(p.start_seconds, p.end_seconds, p.probabilities[index]) for p in pieces),
            )
            for index in shown
        )
        return cls(
            title=prediction.source,
            duration_seconds=prediction.duration_seconds,
            lines=tuple(lines),
            found=prediction.events,
            true=None if true is None else tuple(true),
            rule=rule,
            iou=iou,
        )


def draw_panel(name: str, runs: Sequence[Run]) -> str:
    """The curves called `name` of all runs in one panel: a colour a run, validation solid, training dashed.

    Raises:
        DataError: no run has such a curve.
    """
    drawn = [(index, run, curve) for index, run in enumerate(runs) for curve in run.curves if curve.figure == name]
    if not drawn:
        raise DataError(
            f"no curve called '{name}'", allowed=", ".join(panel_names(runs)) or "nothing: no curves at all"
        )
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(5.0, 3.3), layout="constrained")
        axes = figure.add_subplot()
        for index, _, curve in drawn:
            dashed = curve.split == "train"
            axes.plot(
                curve.epochs,
                curve.values,
                color=SERIES[index % len(SERIES)],
                linestyle=DASHES if dashed else "-",
                linewidth=1.2 if dashed else 2.0,
                alpha=0.75 if dashed else 1.0,
                marker="o" if len(curve.epochs) < 3 else None,
                markersize=4,
                markerfacecolor="none" if dashed else None,
            )
        if any(curve.log_scale for _, _, curve in drawn):
            axes.set_yscale("log")
            # The default writes powers as mathematics, which is switched off for the sake of file names.
            axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        epochs = {epoch for _, _, curve in drawn for epoch in curve.epochs}
        if len(epochs) == 1:  # of a single one the locator would make tenths
            axes.set_xticks(sorted(epochs))
        axes.tick_params(length=0)
        axes.margins(x=0.02)
        handles = _legend(drawn)
        if handles:
            axes.legend(handles=handles, ncols=2 if len(handles) > 3 else 1)
        return as_svg(figure, f"{name} for each epoch")


def panel_names(runs: Sequence[Run]) -> tuple[str, ...]:
    """The panels these runs fill, in order of first appearance."""
    return tuple(dict.fromkeys(curve.figure for run in runs for curve in run.curves))


def draw_confusion(metrics: Metrics) -> str:
    """The confusion matrix, shaded by the share of each true class: right ones in one colour, wrong ones in another."""
    counts = np.array(metrics.confusion)
    count = len(counts)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = min(max(0.62 * count, 2.2), 8.0)
    with mpl.rc_context({**STYLE, "axes.grid": False}):
        figure = Figure(figsize=(side, side))
        axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        axes.set(xlim=(0, count), ylim=(count, 0), xlabel="predicted", ylabel="true")
        for row, column in zip(*np.nonzero(counts), strict=True):
            colour = RIGHT if row == column else WRONG
            # By the root, so that a mistake of 1 in 40 is still seen among a hundred classes.
            shade = 0.1 + 0.9 * float(shares[row, column]) ** 0.5
            axes.add_patch(Rectangle((column, row), 1, 1, facecolor=colour, alpha=shade, linewidth=0))
        if count <= NUMBERED_CLASSES:
            for (row, column), number in np.ndenumerate(counts):
                colour = PAPER if shares[row, column] > 0.35 else INK if number else MUTED
                axes.text(column + 0.5, row + 0.5, str(number), ha="center", va="center", color=colour)
            axes.hlines(range(1, count), 0, count, color=PAPER, linewidth=2)
            axes.vlines(range(1, count), 0, count, color=PAPER, linewidth=2)
        for spine in axes.spines.values():
            spine.set_visible(False)
        axes.tick_params(length=0, labelcolor=INK)
        axes.xaxis.set(ticks_position="top", label_position="top")
        _name_classes(axes, metrics, count)
        return as_svg(figure, f"confusion matrix, {metrics.level} level: rows are the truth, columns the prediction")


def draw_timeline(video: Timeline) -> str:
    """Scores over time with the found intervals above and the true ones beneath."""
    with mpl.rc_context(STYLE):
        heights = (0.32, 2.0, 0.32) if video.true is not None else (0.32, 2.0)
        figure = Figure(figsize=(10.0, sum(heights) + 0.45), layout="constrained")
        above, scores, *beneath = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
        for index, line in enumerate(video.lines):
            _draw_scores(scores, line, SERIES[index], filled=len(video.lines) <= 2)
        scores.set(ylim=(0, 1.03), yticks=(0, 0.5, 1), xlim=(0, video.duration_seconds))
        if video.rule:
            for level, name in ((video.rule.enter, "enter"), (video.rule.leave, "leave")):
                scores.axhline(level, color=MUTED, linewidth=0.9, linestyle=(0, (2, 3)))
                scores.text(
                    1.005, level, name, color=MUTED, fontsize=9, va="center", transform=scores.get_yaxis_transform()
                )
        colours = {line.label: SERIES[index] for index, line in enumerate(video.lines)}
        found = [
            (event.start_seconds, event.end_seconds, event.label or f"class {event.class_index}")
            for event in video.found
        ]
        _draw_track(above, "found", found, colours)
        for axes in beneath:
            stretches = [(s.start_seconds, s.end_seconds, s.label) for s in video.true or ()]
            _draw_track(axes, "true", stretches, colours)
        for axes in (above, scores, *beneath):
            axes.tick_params(length=0, labelbottom=False)
        last = beneath[0] if beneath else scores
        last.tick_params(labelbottom=True)
        last.set_xlabel("seconds")
        return as_svg(figure, f"scores over time: {video.title}")


def _legend(drawn: Sequence[tuple[int, Run, Curve]]) -> list[Line2D]:
    """Colours say the run where there are several; dashes say the split where there are both."""
    runs = dict.fromkeys((index, run.name) for index, run, _ in drawn)
    splits = {curve.split for _, _, curve in drawn}
    handles = []
    if len(runs) > 1:
        handles += [Line2D([], [], color=SERIES[i % len(SERIES)], linewidth=2, label=name) for i, name in runs]
    colour = MUTED if len(runs) > 1 else SERIES[drawn[0][0] % len(SERIES)]
    if "val" in splits:
        handles.append(Line2D([], [], color=colour, linewidth=2.0, label="validation"))
    if "train" in splits:
        handles.append(Line2D([], [], color=colour, linewidth=1.2, linestyle=DASHES, label="training"))
    return handles


def _name_classes(axes: Axes, metrics: Metrics, count: int) -> None:
    names = [_shortened(name) for name in metrics.labels.names or map(str, range(count))]
    # Of very many classes only some can be marked, and then by index.
    step = 1 if count <= NAMED_CLASSES else 10 * -(-count // 400)
    marked = range(0, count, step)
    texts = names if step == 1 else [str(index) for index in marked]
    size = 11 if count <= NUMBERED_CLASSES else 7
    axes.set_xticks([index + 0.5 for index in marked], texts, fontsize=size)
    axes.set_yticks([index + 0.5 for index in marked], texts, fontsize=size)
    if max(map(len, texts)) > 6:
        slanted = count <= NUMBERED_CLASSES
        axes.tick_params(axis="x", labelrotation=45 if slanted else 90)
        for label in axes.get_xticklabels() if slanted else ():
            label.set(ha="left", rotation_mode="anchor")


def _draw_scores(axes: Axes, line: ScoreLine, colour: str, *, filled: bool) -> None:
    """Steps that break where nothing was looked at."""
    times: list[float] = []
    values: list[float] = []
    for index, segment in enumerate(line.segments):
        if index and segment.start_seconds - line.segments[index - 1].end_seconds > 1e-6:
            times.append(float("nan"))
            values.append(float("nan"))
        times += [segment.start_seconds, segment.end_seconds]
        values += [segment.score, segment.score]
    axes.plot(times, values, color=colour, linewidth=1.8, label=line.label)
    if filled:
        axes.fill_between(times, values, 0, color=colour, alpha=0.12, linewidth=0)


def _draw_track(axes: Axes, name: str, spans: Sequence[tuple[float, float, str]], colours: dict[str, str]) -> None:
    axes.set(ylim=(0, 1), yticks=(0.5,))
    axes.set_yticklabels([name])
    axes.grid(visible=False)
    axes.set_facecolor(LINE)
    axes.patch.set_alpha(0.35)
    for spine in axes.spines.values():
        spine.set_visible(False)
    for start, end, label in spans:
        axes.add_patch(Rectangle((start, 0.12), end - start, 0.76, facecolor=colours.get(label, MUTED), linewidth=0))


def _shortened(name: str, longest: int = 18) -> str:
    return name if len(name) <= longest else name[: longest - 1] + "…"


def as_svg(figure: Figure, description: str) -> str:
    """The figure as an <svg> element that scales with the page and takes its colours and font."""
    written = StringIO()
    with warnings.catch_warnings():
        # The page's font shows the letters that matplotlib's, only measured with here, lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(written, format="svg", bbox_inches="tight", pad_inches=0.04, transparent=True)
    text = written.getvalue()
    body = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    body = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", body, flags=re.DOTALL)
    body = _with_own_ids(re.sub(r' id="[\w.]+_[0-9]+"', "", body))
    body = re.sub(r"font-family: [^;\"]*;?", "", body)
    for placeholder, variable in VARIABLES.items():
        body = body.replace(placeholder, variable)
    head, content = body.split(">", 1)
    box = re.search(r'viewBox="0 0 ([0-9.]+) ([0-9.]+)"', head)
    assert box is not None, "matplotlib writes a viewBox"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" {box.group(0)} '
        f'width="{box.group(1)}" role="img" aria-label={quoteattr(description)}>{content}'
    )


def _with_own_ids(body: str) -> str:
    """Ids named by the content of the figure: all figures of a page share one name space.

    matplotlib names some of them by memory addresses, which differ from run to run and may coincide.
    """
    names = dict.fromkeys(re.findall(r' id="([^"]+)"', body))
    reference = re.compile(r'(id="|#)(' + "|".join(map(re.escape, names)) + r')(?=[")])')
    content = reference.sub(r"\1", body).encode("utf-8", "surrogatepass")
    mark = sha256(content).hexdigest()[:8]
    numbers = {name: index for index, name in enumerate(names)}
    return reference.sub(lambda found: f"{found[1]}f{mark}-{numbers[found[2]]}", body)
