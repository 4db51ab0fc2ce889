"""The text lists of MMAction2: `path label` for videos, `folder total_frames label` for extracted frames.

Labels are numbers from 0. Their names come from a `label_map*.txt` beside the list or below the root, one a
line; or else from the class folders, where every number goes with one folder. A line for extracted frames
stands for the folder of frames of that name, or for the video.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kinema.core.errors import DataError, shortened
from kinema.core.labels import LabelMap
from kinema.datasets.published.disk import Disk, folded, numbered_lines, part_of, read_lines, without_suffix
from kinema.datasets.published.listed import Entry, Imported, settle
from kinema.datasets.sample import SPLITS, split_name

__all__ = ["read_mmaction_txt"]

_LISTS = r"(?!.*label_?map).*(train|val|test).*\.txt"


@dataclass(frozen=True)
class _Line:
    name: str
    label: int
    split: str | None


def read_mmaction_txt(disk: Disk, annotations: Path | None, split: int | None) -> Imported:
    """The data set that such lists describe, with its videos on `disk`.

    Args:
        disk: what there is.
        annotations: a list, or a folder of lists; the root unless given.
        split: only lists with `split_N` in their names, for data sets that have several; the first unless given.

    Raises:
        DataError: no list, a line of another kind, names that cannot be told, or no video.
    """
    called = "lists with train, val or test in their names and lines `path label`"
    found = disk.require_lists(annotations, _LISTS, called)
    numbers = {int(match[1]) for path in found if (match := re.search(r"split_?(\d+)", path.stem))}
    notes: tuple[str, ...] = ()
    if split is None and len(numbers) > 1:
        split = min(numbers)
        notes = (f"the lists are of splits {', '.join(map(str, sorted(numbers)))}: split {split} was taken",)
    if split is not None:
        found = [path for path in found if re.search(rf"split_?0*{split}(?!\d)", path.stem)]
    lines = [line for path in found for line in _lines(path)]
    if not lines:
        raise DataError(
            f"no line of such a list in {annotations or disk.root}", allowed=called, next_step="give --annotations"
        )
    labels, folders = _labels(disk, annotations, lines)
    entries = [
        Entry(line.name, disk.find(line.name, split=line.split, classes=folders), labels.name(line.label), line.split)
        for line in lines
    ]
    imported = settle(disk, entries, labels)
    return replace(imported, notes=(*notes, *imported.notes))


def _lines(source: Path) -> list[_Line]:
    """The lines of `source`; none where it is another kind of text."""
    lines = []
    read = [(number, text, re.fullmatch(r"(.*\S)\s+(\d+)", text)) for number, text in numbered_lines(source)]
    if not any(match for _, _, match in read):
        return []
    for number, text, match in read:
        if match is None:
            raise DataError(
                f"line {number} of {source} is none of such a list: {text}",
                allowed="lines such as run/a.mp4 1, or run/a 250 1 for extracted frames",
                next_step="correct or remove it, or name the lists that are meant with --annotations",
            )
        name = match[1]
        frames = re.fullmatch(r"(.*\S)\s+\d+", name)
        if frames and without_suffix(name) == name:
            name = frames[1]
        lines.append(_Line(name, int(match[2]), part_of(source.stem)))
    return lines


def _labels(disk: Disk, annotations: Path | None, lines: Sequence[_Line]) -> tuple[LabelMap, tuple[str, ...]]:
    """The classes, and the names that their folders may have."""
    beside = annotations.parent if annotations is not None and annotations.is_file() else annotations
    maps = disk.lists(beside, r".*label_?map.*\.txt") or disk.lists(None, r".*label_?map.*\.txt")
    most = max(line.label for line in lines)
    if len(maps) > 1:
        raise DataError(
            f"{len(maps)} label maps: {shortened([path.name for path in maps])}",
            allowed="one file of class names, one a line",
            next_step="remove those of other data sets",
        )
    if maps:
        names = read_lines(maps[0])
        if most >= len(names):
            raise DataError(f"class {most} in the lists, but {maps[0]} names {len(names)}, from 0")
        held = {_folder(line.name) for line in lines} - {""}
        return LabelMap.of(names), (*names, *sorted(name for name in held if split_name(name) not in SPLITS))
    folders: dict[int, set[str]] = defaultdict(set)
    for line in lines:
        folders[line.label].add(_folder(line.name))
    names = [next(iter(folders[number])) for number in range(most + 1) if len(folders[number]) == 1]
    if len({folded(name) for name in names} - {""}) != most + 1:
        raise DataError(
            f"the names of the {most + 1} classes are not known: there is no label map, and the folders do not tell",
            allowed="a file label_map.txt with the class names, one a line, beside the lists",
            next_step="put it there",
        )
    return LabelMap.of(names), tuple(names)


def _folder(name: str) -> str:
    """The folder that `name` ends in, which is often that of a class; blank where it tells none."""
    return name.replace("\\", "/").rpartition("/")[0].rpartition("/")[2]
