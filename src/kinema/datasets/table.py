"""The CSV form of a manifest: UTF-8 with or without a mark, commas, any line ends.

    path,label,split,group,start_seconds,end_seconds,dataset
    fight/a.mp4,fight,train,street-3,0.0,2.5,streets
    calm/b.mp4,calm,test,street-9,,,streets

`path` and `label` are required, the others optional, their order free. Paths are relative to the
file's own folder, with `/` (or the backslash of Windows). Blanks around a cell do not count. What a spreadsheet
would take for a formula is written with a mark in front: `./` in a path, an apostrophe elsewhere, which reading
takes away (`kinema.datasets.spreadsheet`).
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from unicodedata import normalize

from kinema.core.atomic import replacing
from kinema.core.errors import DataError, nearest
from kinema.datasets.sample import Sample, listing, split_name
from kinema.datasets.spreadsheet import read_cell, write_cell
from kinema.video.source import is_frame_folder

__all__ = ["COLUMNS", "read_table", "write_table"]

COLUMNS = ("path", "label", "split", "group", "start_seconds", "end_seconds", "dataset")
_REQUIRED = ("path", "label")


def read_table(source: Path, *, allow_absolute: bool) -> list[Sample]:
    """The rows of `source`, in order.

    Raises:
        DataError: no table, unknown or missing columns, or rows that cannot be used, all of them named.
    """
    header, rows = _header_and_rows(source)
    problems: list[str] = []
    samples: list[Sample] = []
    seen: dict[Path, list[tuple[int, Sample]]] = {}
    for line, cells in rows:
        with _noting(problems, line):
            row = _row(header, cells)
            sample = _sample(row, source.parent, allow_absolute=allow_absolute)
            for earlier, other in seen.get(sample.path, ()):
                _require_consistent(row["path"], sample, other, earlier)
            seen.setdefault(sample.path, []).append((line, sample))
            samples.append(sample)
    if problems:
        raise DataError(
            f"{len(problems)} of the {len(rows)} rows of {source} cannot be used:\n{listing(problems)}",
            allowed=f"videos below {source.parent} with paths relative to it, each video or segment once, with a label",
            next_step="correct these rows or remove them",
        )
    return samples


def write_table(target: Path, samples: Sequence[Sample], paths: Iterable[str]) -> None:
    """Write `samples` under `paths` to `target`, whole or not at all; columns that none of them uses are left out."""
    columns = [name for name in COLUMNS if any(getattr(sample, name) is not None for sample in samples)]
    with replacing(target) as beside, beside.open("w", encoding="utf-8", newline="") as opened:
        writer = csv.writer(opened, lineterminator="\n")
        writer.writerow(columns)
        for sample, path in zip(samples, paths, strict=True):
            cells = {name: write_cell(getattr(sample, name)) for name in columns}
            # A path stays one that any program can open.
            cells["path"] = f"./{path}" if write_cell(path) != path else path
            writer.writerow(cells[name] for name in columns)


@contextmanager
def _noting(problems: list[str], line: int) -> Iterator[None]:
    """Let reading go on after a row that cannot be used, so that all of them are told at once."""
    try:
        yield
    except DataError as error:
        problems.append(f"line {line}: {error.given}")


def _header_and_rows(source: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The column names, and every row that is not empty with its line number."""
    shape = f"a first line such as path,label,group out of the columns {', '.join(COLUMNS)}"
    try:
        with source.open(encoding="utf-8-sig", newline="") as opened:
            reader = csv.reader(opened)
            rows = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except UnicodeDecodeError as error:
        raise DataError(
            f"{source} is not UTF-8 text (byte {error.start})",
            allowed="a CSV file in UTF-8",
            next_step="save it again as 'CSV UTF-8'",
        ) from error
    except csv.Error as error:
        raise DataError(f"{source} is no CSV file: {error}", allowed=shape) from error
    rows = [(line, cells) for line, cells in rows if any(cells)]
    if not rows:
        raise DataError(f"{source} is empty", allowed=shape)
    header = rows.pop(0)[1]
    _require_columns(source, header)
    if not rows:
        raise DataError(f"{source} has a header and no row", allowed="a row for each video")
    return header, rows


def _require_columns(source: Path, header: list[str]) -> None:
    allowed = f"{', '.join(COLUMNS)}, separated by commas, on the first line; path and label are required"
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


def _row(header: list[str], cells: list[str]) -> dict[str, str]:
    if len(cells) != len(header):
        raise DataError(f"{len(cells)} cells under {len(header)} columns")
    return dict(zip(header, cells, strict=True))


def _sample(row: dict[str, str], root: Path, *, allow_absolute: bool) -> Sample:
    split, group, dataset = row.get("split"), row.get("group"), row.get("dataset")
    return Sample(
        path=_video(row["path"], root, allow_absolute=allow_absolute),
        label=normalize("NFC", read_cell(row["label"])),
        split=split_name(split) if split else None,
        group=normalize("NFC", read_cell(group)) if group else None,
        start_seconds=_seconds(row, "start_seconds"),
        end_seconds=_seconds(row, "end_seconds"),
        dataset=normalize("NFC", read_cell(dataset)) if dataset else None,
    )


def _video(given: str, root: Path, *, allow_absolute: bool) -> Path:
    if not given:
        raise DataError("a blank path")
    # Lexical, without following links: data sets are often links to where the disks are.
    path = Path(os.path.normpath(root / given.replace("\\", "/")))
    if not (allow_absolute or path.is_relative_to(root)):
        raise DataError(f"{given} leads out of {root}")
    # Some systems store names decomposed, while editors and keyboards compose them.
    forms = [path, *(root / normalize(form, str(path)) for form in ("NFC", "NFD"))]
    try:
        path = next((form for form in forms if form.exists()), path)
    except OSError as error:  # a name too long for the system, a folder that may not be entered
        raise DataError(f"{given[:60]}: {error.strerror or error}") from error
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise DataError(f"{given} is no file, but a pipe, a socket or a device")
    if path.is_dir() and not is_frame_folder(path):
        raise DataError(f"{given} is a folder, but not of numbered pictures such as image_00001.jpg")
    if not path.exists():
        names = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        raise DataError(f"no file {given}{nearest(path.name, names)}")
    return path


def _seconds(row: dict[str, str], column: str) -> float | None:
    given = row.get(column)
    if not given:
        return None
    try:
        return float(given)
    except ValueError as error:
        raise DataError(f"{column} '{given}' is no number") from error


def _require_consistent(given: str, sample: Sample, other: Sample, line: int) -> None:
    """Two rows of one file must be two segments of one group."""
    if (sample.start_seconds, sample.end_seconds) == (other.start_seconds, other.end_seconds):
        raise DataError(f"{given} again, '{sample.label}' here and '{other.label}' on line {line}")
    if sample.group != other.group:
        raise DataError(f"{given} in group '{sample.group or ''}' here and '{other.group or ''}' on line {line}")
