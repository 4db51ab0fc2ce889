"""How a split looks on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from kinema.cli.render import stdout

if TYPE_CHECKING:  # this room loads torch, and `kinema --help` must not
    from kinema.datasets.assignment import Assignment

__all__ = ["show_split"]

_PARTS = ("train", "val", "test")


def show_split(made: Sequence[Assignment], written: Sequence[Path]) -> None:
    """For each split the samples of each class in each part, then what is to be said of it."""
    for assignment, target in zip(made, written, strict=True):
        split = assignment.split
        fold = "" if split.fold is None else f", fold {split.fold + 1} of {split.rule.folds}"
        table = Table("class", box=None, header_style="bold", pad_edge=False, show_footer=True)
        table.columns[0].footer = "all"
        for part in _PARTS:
            total = sum(getattr(count, part) for count in assignment.counts)
            table.add_column(part, justify="right", footer=str(total))
        for count in assignment.counts:
            table.add_row(escape(count.label), *(str(getattr(count, part)) for part in _PARTS))
        stdout.print(f"{escape(str(target))}: by {split.rule.by}{fold}\n")
        stdout.print(table)
        stdout.print()
    said = (each for one in made for each in (*one.split.leaks, *one.split.warnings, *one.notes))
    for sentence in dict.fromkeys(said):
        stdout.print(f"[yellow]note:[/] {escape(sentence)}")
