"""UCF101: `classInd.txt`, and three official splits `trainlist01.txt` and `testlist01.txt` to `03`.

Lines are `Class/v_Class_g08_c01.avi 1` for training and without the number for testing. Clips of one
class and one `g` number were cut from one source, which is their group.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from kinema.core.errors import DataError
from kinema.core.labels import LabelMap, published_labels
from kinema.datasets.published.disk import Disk, part_of, read_lines
from kinema.datasets.published.listed import Entry, Imported, settle

__all__ = ["read_ucf101"]


def read_ucf101(disk: Disk, annotations: Path | None, split: int) -> Imported:
    """The data set on `disk` under its official split 1, 2 or 3.

    Raises:
        DataError: no list, lists of something else, or no video of it.
    """
    called = f"trainlist{split:02d}.txt and testlist{split:02d}.txt"
    lists = disk.require_lists(annotations, rf"(train|test)list{split:02d}\.txt", called)
    labels = published_labels("ucf101")
    entries = (entry for path in lists for entry in _entries(path, disk, labels))
    return settle(disk, entries, labels)


def _entries(source: Path, disk: Disk, labels: LabelMap) -> Iterator[Entry]:
    for number, line in enumerate(read_lines(source), 1):
        match = re.fullmatch(r"([^/]+)/(\S+)(\s+\d+)?", line)
        if match is None:
            raise DataError(
                f"line {number} of {source} is none of UCF101: {line}",
                allowed="lines such as Archery/v_Archery_g08_c01.avi 3",
            )
        label, name = match[1], f"{match[1]}/{match[2]}"
        group = re.search(r"_(g\d+)_", match[2])
        path = disk.find(name, classes=labels.require())
        yield Entry(name, path, label, part_of(source.stem), f"{label}_{group[1]}" if group else None)
