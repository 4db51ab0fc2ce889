"""The order of a manifest's classes, where it is not that of their sorted names.

Beside `NAME.csv` lies `NAME.classes.json`, schema version 1:

    schema   "kinema.classes"
    version  1
    names    [text]: all classes in index order, those without a sample among them
    parts    [{"dataset", "names", "indices"}]: for merged data sets, each one's own class names in its
             own order, and where they are in `names`; else empty
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from unicodedata import normalize

from kinema.core.atomic import replacing
from kinema.core.errors import DataError
from kinema.core.labels import LabelMap, LabelPart

__all__ = ["classes_path", "read_classes", "write_classes"]

_SCHEMA = {"schema": "kinema.classes", "version": 1}


def classes_path(table: Path) -> Path:
    """Where the order of the classes of the manifest `table` stands."""
    return table.with_name(f"{table.stem}.classes.json")


def write_classes(table: Path, labels: LabelMap | None) -> None:
    """Put the order of `labels` beside `table`; None removes an order that lies there."""
    target = classes_path(table)
    if labels is None:
        target.unlink(missing_ok=True)
        return
    record = _SCHEMA | {"names": labels.require(), "parts": [asdict(part) for part in labels.parts]}
    with replacing(target) as beside:
        beside.write_text(json.dumps(record, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def read_classes(table: Path) -> LabelMap | None:
    """The order that lies beside `table`; None where none does.

    Raises:
        DataError: it is no file of that kind, or names a class twice.
    """
    source = classes_path(table)
    if not source.exists():
        return None
    try:
        record = json.loads(source.read_text(encoding="utf-8"))
        _require_schema(record)
        names = tuple(normalize("NFC", name) for name in record["names"])
        parts = tuple(
            LabelPart(str(part["dataset"]), tuple(part["names"]), tuple(map(int, part["indices"])))
            for part in record["parts"]
        )
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise DataError(
            f"{source} does not give an order of classes: {error}",
            allowed='JSON with "schema": "kinema.classes", "version": 1, "names" and "parts"',
            next_step="import or merge the data set again; without the file, classes are in the order of their names",
        ) from error
    return LabelMap(len(names), names, parts)


def _require_schema(record: dict[str, object]) -> None:
    if {key: record[key] for key in _SCHEMA} != _SCHEMA:
        raise ValueError("another schema or version")
