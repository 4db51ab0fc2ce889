"""STAIR Actions: `videolist_train.txt` and `videolist_val.txt` with lines `class/a001-0004Y.mp4 1`.

The number is that of the class, from 1. The letter at the end of a file name tells whence the video
comes and under which terms: C made for the data set (CC0), X YouTube's own, Y YouTube's under CC BY; of Z, which is
from YouTube as well, its publisher does not say.
The publisher's scripts `clipping_X.sh`, `_Y.sh` and `_Z.sh` have a line `YOUTUBE-ID START SECONDS a001-0004Y.mp4`
for every clip from YouTube; where they lie there, too, the YouTube video is the group.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from kinema.core.errors import DataError
from kinema.core.labels import LabelMap, published_labels
from kinema.datasets.published.disk import Disk, folded, part_of, read_lines, without_suffix
from kinema.datasets.published.listed import Entry, Imported, settle

__all__ = ["read_stair_actions"]

_SCRIPTS = r"clipping_[A-Z]\.sh"
_CUT = r"(\S+)\s+[\d.]+\s+[\d.]+\s+(\S+\.mp4)"


def read_stair_actions(disk: Disk, annotations: Path | None) -> Imported:
    """The data set on `disk`; the notes count its videos by licence letter.

    Raises:
        DataError: no list, lists of something else, or no video of it.
    """
    called = "videolist_train.txt and videolist_val.txt"
    lists = disk.require_lists(annotations, r"videolist_(train|val)\.txt", called)
    labels = published_labels("stair_actions")
    sources = _sources(disk, annotations)
    found = settle(disk, (entry for path in lists for entry in _entries(path, disk, labels, sources)), labels)
    letters = Counter(without_suffix(sample.path.name)[-1] for sample in found.samples)
    notes = ["licence letters: " + ", ".join(f"{letter} {count}" for letter, count in sorted(letters.items()))]
    if not sources:
        notes.append(
            "there is no clipping_X.sh, _Y.sh or _Z.sh, which tell the YouTube video that a clip was cut from: "
            "no groups, and clips of one video are in both train and val"
        )
    return replace(found, notes=(*found.notes, *notes))


def _sources(disk: Disk, annotations: Path | None) -> dict[str, str]:
    """The YouTube video that each clip was cut from, out of the scripts beside the lists or below the root."""
    places = [annotations if annotations.is_dir() else annotations.parent] if annotations is not None else []
    scripts = [path for place in (*places, None) for path in disk.lists(place, _SCRIPTS)]
    scripts += [path for place in places for path in sorted((place.parent / "script").glob("clipping_?.sh"))]
    cuts = (re.fullmatch(_CUT, line) for script in scripts for line in read_lines(script))
    return {cut[2]: cut[1] for cut in cuts if cut}


def _entries(source: Path, disk: Disk, labels: LabelMap, sources: Mapping[str, str]) -> Iterator[Entry]:
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
        path = disk.find(match[1], split=split, classes=names)
        group = sources.get(match[1].rpartition("/")[2])
        yield Entry(match[1], path, names[index - 1], split, group)
