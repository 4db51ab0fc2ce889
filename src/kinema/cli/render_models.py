"""How networks look on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from kinema.cli.render import stdout
from kinema.core.errors import shortened

if TYPE_CHECKING:
    from kinema.models.convert.conversion import Conversion
    from kinema.models.row import ModelRow
    from kinema.models.weights import ModelCard
    from kinema.models.zoo import ModelDescription

__all__ = ["conversion_json", "show_conversion", "show_model", "show_models"]

_BAR_WIDTH = 24


def show_models(rows: Iterable[ModelRow]) -> None:
    """One line a network."""
    table = Table("name", box=None, header_style="bold", pad_edge=False)
    for title in ("parameters", "GFLOPs", "clip"):
        table.add_column(title, justify="right")
    table.add_column("paper", style="dim")
    for row in rows:
        clip = f"{row.input.clip.frames} x {row.input.size_px}²"
        table.add_row(row.name, f"{row.parameters / 1e6:.1f} M", f"{row.gflops:.1f}", clip, escape(row.paper))
    stdout.print(table)


def show_model(description: ModelDescription) -> None:
    """The road from clip to logits, then the options."""
    row = description.row
    stdout.print(f"[bold]{row.name}[/]  {escape(row.paper)}")
    stdout.print(
        f"{description.parameters:,} parameters, {description.gflops:.1f} GFLOPs a clip"
        " [dim](a multiplication and an addition are two operations)[/]\n"
    )
    stdout.print(_stages(description))
    stdout.print()
    stdout.print(_options(description))


def show_conversion(conversion: Conversion, card: ModelCard, out: Path) -> None:
    """What was recognised in a file, what became of its tensors, and what the weights file says."""
    spec = card.input
    called = f" [dim](the file says {escape(conversion.called)})[/]" if conversion.called else ""
    precision = str(next(conversion.model.parameters()).dtype).removeprefix("torch.")
    normalised = f"mean {_numbers(spec.mean)}, deviation {_numbers(spec.std)} of 0 to {spec.value_range:g}"
    lines = [
        ("network", f"[bold]{card.architecture}[/] from {escape(conversion.source)}{called}"),
        ("options", escape(", ".join(f"{name} {value}" for name, value in card.options.items())) or "none"),
        ("classes", str(card.labels.count) + ("" if card.labels.is_known else ", their names unknown")),
        ("input", f"{spec.modality}, {spec.clip.frames} x {spec.size_px}², {normalised}"),
        ("", f"[dim]{escape(conversion.input_reason)}[/]"),
    ]
    for fate, names in conversion.fates.items():
        shown = "" if fate == "matched" else f" [dim]{escape(shortened(names, 4))}[/]"
        lines.append(("tensors", f"{len(names)} {fate}{shown}"))
    lines.append(("written", f"{escape(str(out))}, {precision}"))
    for title, text in lines:
        stdout.print(f"{title:<8} {text}")


def conversion_json(conversion: Conversion, card: ModelCard, out: Path) -> dict[str, Any]:
    """What `kinema models convert --json` writes."""
    return {
        "out": str(out),
        "architecture": card.architecture,
        "options": card.options,
        "in_channels": card.in_channels,
        "num_classes": card.labels.count,
        "labels_known": card.labels.is_known,
        "input": asdict(card.input),
        "provenance": card.provenance,
        "matched": conversion.matched,
        "filled": conversion.filled,
        "missing": conversion.missing,
        "left_over": conversion.left_over,
        "skipped": conversion.skipped,
    }


def _stages(description: ModelDescription) -> Table:
    table = Table("stage", box=None, header_style="bold", pad_edge=False)
    table.add_column("output C x T x H x W", justify="right")
    table.add_column("parameters", justify="right")
    table.add_column("")
    table.add_row("[dim]clip[/]", _shape(description.clip_shape))
    for stage in description.stages:
        bar = "█" * round(_BAR_WIDTH * stage.parameters / description.parameters)
        table.add_row(stage.name, " + ".join(map(_shape, stage.shapes)), f"{stage.parameters:,}", f"[cyan]{bar}[/]")
    return table


def _options(description: ModelDescription) -> Table:
    table = Table("option", "value", "allowed", "", box=None, header_style="bold", pad_edge=False)
    for option in description.row.options:
        value = str(description.values[option.name])
        table.add_row(option.name, value, option.allowed, f"[dim]{escape(option.summary)}[/]")
    return table


def _shape(numbers: Sequence[int]) -> str:
    return " x ".join(str(number) for number in numbers)


def _numbers(values: Iterable[float]) -> str:
    return " ".join(f"{value:g}" for value in values)
