"""How weights of other projects look on a terminal when they become weights of kinema."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from kinema.cli.render import stdout
from kinema.core.errors import shortened

if TYPE_CHECKING:
    from kinema.models.convert.conversion import Conversion
    from kinema.models.weights import ModelCard

__all__ = ["conversion_json", "show_conversion"]


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


def _numbers(values: Iterable[float]) -> str:
    return " ".join(f"{value:g}" for value in values)
