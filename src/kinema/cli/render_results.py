"""How predictions, figures and finished runs look on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from kinema.cli.render import stderr, stdout

if TYPE_CHECKING:  # these rooms load torch, and `kinema --help` must not
    from kinema.evaluation.examine import Examination
    from kinema.evaluation.metrics import Metrics
    from kinema.inference.result import Prediction
    from kinema.training.experiment import Outcome

__all__ = ["show_metrics", "show_outcome", "show_prediction"]

_BLOCKS = " ▁▂▃▄▅▆▇█"
_COLUMNS = 60


def show_prediction(prediction: Prediction, top_k: int, *, timeline: bool) -> None:
    """Scores, events and, if asked for, the score of each class over time."""
    stdout.print(f"[bold]{escape(prediction.source)}[/]  {prediction.duration_seconds:.1f} s")
    for score in prediction.top(top_k):
        bar = "█" * round(score.probability * 20)
        stdout.print(
            f"  {score.probability:6.3f}  [cyan]{bar:<20}[/]  {escape(_named(score.label, score.class_index))}"
        )
    for event in prediction.events:
        span = f"{event.start_seconds:8.2f} s to {event.end_seconds:8.2f} s"
        name = escape(_named(event.label, event.class_index))
        stdout.print(f"  [bold]{span}[/]  {name}, peak {event.peak:.2f}, mean {event.mean:.2f}")
    if timeline:
        for score in prediction.top(top_k):
            strip = _strip(prediction, score.class_index)
            stdout.print(f"  |{strip}|  {escape(_named(score.label, score.class_index))}")
    for warning in prediction.warnings:
        stderr.print(f"[yellow]warning:[/] {escape(prediction.source)}: {escape(warning)}")


def show_metrics(found: Examination) -> None:
    """Both levels, the classes, and what a reader must know."""
    stdout.print(
        f"{len(found.scored)} {found.protocol.samples} videos; {escape(found.protocol.split)}; "
        f"{escape(found.protocol.views)}"
    )
    for metrics in (found.video, found.clip):
        _show_level(metrics)
    table = Table("class", "precision", "recall", "F1", "videos", title="video level", title_justify="left")
    for row in found.video.per_class:
        figures = [_figure(row.precision), _figure(row.recall), _figure(row.f1)]
        table.add_row(escape(_named(row.label, row.class_index)), *figures, str(row.support))
    stdout.print(table)
    for warning in found.warnings:
        stderr.print(f"[yellow]warning:[/] {escape(warning)}")


def show_outcome(outcome: Outcome) -> None:
    """Where the weights lie and what they are worth."""
    if outcome.test is not None:
        show_metrics(outcome.test)
    for path in outcome.weights:
        stdout.print(f"weights  {escape(str(path))}")
    if outcome.report is not None:
        stdout.print(f"report   {escape(str(outcome.report))}")


def _show_level(metrics: Metrics) -> None:
    figures = {
        "top-1 accuracy": metrics.accuracy,
        "top-5 accuracy": metrics.top5,
        "ROC-AUC": metrics.roc_auc,
        "macro F1": metrics.macro_f1,
    }
    for name, estimate in figures.items():
        if estimate is not None:
            count = f"  n = {metrics.n}" if estimate is metrics.accuracy else ""
            # Escaped, since "[no interval]" would be taken for markup.
            stdout.print(f"  {metrics.level} {name} {escape(str(estimate))}{count}")


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _named(label: str | None, index: int) -> str:
    return f"class {index}" if label is None else label


def _strip(prediction: Prediction, index: int) -> str:
    """The score of one class over the whole video, as blocks."""
    from kinema.inference.aggregate import timeline

    pieces = timeline(prediction.windows)
    strip = ""
    for column in range(_COLUMNS):
        moment = (column + 0.5) / _COLUMNS * prediction.duration_seconds
        score = next((p.probabilities[index] for p in pieces if p.start_seconds <= moment < p.end_seconds), 0.0)
        strip += _BLOCKS[round(score * (len(_BLOCKS) - 1))]
    return strip
