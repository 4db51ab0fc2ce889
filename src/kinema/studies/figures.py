"""Curves of several trainings in one figure: a line and a band each, and how steady the last epochs are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure as Drawing
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from kinema.evaluation.figures import SERIES, STYLE, as_svg
from kinema.studies.grid import Grid, matches
from kinema.studies.results import Epochs, RunResult
from kinema.studies.study import FigurePlan
from kinema.studies.tables import combinations_of, label

__all__ = ["Figure", "Line", "build_figures", "draw_lines"]

FIGURES = ("loss, training", "accuracy, training", "loss, validation", "accuracy, validation")
_DASHES = ("-", (0.0, (5.0, 2.0)), (0.0, (1.5, 1.5)), (0.0, (5.0, 2.0, 1.5, 2.0)))


@dataclass(frozen=True)
class Line:
    """What the trainings of one line have in common, and what they did.

    Attributes:
        name: in the legend.
        courses: of each run, or of each of its folds.
        missing: runs that are still to be finished.
    """

    name: str
    courses: tuple[Epochs, ...]
    missing: int

    def values(self, panel: str) -> npt.NDArray[np.float64]:
        """(courses, epochs), as far as all of them go; empty where there are none."""
        curves = [curve for course in self.courses if (curve := _curve(course, panel))]
        shortest = min(map(len, curves), default=0)
        return np.array([curve[:shortest] for curve in curves], dtype=np.float64).reshape(len(curves), shortest)

    def last(self, panel: str) -> float | None:
        """The mean over trainings at their last epoch."""
        ends = [curve[-1] for course in self.courses if (curve := _curve(course, panel))]
        return float(np.mean(ends)) if ends else None

    def unsteadiness(self, panel: str, epochs: int) -> float | None:
        """The standard deviation over the last `epochs` epochs of a training, mean over trainings."""
        ends = [curve[-epochs:] for course in self.courses if (curve := _curve(course, panel))]
        spreads = [np.std(end, ddof=1) for end in ends if len(end) > 1]
        return float(np.mean(spreads)) if spreads else None


@dataclass(frozen=True)
class Figure:
    """A figure: its lines, and the panels that they fill.

    Attributes:
        title: above it.
        lines: in the order of the study.
        panels: what is drawn, of `FIGURES`.
        last: epochs at the end over which the spread is measured.
        pooled: axes whose levels share a line.
        note: what a reader must know.
    """

    title: str
    lines: tuple[Line, ...]
    panels: tuple[str, ...]
    last: int
    pooled: tuple[str, ...]
    note: str


def build_figures(grid: Grid, results: Mapping[str, RunResult]) -> tuple[Figure, ...]:
    """All figures of a study, or one with a line for each level of the first axis where it names none."""
    plans = grid.study.figures or (FigurePlan(lines=(next(iter(grid.study.axes)),)),)
    return tuple(
        _build(grid, results, plan, fixed) for plan in plans for fixed in combinations_of(grid, plan.each, plan.where)
    )


def draw_lines(figure: Figure, panel: str) -> str:
    """One panel as an <svg> element: mean over trainings, and a band of one standard deviation."""
    with mpl.rc_context(STYLE):
        drawing = Drawing(figsize=(5.0, 3.3), layout="constrained")
        axes = drawing.add_subplot()
        drawn: list[Line2D] = []
        names: list[str] = []
        for index, line in enumerate(figure.lines):
            values = line.values(panel)
            if not values.size:
                continue
            epochs = np.arange(1, values.shape[1] + 1)
            colour, dash = SERIES[index % len(SERIES)], _DASHES[index // len(SERIES) % len(_DASHES)]
            mean = values.mean(axis=0)
            marker = "o" if len(epochs) < 3 else None
            drawn += axes.plot(epochs, mean, color=colour, linestyle=dash, linewidth=1.8, marker=marker)
            names.append(line.name)
            if len(values) > 1:
                spread = values.std(axis=0, ddof=1)
                axes.fill_between(epochs, mean - spread, mean + spread, color=colour, alpha=0.15, linewidth=0)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.tick_params(length=0)
        axes.margins(x=0.02)
        if len(figure.lines) > 1 and drawn:
            legend = axes.legend(drawn, ["line"] * len(drawn), ncols=2 if len(figure.lines) > 4 else 1)
            # Named only now: matplotlib before 3.10 leaves out labels that begin with an underscore.
            for text, name in zip(legend.get_texts(), names, strict=True):
                text.set_text(name)
        return as_svg(drawing, f"{panel} for each epoch: {figure.title}")


def _build(grid: Grid, results: Mapping[str, RunResult], plan: FigurePlan, fixed: Mapping[str, str]) -> Figure:
    where = {**plan.where, **{axis: (level,) for axis, level in fixed.items()}}
    runs = [run for run in grid.runs if matches(run.levels, where)]
    lines, finished = [], []
    for levels in combinations_of(grid, plan.lines, where):
        own = [run for run in runs if run.levels.items() >= levels.items()]
        found = [results[run.name] for run in own if run.name in results]
        finished += found
        courses = tuple(course for result in found for course in result.courses)
        lines.append(Line(label(levels), courses, len(own) - len(found)))
    pooled = [axis for axis in grid.study.axes if len({run.levels[axis] for run in runs}) > 1]
    pooled = [axis for axis in pooled if axis not in (*plan.lines, *plan.each)]
    if any(len(result.courses) > 1 for result in finished):
        pooled.append("folds")
    panels = tuple(panel for panel in FIGURES if any(line.values(panel).size for line in lines))
    title = " · ".join(part for part in (plan.title or f"By {', '.join(plan.lines)}", label(fixed)) if part)
    return Figure(title, tuple(lines), panels, plan.last, tuple(pooled), _note(lines, panels))


def _note(lines: Sequence[Line], panels: Sequence[str]) -> str:
    if not panels:
        return "No run is finished yet."
    if not any("validation" in panel for panel in panels):
        return (
            "Curves of training clips only, augmented as they were learnt from: no clips were kept to validate "
            "on after each epoch, as with folds or val_fraction 0. They show learning, not generalising."
        )
    lengths = {len(course.train_loss) for line in lines for course in line.courses}
    return "Lines end with the shortest training." if len(lengths) > 1 else ""


def _curve(course: Epochs, panel: str) -> tuple[float, ...]:
    curves = (course.train_loss, course.train_accuracy, course.val_loss, course.val_accuracy)
    return dict(zip(FIGURES, curves, strict=True))[panel]
