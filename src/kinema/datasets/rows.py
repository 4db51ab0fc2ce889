"""Rows of a manifest, in whatever kind of file they are kept, checked and turned into samples.

`path` and `label` are required, the other columns optional, their order free. Blanks around a cell do not count.
Rows that cannot be used are all told at once, each by the number it has in its file.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeAlias
from unicodedata import normalize

from kinema.core.errors import DataError, nearest
from kinema.datasets.sample import Sample, listing, split_name
from kinema.datasets.videos import Videos

__all__ = ["COLUMNS", "Cell", "read_rows", "require_columns"]

COLUMNS = ("path", "label", "split", "group", "start_seconds", "end_seconds", "dataset")
_REQUIRED = ("path", "label")
Cell: TypeAlias = str | float

_SUGGESTED = 10  # as many problems as `listing` shows get a suggestion, which takes time


def require_columns(source: Path, header: Sequence[str], where: str) -> None:
    """Refuse columns that are unknown, there twice or lacking; `where` says how columns are named in such a file."""
    allowed = f"{', '.join(COLUMNS)}, {where}; path and label are required"
    for name in header:
        if name not in COLUMNS:
            raise DataError(
                f"{source} has an unknown column '{name}'{nearest(name.lower(), COLUMNS)}",
                allowed=allowed,
                next_step="rename or remove the column",
            )
        if header.count(name) > 1:
            raise DataError(f"{source} has column '{name}' twice", allowed=allowed)
    for name in _REQUIRED:
        if name not in header:
            raise DataError(f"{source} has no column '{name}', only {', '.join(header)}", allowed=allowed)


def read_rows(
    source: Path,
    header: Sequence[str],
    rows: Iterable[tuple[int, Sequence[Cell]]],
    *,
    called: str,
    allow_absolute: bool,
) -> list[Sample]:
    """The samples of `rows`, in order.

    Args:
        source: the file; relative paths begin at its folder.
        header: the name of each column.
        rows: the number that each row has in its file, and its cells: text, blank for nothing, or numbers in the
            columns of seconds. Rows of blanks only are left out.
        called: what such a number counts: `line` or `row`.
        allow_absolute: accept videos outside the folder.

    Raises:
        DataError: no row, or rows that cannot be used, all of them named.
    """
    reader = _Reader(source, header, called, allow_absolute=allow_absolute)
    count = 0
    for number, cells in rows:
        if any(cell != "" for cell in cells):
            count += 1
            reader.take(number, cells)
    if not count:
        raise DataError(f"{source} has a header and no row", allowed="a row for each video")
    if reader.problems:
        raise DataError(
            f"{len(reader.problems)} of the {count} rows of {source} cannot be used:\n{listing(reader.problems)}",
            allowed=f"videos below {source.parent} with paths relative to it (elsewhere only with `kinema "
            "--allow-absolute`), each video or segment once, with a label",
            next_step="correct these rows or remove them",
        )
    return reader.samples


class _Reader:
    """What has been read so far.

    Attributes:
        samples: of the rows that can be used.
        problems: a sentence for each row that cannot.
    """

    def __init__(self, source: Path, header: Sequence[str], called: str, *, allow_absolute: bool) -> None:
        self.samples: list[Sample] = []
        self.problems: list[str] = []
        self._header = tuple(header)
        self._called = called
        self._videos = Videos(source.parent, allow_absolute=allow_absolute)
        self._numbers: list[int] = []  # of the samples
        self._first: dict[str, int] = {}  # by file, its first sample
        self._later: dict[str, list[int]] = {}
        self._texts: dict[str, str] = {}  # one text for all rows of a class or group

    def take(self, number: int, cells: Sequence[Cell]) -> None:
        """Read one row; after one that cannot be used, reading goes on, so that all of them are told at once."""
        try:
            row = self._row(cells)
            sample = self._sample(row, self._videos.find(str(row["path"]), suggest=len(self.problems) < _SUGGESTED))
            self._place(str(row["path"]), number, sample)
        except DataError as error:
            self.problems.append(f"{self._called} {number}: {error.given}")

    def _row(self, cells: Sequence[Cell]) -> dict[str, Cell]:
        if len(cells) != len(self._header):
            raise DataError(f"{len(cells)} cells under {len(self._header)} columns")
        return dict(zip(self._header, cells, strict=True))

    def _place(self, given: str, number: int, sample: Sample) -> None:
        """Add `sample`, which must agree with what other rows say of its file."""
        file = str(sample.path)
        first = self._first.setdefault(file, len(self.samples))
        if first < len(self.samples):
            for other in (first, *self._later.setdefault(file, [])):
                _require_consistent(given, sample, self.samples[other], f"{self._called} {self._numbers[other]}")
            self._later[file].append(len(self.samples))
        self.samples.append(sample)
        self._numbers.append(number)

    def _sample(self, row: dict[str, Cell], path: Path) -> Sample:
        split = row.get("split")
        return Sample(
            path=path,
            label=self._text(row["label"]) or "",
            split=split_name(str(split)) if split else None,
            group=self._text(row.get("group", "")),
            start_seconds=_seconds(row, "start_seconds"),
            end_seconds=_seconds(row, "end_seconds"),
            dataset=self._text(row.get("dataset", "")),
        )

    def _text(self, cell: Cell) -> str | None:
        """A cell, composed (NFC); None for a blank one."""
        if not cell:
            return None
        text = str(cell)
        if text not in self._texts:
            composed = normalize("NFC", text)
            self._texts[text] = self._texts.setdefault(composed, composed)
        return self._texts[text]


def _seconds(row: dict[str, Cell], column: str) -> float | None:
    given = row.get(column, "")
    if given == "":
        return None
    try:
        return float(given)
    except ValueError as error:
        raise DataError(f"{column} '{given}' is no number") from error


def _require_consistent(given: str, sample: Sample, other: Sample, where: str) -> None:
    """Two rows of one file must be two segments of one group."""
    times, others = ((one.start_seconds or 0.0, one.end_seconds) for one in (sample, other))
    if times == others:
        raise DataError(f"{given} again, '{sample.label}' here and '{other.label}' on {where}")
    if sample.group != other.group:
        raise DataError(f"{given} in group '{sample.group or ''}' here and '{other.group or ''}' on {where}")
