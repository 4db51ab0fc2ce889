"""How the table of networks, one network, and the weights published for them look on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from kinema.cli.render import stdout

if TYPE_CHECKING:
    from kinema.models.records.record import Figure, WeightsRecord
    from kinema.models.row import ModelRow
    from kinema.models.zoo import ModelDescription

__all__ = ["models_json", "show_model", "show_models", "show_record", "show_records"]

_WIDE = 100  # columns of a terminal from which protocols are written out
_LEGEND = (
    "published: accuracy in percent as its publisher states it, top-1 of whole videos",
    "on Kinetics-400 unless said otherwise; * mean of top-1 and top-5",
)


def models_json(rows: Iterable[tuple[ModelRow, list[WeightsRecord]]]) -> list[dict[str, Any]]:
    """What `kinema models list --json` writes."""
    return [{**row.to_json(), "weights": [record.to_json() for record in records]} for row, records in rows]


def show_models(rows: Iterable[tuple[ModelRow, list[WeightsRecord]]]) -> None:
    """One line a network, with the best that was published of it.

    Args:
        rows: each network with its records, the one to show first.
    """
    table = _table("name", ("params", "GFLOPs", "clip"), ("published", "licence"))
    for row, records in rows:
        best = next(iter(records), None)
        clip = f"{row.input.clip.frames}x{row.input.size_px}²"
        figure = _figure(best.figures[0]) if best and best.figures else "-"
        licence = best.licence.code if best else "-"
        table.add_row(row.name, f"{row.parameters / 1e6:.1f}M", f"{row.gflops:.1f}", clip, figure, licence)
    stdout.print(table)
    _legend(
        "licence: of the publisher's code; of the weights: kinema models list --weights",
        "how a figure was measured: kinema models show NAME",
    )


def show_records(records: Iterable[WeightsRecord]) -> None:
    """One line for each published set of weights."""
    table = _table("weights", ("K",), ("published", "licence", "get"))
    for record in records:
        classes = f"{record.classes.count}{' ' if record.classes.labels.is_known else '?'}"
        figure = _figure(record.figures[0]) if record.figures else "-"
        table.add_row(record.name, classes, figure, record.licence.weights, "link" if record.has_link else "hand")
    stdout.print(table)
    _legend(
        "K: number of classes, ? where nobody published which is which",
        "licence: of the weights themselves",
        "get: by direct link, or by hand from the publisher's page",
    )


def show_model(description: ModelDescription, records: Sequence[WeightsRecord]) -> None:
    """The road from clip to logits, the options, and the weights there are."""
    row = description.row
    stdout.print(f"[bold]{row.name}[/]  {escape(row.paper)}")
    stdout.print(
        f"{description.parameters:,} parameters, {description.gflops:.1f} GFLOPs a clip"
        " [dim](a multiply-add counts as two)[/]\n"
    )
    stdout.print(_stages(description))
    if description.row.options:
        stdout.print()
        stdout.print(_options(description))
    stdout.print()
    stdout.print("[bold]published weights[/]" + ("" if records else "  none known"))
    for record in records:
        stdout.print(record.name)
        for line in (_classes(record), *_measured(record, notes=False), f"{_licence(record)}; {_way(record)}"):
            stdout.print(Padding(f"[dim]{line}[/]", (0, 0, 0, 2)), soft_wrap=False)
    if records:
        stdout.print("all about one of them: kinema models show WEIGHTS")


def show_record(record: WeightsRecord) -> None:
    """Everything that is known about published weights."""
    spec = record.input
    numbers = f"mean {_numbers(spec.mean)}, deviation {_numbers(spec.std)} of 0 to {spec.value_range:g}"
    rate = f" at {spec.clip.fps:g} a second" if spec.clip.fps else f", {spec.clip.stride} apart"
    options = ", ".join(f"{name} {value}" for name, value in record.options.items())
    lines = [
        ("network", record.architecture + (f", {options}" if options else "")),
        ("from", escape(record.publisher)),
        ("classes", _classes(record)),
        ("", f"[dim]{escape(record.classes.evidence)}[/]"),
        ("input", f"{spec.modality}, {spec.clip.frames} frames{rate}, {spec.size_px}²"),
        ("", numbers),
        ("licence", _licence(record)),
        ("", f"[dim]{escape(record.licence.basis)}[/]" if record.licence.basis else ""),
        *(("figure", measured) for measured in _measured(record, notes=True)),
        *(("", f"[dim]{escape(source)}[/]") for source in dict.fromkeys(figure.source for figure in record.figures)),
        *(("file", escape(f"{file.name}; {file.marks}")) for file in record.files),
        *(("", f"[dim]{escape(source)}[/]") for source in dict.fromkeys(file.source for file in record.files)),
        ("get", f"kinema models download {record.name}, {_way(record)}"),
        ("note", escape(record.note)),
    ]
    stdout.print(f"[bold]{record.name}[/]")
    for title, text in lines:
        if text:
            stdout.print(f"{title:<8} {text}")


def _classes(record: WeightsRecord) -> str:
    known = "named" if record.classes.labels.is_known else "names unknown"
    return f"{record.classes.count} classes of {escape(record.classes.data)}, {known}"


def _licence(record: WeightsRecord) -> str:
    return f"weights: {escape(record.licence.weights)}; code: {escape(record.licence.code)}"


def _way(record: WeightsRecord) -> str:
    return "by direct link" if record.has_link else "its file brought by hand"


def _measured(record: WeightsRecord, *, notes: bool) -> list[str]:
    """A line for each protocol, with the figures that were measured by it."""
    figures: dict[str, list[str]] = {}
    for figure in record.figures:
        protocol = figure.protocol if notes else figure.conditions
        figures.setdefault(protocol, []).append(f"{figure.measure} {figure.percent:.1f}")
    return [f"{', '.join(values)}: {escape(protocol)}" for protocol, values in figures.items()]


def _stages(description: ModelDescription) -> Table:
    """Every stage with its share of the parameters; streams that leave it together stand below each other."""
    largest = max(stage.parameters for stage in description.stages)
    table = Table("stage", box=None, header_style="bold", pad_edge=False)
    table.add_column("output C x T x H x W", justify="right", no_wrap=True)
    table.add_column("parameters", justify="right", no_wrap=True)
    table.add_column("")
    table.add_row("[dim]clip[/]", _shape(description.clip_shape))
    width = max(8, min(24, stdout.width - 56))
    for stage in description.stages:
        bar = "█" * round(width * stage.parameters / largest) if largest else ""
        parameters = f"{stage.parameters:,}" if stage.parameters else "[dim]-[/]"
        table.add_row(escape(stage.name), "\n".join(map(_shape, stage.shapes)), parameters, f"[cyan]{bar}[/]")
    return table


def _options(description: ModelDescription) -> Table:
    table = Table("option", "value", "allowed", "", box=None, header_style="bold", pad_edge=False)
    for option in description.row.options:
        value = str(description.values[option.name])
        table.add_row(option.name, value, option.allowed, f"[dim]{escape(option.summary)}[/]")
    return table


def _table(name: str, numbers: Sequence[str], words: Sequence[str]) -> Table:
    gap = 2 if stdout.width >= _WIDE else 1
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, gap, 0, 0))
    table.add_column(name, no_wrap=True)
    for title in numbers:
        table.add_column(title, justify="right", no_wrap=True)
    for title in words:
        table.add_column(title, no_wrap=True)
    return table


def _figure(figure: Figure) -> str:
    """A figure with its protocol in a few words; on a narrow terminal, without what the legend says."""
    if stdout.width >= _WIDE:
        return f"{figure.percent:.1f} {figure.short}"
    star = "*" if figure.measure.startswith("mean") else ""
    where = figure.short.split(", ")[0].removeprefix("K400").split()
    level = {"video": "", "clip": "clip", "not stated": "level?"}[figure.level]
    return " ".join([f"{figure.percent:.1f}{star}", *where, level]).rstrip()


def _legend(*lines: str) -> None:
    stdout.print()
    for line in (*_LEGEND, *lines):
        stdout.print(f"[dim]{escape(line)}[/]")


def _shape(numbers: Sequence[int]) -> str:
    return " x ".join(str(number) for number in numbers)


def _numbers(values: Iterable[float]) -> str:
    return " ".join(f"{value:g}" for value in values)
