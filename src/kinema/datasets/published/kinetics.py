"""Kinetics-400, -600 and -700: CSV files of YouTube clips, and the clips in any of the usual arrangements.

Lists: any CSV file with the columns `youtube_id,time_start,time_end` and usually `label` and `split`;
test lists of the later editions have no label. Clips: `ID_000012_000022.mp4` or `ID.mp4`, in class
folders or flat, with any ending, replacements for damaged ones in folders of their own.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kinema.core.errors import DataError, MediaError
from kinema.core.labels import published_labels
from kinema.datasets.published.disk import Disk, part_of
from kinema.datasets.published.listed import Entry, Imported, settle
from kinema.video.probe import probe

__all__ = ["read_kinetics"]

_COLUMNS = {"youtube_id", "time_start", "time_end"}
# A clip cut by key frames may be this much longer than the list says.
_SLACK_SECONDS = 2.0


def read_kinetics(disk: Disk, annotations: Path | None, edition: str) -> Imported:
    """The data set `edition`, such as `kinetics400`, on `disk`. A clip's group is its YouTube video.

    Raises:
        DataError: no list, lists of another edition, or no video of it.
    """
    found = disk.require_lists(annotations, r".*\.csv", "train.csv, val.csv and test.csv of Kinetics")
    tables = [path for path in found if set(_header(path)) >= _COLUMNS]
    if not tables:
        raise DataError(
            f"none of the CSV files of {annotations or disk.root} is a list of Kinetics: "
            f"{', '.join(path.name for path in found[:8])}",
            allowed="files with the columns label,youtube_id,time_start,time_end,split",
            next_step="say where they lie with --annotations",
        )
    labels = published_labels(edition)
    entries = (entry for path in tables for entry in _entries(path, disk, labels.require()))
    return settle(disk, entries, labels)


@dataclass(frozen=True)
class _Line:
    """A clip as a list has it: its name with and without times, class, split, and seconds of the video."""

    name: str
    clip: str
    label: str | None
    split: str | None
    start_seconds: float
    end_seconds: float


def _header(path: Path) -> list[str]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as opened:
            return next(csv.reader(opened), [])
    except (OSError, UnicodeDecodeError, csv.Error):
        return []  # someone else's file


def _entries(table: Path, disk: Disk, classes: tuple[str, ...]) -> Iterator[Entry]:
    with table.open(encoding="utf-8-sig", newline="") as opened:
        reader = csv.DictReader(opened)
        for row in reader:
            try:
                start, end = float(row["time_start"]), float(row["time_end"])
                clip, label = row["youtube_id"].strip(), (row.get("label") or "").strip() or None
            except (ValueError, AttributeError, TypeError) as error:
                raise DataError(
                    f"line {reader.line_num} of {table} is no clip of Kinetics: {error}",
                    allowed="label,youtube_id,time_start,time_end,split",
                ) from error
            split = part_of(row.get("split") or "") or part_of(table.stem)
            line = _Line(f"{clip}_{int(start):06d}_{int(end):06d}", clip, label, split, start, end)
            yield _entry(disk, line, classes)


def _entry(disk: Disk, line: _Line, classes: tuple[str, ...]) -> Entry:
    """A line with its video: one that bears its times is the clip; one that does not may be the whole video.

    A whole video is the right one wherever it lies, a clip is not where it lies with another class.
    """
    folder = f"{line.label}/" if line.label else ""
    whole = disk.find(f"{folder}{line.name}", split=line.split, classes=classes)
    if whole is None:
        own = disk.find(f"{folder}{line.clip}", split=line.split, classes=classes)
        for path in (own, disk.find(line.clip, split=line.split)):
            if path is not None and _is_longer(path, line.end_seconds - line.start_seconds):
                times = (line.start_seconds, line.end_seconds)
                return Entry(line.name, path, line.label, line.split, line.clip, *times)
        whole = own
    return Entry(line.name, whole, line.label, line.split, line.clip)


def _is_longer(path: Path, seconds: float) -> bool:
    try:
        return path.is_file() and probe(path).duration_seconds > seconds + _SLACK_SECONDS
    except MediaError:
        return False  # named by `kinema data check`, with the reason
