"""How networks look on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from kinema.cli.render import stdout

if TYPE_CHECKING:
    from kinema.models.row import ModelRow
    from kinema.models.zoo import ModelDescription

__all__ = ["show_model", "show_models"]

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
