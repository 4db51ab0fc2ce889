"""STAIR Actions: `videolist_train.txt` and `videolist_val.txt` with lines `class/a001-0004Y.mp4 1`.

The number is that of the class, from 1. The letter at the end of a file name tells whence the video
comes and under which terms: C made for the data set, X YouTube, Y and Z YouTube under Creative Commons.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from kinema.core.errors import DataError
from kinema.core.labels import LabelMap, published_labels
from kinema.datasets.published.disk import Disk, folded, part_of, read_lines, without_suffix
from kinema.datasets.published.listed import Entry, Imported, settle

__all__ = ["read_stair_actions"]


def read_stair_actions(disk: Disk, annotations: Path | None) -> Imported:
    """The data set on `disk`; the notes count its videos by licence letter.

    Raises:
        DataError: no list, lists of something else, or no video of it.
    """
    called = "videolist_train.txt and videolist_val.txt"
    lists = disk.require_lists(annotations, r"videolist_(train|val)\.txt", called)
    labels = published_labels("stair_actions")
    entries = [entry for path in lists for entry in _entries(path, disk, labels)]
    letters = Counter(without_suffix(entry.name)[-1] for entry in entries if entry.path is not None)
    note = "licence letters: " + ", ".join(f"{letter} {count}" for letter, count in sorted(letters.items()))
    return settle(disk, entries, labels, notes=[note])


def _entries(source: Path, disk: Disk, labels: LabelMap) -> Iterator[Entry]:
    names = labels.require()
    for number, line in enumerate(read_lines(source), 1):
        match = re.fullmatch(r"(.+/[^/]+)\s+(\d+)", line)
        index = int(match[2]) if match else 0
        if match is None or not 1 <= index <= len(names):
            raise DataError(
                f"line {number} of {source} is none of STAIR Actions: {line}",
                allowed=f"lines such as drinking/a001-0004Y.mp4 1, with a class from 1 to {len(names)}",
            )
        folder = match[1].split("/")[-2]
        if folded(folder) != folded(names[index - 1]):
            raise DataError(f"line {number} of {source}: class {index} is {names[index - 1]}, not {folder}")
        split = part_of(source.stem)
        yield Entry(match[1], disk.find(match[1], split=split, classes=names), names[index - 1], split)
