"""The CSV form of a manifest: UTF-8 with or without a mark, commas, any line ends.

    path,label,split,group,start_seconds,end_seconds,dataset
    fight/a.mp4,fight,train,street-3,0.0,2.5,streets
    calm/b.mp4,calm,test,street-9,,,streets

Which columns there are, and what rows may hold, is in `kinema.datasets.rows`. Paths are relative to the
file's own folder, with `/` (or the backslash of Windows). Blanks around a cell do not count. What a spreadsheet
would take for a formula is written with a mark in front: `./` in a path, an apostrophe elsewhere, which reading
takes away (`kinema.datasets.spreadsheet`).
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from kinema.core.atomic import replacing
from kinema.core.errors import DataError
from kinema.datasets.rows import COLUMNS, read_rows, require_columns
from kinema.datasets.sample import Sample
from kinema.datasets.spreadsheet import read_cell, write_cell

__all__ = ["read_table", "write_table"]

_MARKED = frozenset({"label", "group", "dataset"})


def read_table(source: Path, *, allow_absolute: bool) -> list[Sample]:
    """The rows of `source`, in order.

    Raises:
        DataError: no table, unknown or missing columns, quotes that do not close on their line, or rows that
            cannot be used, all of them named.
    """
    shape = f"a first line such as path,label,group out of the columns {', '.join(COLUMNS)}"
    try:
        with source.open(encoding="utf-8-sig", newline="") as opened:
            lines = _lines(opened)
            _, header = next(lines, (0, []))
            if not header:
                raise DataError(f"{source} is empty", allowed=shape)
            require_columns(source, header, "separated by commas, on the first line")
            marked = [column for column, name in enumerate(header) if name in _MARKED]
            rows = ((number, _unmarked(cells, marked)) for number, cells in lines)
            return read_rows(source, header, rows, called="line", allow_absolute=allow_absolute)
    except UnicodeDecodeError as error:
        raise DataError(
            f"{source} is not UTF-8 text (byte {error.start})",
            allowed="a CSV file in UTF-8",
            next_step="save it again as 'CSV UTF-8'",
        ) from error
    except csv.Error as error:
        raise DataError(f"{source} is no CSV file: {error}", allowed=shape) from error


def write_table(target: Path, samples: Sequence[Sample], paths: Iterable[str]) -> None:
    """Write `samples` under `paths` to `target`, whole or not at all; columns that none of them uses are left out."""
    columns = [name for name in COLUMNS if any(getattr(sample, name) is not None for sample in samples)]
    others = columns[1:]
    with replacing(target) as beside, beside.open("w", encoding="utf-8", newline="") as opened:
        writer = csv.writer(opened, lineterminator="\n")
        writer.writerow(columns)
        for sample, path in zip(samples, paths, strict=True):
            # A path stays one that any program can open.
            own = path if write_cell(path) == path else f"./{path}"
            writer.writerow([own, *[write_cell(getattr(sample, name)) for name in others]])


def _lines(opened: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    """Every line that is not empty, with its number."""
    reader = csv.reader(opened, strict=True)
    while True:
        number = reader.line_num + 1
        try:
            raw = next(reader, None)
        except csv.Error as error:
            raise csv.Error(f"{error} (line {number})") from error
        if raw is None:
            return
        cells = [cell.strip() for cell in raw]
        if any("\n" in cell or "\r" in cell for cell in cells):  # most often the rows up to the next quote
            raise csv.Error(f"a cell of more than one line (line {number})")
        if any(cells):
            yield number, cells


def _unmarked(cells: list[str], marked: Sequence[int]) -> list[str]:
    for column in marked:
        if column < len(cells):
            cells[column] = read_cell(cells[column])
    return cells
