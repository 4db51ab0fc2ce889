"""What an official list says, held against what lies on the disk."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kinema.core.atomic import replacing
from kinema.core.errors import DataError, nearest, shortened
from kinema.core.labels import LabelMap
from kinema.datasets.manifest import Manifest
from kinema.datasets.parquet import PARQUET_SUFFIX, columns_of
from kinema.datasets.published.disk import Disk, folded
from kinema.datasets.sample import Sample, listing
from kinema.datasets.spreadsheet import write_cell

__all__ = ["ABSENT", "Absent", "Entry", "Imported", "missing_path", "settle"]

ABSENT = "not on the disk"
"""The reason of what a list names and the disk lacks."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of an official list.

    Attributes:
        name: the video as the list calls it.
        path: where it lies; None where the disk lacks it.
        label: its class as the list spells it; None where that was not published.
        split: `train`, `val` or `test`.
        group: what it shares with others, see `Sample`.
        start_seconds: first instant of the labelled segment; None: the beginning.
        end_seconds: end of it, exclusive; None: the end of the file.
        left_out: why it is no sample although it may be there; blank where it is one.
    """

    name: str
    path: Path | None
    label: str | None
    split: str | None = None
    group: str | None = None
    start_seconds: float | None = None
    end_seconds: float | None = None
    left_out: str = ""


@dataclass(frozen=True)
class Absent:
    """One line of an official list that gives no sample.

    Attributes:
        name: the video as the list calls it.
        label: its class; None where that was not published.
        split: the split the list puts it into.
        reason: why.
    """

    name: str
    label: str | None
    split: str | None
    reason: str


@dataclass(frozen=True, repr=False)
class Imported:
    """A published data set as it was found.

    Attributes:
        root: absolute path of its folder.
        samples: what the lists name and the disk holds, in the order of the lists.
        labels: the official classes in the official order, with or without samples.
        listed: how many lines the lists have.
        absent: those that give no sample, each with its reason.
        unlisted: videos on the disk that no list names, sorted.
        notes: what else a person should know.
    """

    root: Path
    samples: tuple[Sample, ...]
    labels: LabelMap
    listed: int
    absent: tuple[Absent, ...]
    unlisted: tuple[Path, ...]
    notes: tuple[str, ...] = field(default=())

    @property
    def reasons(self) -> dict[str, int]:
        """How many lines give no sample, by reason, the most frequent first."""
        return dict(Counter(absent.reason for absent in self.absent).most_common())

    @property
    def splits(self) -> dict[str, int]:
        """How many samples are in each split, in the order train, val, test."""
        counts = Counter(sample.split or "" for sample in self.samples)
        return {name or "no split": counts[name] for name in ("train", "val", "test", "") if counts[name]}

    @property
    def manifest(self) -> Manifest:
        """The samples under the official classes; relative paths begin at the root."""
        return Manifest.of(self.root, self.samples, ignored=self.unlisted, labels=self.labels)

    def write(self, target: Path | str) -> None:
        """Write the manifest, and beside it `NAME.missing.csv` with what the lists name and the manifest lacks.

        Where nothing is missing, a list of an earlier import is removed.

        Raises:
            DataError: a video lies outside the folder of `target`, it cannot be written to, or there is
                a file that is no manifest, such as an official list.
        """
        _require_replaceable(Path(target))
        self.manifest.write(target)
        beside = missing_path(target)
        if not self.absent:
            beside.unlink(missing_ok=True)
            return
        with replacing(beside) as temporary, temporary.open("w", encoding="utf-8", newline="") as opened:
            writer = csv.writer(opened, lineterminator="\n")
            writer.writerow(("name", "label", "split", "reason"))
            writer.writerows(map(write_cell, (one.name, one.label, one.split, one.reason)) for one in self.absent)

    def to_json(self) -> dict[str, Any]:
        """What was found, as plain values; paths relative to the root."""
        return {
            "root": str(self.root),
            "listed": self.listed,
            "samples": len(self.samples),
            "splits": self.splits,
            "classes": self.labels.count,
            "classes_with_samples": len({sample.label for sample in self.samples}),
            "reasons": self.reasons,
            "missing": [vars(one) for one in self.absent],
            "unlisted": [path.relative_to(self.root).as_posix() for path in self.unlisted],
            "notes": list(self.notes),
        }

    def __repr__(self) -> str:
        return f"Imported({len(self.samples)} of {self.listed}, {self.labels!r})"


def missing_path(target: Path | str) -> Path:
    """Where the list of what is missing from the manifest `target` goes."""
    path = Path(os.path.normpath(Path(target).absolute()))
    return path.with_name(f"{path.stem}.missing.csv")


def settle(disk: Disk, entries: Iterable[Entry], labels: LabelMap) -> Imported:
    """Samples from `entries`, under the official spelling of their classes.

    Lines that say the same count once, and a note says how many there are; of two that give one segment of
    one file two classes, the first counts and the other is absent.

    Raises:
        DataError: classes that the data set does not have, or not one video that the list names.
    """
    lines: dict[Entry, None] = {}
    read = 0
    with disk.progress.task("looking up what the lists name", None, "lines") as task:
        for entry in entries:
            lines.setdefault(entry)
            read += 1
            task.advance()
    _require_classes(lines, labels)
    official = {folded(name): name for name in labels.require()}
    samples: dict[tuple[Path, float | None, float | None], Sample] = {}
    absent: list[Absent] = []
    for line in lines:
        label = None if line.label is None else official[folded(line.label)]
        reason = line.left_out
        if not reason and line.end_seconds is not None and line.end_seconds <= (line.start_seconds or 0.0):
            reason = "its segment is empty"
        if line.path is None or label is None or reason:
            reason = reason or (ABSENT if line.path is None else "its class was not published")
            absent.append(Absent(line.name, label, line.split, reason))
            continue
        key = (line.path, line.start_seconds, line.end_seconds)
        if key in samples:
            reason = f"the same video and times as a line of class {samples[key].label}"
            absent.append(Absent(line.name, label, line.split, reason))
            continue
        samples[key] = Sample(line.path, label, line.split, line.group, line.start_seconds, line.end_seconds)
    if not samples:
        raise _nothing(disk, lines)
    used = {line.path for line in lines}
    unlisted = tuple(path for path in disk.videos if path not in used)
    notes = (f"{read - len(lines)} lines say the same as another line, and count once",) if read > len(lines) else ()
    return Imported(disk.root, tuple(samples.values()), labels, len(lines), tuple(absent), unlisted, notes)


def _require_replaceable(target: Path) -> None:
    if not target.is_file():
        return
    if target.suffix.lower() == PARQUET_SUFFIX:
        columns = columns_of(target)
        what = f"columns are {shortened(columns)}"
    else:
        with target.open("rb") as opened:
            header = opened.readline(10_000).decode(errors="replace")
        columns = tuple(header.lstrip("\ufeff").strip().split(","))
        what = f"first line is {header.rstrip()[:80]!r}"
    if not {"path", "label"} <= set(columns):
        raise DataError(
            f"{target} is there and is no manifest: its {what}",
            allowed="a new file, or a manifest to be replaced",
            next_step="choose another name with --out",
        )


def _require_classes(lines: Iterable[Entry], labels: LabelMap) -> None:
    known = {folded(name) for name in labels.require()}
    strange = sorted({line.label for line in lines if line.label is not None and folded(line.label) not in known})
    if strange:
        raise DataError(
            f"{len(strange)} classes that are none of the {labels.count} of this data set: {shortened(strange)}"
            f"{nearest(strange[0], labels.require())}",
            allowed=shortened(labels.require()),
            next_step="name the data set that the lists belong to, or give its own lists with --annotations",
        )


def _nothing(disk: Disk, lines: Collection[Entry]) -> DataError:
    return DataError(
        f"not one of the {len(lines)} videos that the lists name was found below {disk.root}, "
        f"which holds {disk.contents()}",
        allowed=f"videos such as\n{listing([line.name for line in lines], 3)}\nwith any ending, at any depth",
        next_step="give the folder that the videos were unpacked to",
    )
