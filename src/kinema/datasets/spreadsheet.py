"""Tables for spreadsheet programs: CSV files whose cells no program takes for a formula.

Spreadsheets run a cell that begins with = + - or @ (or a tab or carriage return before one). A file name may
begin so, and data sets come from strangers. Such a cell is written with an apostrophe in front, the mark by
which spreadsheets know text; a cell that begins with apostrophes and then such a character gets one more, so
that `read_cell` gives back exactly what was written. Numbers, negative ones too, are left alone.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from kinema.core.atomic import replacing

__all__ = ["read_cell", "write_cell", "write_spreadsheet"]

Cell = str | int | float | bool | None

_FORMULA = re.compile(r"'*[=+\-@\t\r]")


def write_cell(value: Cell) -> str:
    """The text of a cell: blank for None, yes or no for a truth, an apostrophe before what could be a formula."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return f"'{value}" if _FORMULA.match(value) else value
    return "" if value is None else str(value)


def read_cell(text: str) -> str:
    """The text that `write_cell` was given."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def write_spreadsheet(target: Path, columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> None:
    """Write a UTF-8 CSV file with a mark, by which spreadsheets know the encoding; whole or not at all.

    Raises:
        DataError: the folder cannot be written to.
    """
    # A file name that is no valid text (a lone surrogate) is spelt out.
    with (
        replacing(target) as beside,
        beside.open("w", encoding="utf-8-sig", newline="", errors="backslashreplace") as opened,
    ):
        writer = csv.writer(opened, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([write_cell(value) for value in row] for row in rows)
