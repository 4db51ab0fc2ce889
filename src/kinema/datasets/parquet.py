"""The Parquet form of a manifest, with the columns of the CSV form (`kinema.datasets.rows`).

`path`, `label`, `split`, `group` and `dataset` are text (whole numbers are read as their digits), `start_seconds` and
`end_seconds` numbers or text; nothing and blank text mean the same. Paths are relative to the file's own folder. Texts
stand as they are: the marks of the CSV form, which are for spreadsheets, are not needed here. Needs pyarrow, the extra
`parquet`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from kinema.core.atomic import replacing
from kinema.core.errors import DataError, UsageError
from kinema.datasets.rows import COLUMNS, Cell, read_rows, require_columns
from kinema.datasets.sample import Sample

__all__ = ["PARQUET_SUFFIX", "columns_of", "read_parquet", "require_pyarrow", "write_parquet"]

PARQUET_SUFFIX = ".parquet"

_SECONDS = frozenset({"start_seconds", "end_seconds"})
_REPEATING = frozenset({"label", "split", "dataset"})  # few values, many rows


def read_parquet(source: Path, *, allow_absolute: bool) -> list[Sample]:
    """The rows of `source`, in order.

    Raises:
        DataError: no Parquet file, unknown or missing columns or columns of other kinds, or rows that cannot be used,
            all of them named, the first as row 1.
        UsageError: pyarrow is not installed.
    """
    arrow, parquet = _library()
    try:
        with parquet.ParquetFile(source) as opened:
            schema = opened.schema_arrow
            require_columns(source, schema.names, "as columns of the file")
            for column in schema:
                _require_kind(arrow, source, column)
            rows = _rows(opened, schema.names)
            return read_rows(source, schema.names, rows, called="row", allow_absolute=allow_absolute)
    except (arrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{source} is no Parquet file: {' '.join(str(error).split())[:200]}",
            allowed=f"a Parquet file with the columns path and label, out of {', '.join(COLUMNS)}",
        ) from error


def write_parquet(target: Path, samples: Sequence[Sample], paths: Iterable[str]) -> None:
    """Write `samples` under `paths` to `target`, whole or not at all; columns that none of them uses are left out.

    Raises:
        DataError: the folder cannot be written to.
        UsageError: pyarrow is not installed.
    """
    arrow, parquet = _library()
    columns: dict[str, Any] = {"path": arrow.array(list(paths), arrow.string())}
    for name in COLUMNS[1:]:
        kind = arrow.float64() if name in _SECONDS else arrow.string()
        values = arrow.array([getattr(sample, name) for sample in samples], kind)
        if values.null_count < len(values):
            columns[name] = values.dictionary_encode() if name in _REPEATING else values
    table = arrow.table(columns)
    with replacing(target) as beside:
        parquet.write_table(table, beside, compression="zstd")


def columns_of(source: Path) -> tuple[str, ...]:
    """The names of the columns of `source`; none where it is no Parquet file.

    Raises:
        UsageError: pyarrow is not installed.
    """
    arrow, parquet = _library()
    try:
        return tuple(parquet.read_schema(source).names)
    except (arrow.ArrowException, OSError):
        return ()


def require_pyarrow() -> None:
    """Refuse to begin what would fail later.

    Raises:
        UsageError: pyarrow is not installed.
    """
    _library()


def _rows(opened: Any, names: Sequence[str]) -> Iterator[tuple[int, list[Cell]]]:
    """Every row with its number, from 1."""
    number = 0
    for batch in opened.iter_batches():
        columns = [_cells(name, batch.column(name).to_pylist()) for name in names]
        for cells in zip(*columns, strict=True):
            number += 1
            yield number, list(cells)


def _cells(name: str, values: list[Any]) -> list[Cell]:
    if name in _SECONDS:
        return ["" if value is None else value.strip() if isinstance(value, str) else value for value in values]
    return ["" if value is None else str(value).strip() for value in values]


def _require_kind(arrow: Any, source: Path, column: Any) -> None:
    kinds = arrow.types
    kind = column.type.value_type if kinds.is_dictionary(column.type) else column.type
    text = kinds.is_string(kind) or kinds.is_large_string(kind) or kinds.is_string_view(kind)
    numbers = kinds.is_integer(kind) or (column.name in _SECONDS and kinds.is_floating(kind))
    if not (text or numbers or kinds.is_null(kind)):
        raise DataError(
            f"column '{column.name}' of {source} holds {column.type}",
            allowed="numbers or text" if column.name in _SECONDS else "text, or whole numbers",
            next_step="write the column in another type",
        )


def _library() -> tuple[Any, Any]:
    try:  # an extra: only who has such tables needs it
        return import_module("pyarrow"), import_module("pyarrow.parquet")
    except ImportError as error:
        raise UsageError(
            "tables in Parquet need the package pyarrow, which is not installed",
            allowed="manifests as .csv, or .parquet with pyarrow",
            next_step='pip install "kinema[parquet]"',
        ) from error
