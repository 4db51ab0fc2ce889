"""How recipes look on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table

from kinema.cli.render import stdout

__all__ = ["show_recipe", "show_recipes"]


def show_recipes(summaries: Sequence[Mapping[str, Any]]) -> None:
    """A line a recipe, and how one is used and read."""
    table = Table("recipe", "trains", box=None, header_style="bold", pad_edge=False)
    for row in summaries:
        table.add_row(row["name"], escape(row["summary"]))
    stdout.print(table)
    stdout.print("\n[dim]kinema train DATA --recipe NAME; what one says, and why: kinema models show NAME[/]")


def show_recipe(text: str) -> None:
    """A recipe as it is written, comments and all."""
    stdout.print(text, markup=False, highlight=False, soft_wrap=True, end="")
