"""HMDB51: for each class and each of three splits a file `class_test_split1.txt`.

Lines are `file.avi 1`: 1 trains, 2 tests, 0 is in neither part. File names end in the class and
what is seen (`_brush_hair_u_nm_np1_ba_goo_0`); what stands before names the source video, which is the
group. Other names have no group.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from kinema.core.errors import DataError
from kinema.core.labels import LabelMap, published_labels
from kinema.datasets.published.disk import Disk, read_lines, without_suffix
from kinema.datasets.published.listed import Entry, Imported, settle

__all__ = ["read_hmdb51"]

_PARTS = {"1": "train", "2": "test", "0": None}
_SEEN = r"_[a-z]_(cm|nm)_np\d+_(fr|ba|le|ri)_(goo|med|bad)_\d+"


def read_hmdb51(disk: Disk, annotations: Path | None, split: int) -> Imported:
    """The data set on `disk` under its official split 1, 2 or 3.

    Raises:
        DataError: no list, lists of something else, or no video of it.
    """
    called = f"CLASS_test_split{split}.txt for each class"
    lists = disk.require_lists(annotations, rf".+_test_split{split}\.txt", called)
    labels = published_labels("hmdb51")
    entries = (entry for path in lists for entry in _entries(path, disk, labels, split))
    return settle(disk, entries, labels)


def _entries(source: Path, disk: Disk, labels: LabelMap, split: int) -> Iterator[Entry]:
    label = source.stem.removesuffix(f"_test_split{split}")
    for number, line in enumerate(read_lines(source), 1):
        match = re.fullmatch(r"(.+\S)\s+([012])", line)
        if match is None:
            raise DataError(
                f"line {number} of {source} is none of HMDB51: {line}",
                allowed="lines such as April_09_brush_hair_u_nm_np1_ba_goo_0.avi 1, with 0, 1 or 2",
            )
        name, part = f"{label}/{match[1]}", _PARTS[match[2]]
        group = re.fullmatch(rf"(.+)_{re.escape(label)}{_SEEN}", without_suffix(match[1]))
        left_out = "" if part else f"in neither part of split {split}"
        path = disk.find(name, classes=labels.require())
        yield Entry(name, path, label, part, group[1] if group else None, left_out=left_out)
