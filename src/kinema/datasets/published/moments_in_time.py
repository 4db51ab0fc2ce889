"""Moments in Time: `trainingSet.csv` and `validationSet.csv` with lines `class/file.mp4,class,votes for,votes against`.

Videos lie in `training/class/file.mp4` and `validation/class/file.mp4`. The number at the end of a
file name counts moments of one source video, which is the group.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path

from kinema.core.errors import DataError
from kinema.core.labels import published_labels
from kinema.datasets.published.disk import Disk, part_of, read_lines, without_suffix
from kinema.datasets.published.listed import Entry, Imported, settle

__all__ = ["read_moments_in_time"]


def read_moments_in_time(disk: Disk, annotations: Path | None) -> Imported:
    """The data set on `disk`.

    Raises:
        DataError: no list, lists of something else, or no video of it.
    """
    lists = disk.require_lists(annotations, r"(training|validation)set\.csv", "trainingSet.csv and validationSet.csv")
    labels = published_labels("moments_in_time")
    entries = (entry for path in lists for entry in _entries(path, disk, labels.require()))
    return settle(disk, entries, labels)


def _entries(table: Path, disk: Disk, classes: tuple[str, ...]) -> Iterator[Entry]:
    split = part_of(table.stem)
    for number, cells in enumerate(csv.reader(read_lines(table)), 1):
        if len(cells) < 2:
            raise DataError(
                f"line {number} of {table} has {len(cells)} cell",
                allowed="lines such as blocking/getty-karate-video-id635808620_4.mp4,blocking,4",
            )
        name, label = cells[0].strip(), cells[1].strip()
        source = re.sub(r"_\d+$", "", without_suffix(name.rpartition("/")[2]))
        yield Entry(name, disk.find(name, split=split, classes=classes), label, split, source)
