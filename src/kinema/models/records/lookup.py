"""All records in one table, by name and alias."""

from __future__ import annotations

from itertools import chain

from kinema.core.errors import UsageError, nearest
from kinema.models.records import hara, i3d, pytorchvideo, torchvision
from kinema.models.records.record import WeightsRecord

__all__ = ["find_record", "is_record", "list_records", "records_of"]

_RECORDS = tuple(chain(hara.RECORDS, i3d.RECORDS, torchvision.RECORDS, pytorchvideo.RECORDS))


def _by_name(records: tuple[WeightsRecord, ...]) -> dict[str, WeightsRecord]:
    pairs = [(name, record) for record in records for name in (record.name, *record.aliases)]
    table = dict(pairs)
    if len(table) < len(pairs):
        raise ValueError("two records share a name or an alias")
    return table


_TABLE = _by_name(_RECORDS)


def list_records() -> list[WeightsRecord]:
    """Every record, by name."""
    return sorted(_RECORDS, key=lambda record: record.name)


def records_of(architecture: str) -> list[WeightsRecord]:
    """The records of one network: the best on Kinetics-400 first, then other figures, then none."""

    def rank(record: WeightsRecord) -> tuple[bool, bool, float]:
        first = record.figures[0] if record.figures else None
        return first is None, first is None or first.data != "Kinetics-400", -first.percent if first else 0.0

    return sorted((record for record in list_records() if record.architecture == architecture), key=rank)


def is_record(name: str) -> bool:
    """Whether `name` is that of a record, or an alias."""
    return name in _TABLE


def find_record(name: str) -> WeightsRecord:
    """The record called `name`, or so by alias; UsageError with the nearest name when there is none."""
    if name not in _TABLE:
        raise UsageError(
            f"no published weights named '{name}'{nearest(name, _TABLE)}",
            allowed="a name that `kinema models list --weights` shows, or the path of a weights file",
            next_step="kinema models list --weights",
        )
    return _TABLE[name]
