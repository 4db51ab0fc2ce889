"""What lies below a folder, to be found by the names that official lists use.

Copies of a published data set differ in folders and endings: lists name `a/b.avi`, disks hold
`train/a/b.mp4`, or a folder of its frames `a/b/image_00001.jpg`. Names are compared composed (NFC)
and without the endings of videos.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePath
from unicodedata import normalize

from kinema.core.errors import DataError, shortened
from kinema.core.progress import Progress, Silent
from kinema.datasets.sample import SPLITS, split_name
from kinema.video.source import VIDEO_SUFFIXES, is_frame_folder

__all__ = ["Disk", "folded", "numbered_lines", "part_of", "read_lines", "without_suffix"]


class Disk:
    """The videos and other files below `root`. Names that begin with a dot are not looked at, links are followed.

    Attributes:
        root: absolute path of the folder.
        progress: shows how far the search of files is, and of lines of lists.
        videos: all videos, folders of frames among them, sorted.
        others: all other files, sorted; none of folders of frames.

    Raises:
        DataError: `root` is no folder.
    """

    def __init__(self, root: Path | str, *, progress: Progress | None = None) -> None:
        self.root = Path(os.path.normpath(Path(root).absolute()))
        self.progress = progress or Silent()
        if not self.root.is_dir():
            raise DataError(f"there is no folder {root}", allowed="the folder that the data set was unpacked to")
        with self.progress.task("looking for videos", None, "files") as task:
            files = []
            for file in _files(self.root):
                files.append(file)
                task.advance()
        files.sort(key=lambda file: f"{file.folder}/{file.name}".replace("/", "\0"))  # by folder, then by name
        self.videos = tuple(file.folder / file.name for file in files if file.is_video)
        self.others = tuple(file.folder / file.name for file in files if not file.is_video)
        self._by_stem: dict[str, list[Path]] = defaultdict(list)
        for path in self.videos:
            self._by_stem[without_suffix(normalize("NFC", path.name))].append(path)

    def find(self, name: str, *, split: str | None = None, classes: tuple[str, ...] = ()) -> Path | None:
        """The video that a list calls `name`, whatever its ending; None where there is none.

        A video in the folders that `name` tells goes before one elsewhere; then one below a folder of
        that `split`, one of the same ending, and the first by path. A video in the folder of another
        class, or of another split than the folders in `name` or else `split` tell, is never meant.

        Args:
            name: a file with or without folders and ending, with `/`.
            split: `train`, `val` or `test`, where the lists keep them apart.
            classes: names of class folders.
        """
        *folders, wanted = normalize("NFC", name.replace("\\", "/")).split("/")
        folders = [folder for folder in folders if folder not in ("", ".")]
        stem = without_suffix(wanted)
        ranked = []
        for path in self._by_stem.get(stem, ()):
            above = normalize("NFC", str(path)[len(str(self.root)) :]).split("/")[1:-1]
            there = not folders or above[-len(folders) :] == folders
            if not there and above and _is_other(above[-1], folders, classes):
                continue
            held, told = _splits(above, classes), _splits(folders, classes) or {split} - {None}
            if held and told and not held & told:
                continue
            elsewhere = split is not None and split not in {part_of(part) for part in above}
            ranked.append((not there, elsewhere, not path.name.endswith(wanted[len(stem) :] or path.suffix), path))
        return min(ranked)[-1] if ranked else None

    def lists(self, annotations: Path | None, pattern: str) -> list[Path]:
        """The files whose names match `pattern` (without regard to case) in `annotations`, or below the root.

        `annotations` may also be one file, which is taken whatever it is called.
        """
        if annotations is None:
            return [path for path in self.others if re.fullmatch(pattern, path.name, re.IGNORECASE)]
        if annotations.is_file():
            return [annotations]
        if not annotations.is_dir():
            raise DataError(
                f"there is no {annotations}", allowed="the file or folder of the official lists for --annotations"
            )
        held = [file for file in _files(annotations) if re.fullmatch(pattern, file.name, re.IGNORECASE)]
        return sorted(file.folder / file.name for file in held)

    def require_lists(self, annotations: Path | None, pattern: str, called: str) -> list[Path]:
        """`lists`, of which there must be one.

        Raises:
            DataError: none; `called` says in words what was looked for.
        """
        found = self.lists(annotations, pattern)
        if not found:
            raise DataError(
                f"no {called} below {annotations or self.root}, which holds {self.contents(annotations)}",
                allowed=f"the official lists: {called}",
                next_step="say where they lie with --annotations",
            )
        return found

    def contents(self, folder: Path | None = None) -> str:
        """What lies in `folder`, or in the root: some names, and how many videos are below the root."""
        names = sorted(entry.name for entry in (folder or self.root).iterdir() if not entry.name.startswith("."))
        return f"{shortened(names)}; {len(self.videos)} videos below {self.root}"


@lru_cache(maxsize=10_000)
def folded(name: str) -> str:
    """`name` as it compares between lists and disks: composed, small letters, `_` and `+` as blanks, no quotes."""
    return re.sub(r"[\s_+]+", " ", normalize("NFC", name).replace('"', "")).strip().lower()


def part_of(name: str) -> str | None:
    """The split that a file, folder or cell means: names with train, val or test in them; None for others."""
    lower = name.lower()
    return next((part for part in ("train", "val", "test") if part in lower), None)


def without_suffix(name: str) -> str:
    """`name` without the ending of a video; other dots are part of it."""
    stem, dot, suffix = name.rpartition(".")
    return stem if stem and f"{dot}{suffix}".lower() in VIDEO_SUFFIXES else name


def read_lines(path: Path) -> list[str]:
    """The lines of a text in UTF-8 that are not blank, without the blanks around them.

    Raises:
        DataError: it cannot be read, or is no text.
    """
    return [line for _, line in numbered_lines(path)]


def numbered_lines(path: Path) -> list[tuple[int, str]]:
    """`read_lines`, each with its number in the file, from 1.

    Raises:
        DataError: it cannot be read, or is no text.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
        return [(number, line.strip()) for number, line in enumerate(lines, 1) if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path}: {error}", allowed="a text file in UTF-8") from error


def _is_other(folder: str, meant: Iterable[str], classes: tuple[str, ...]) -> bool:
    """Whether `folder` is that of a class, and of none that is `meant`."""
    held = folded(folder)
    return all(held != folded(one) for one in meant) and held in _all_folded(classes)


def _splits(folders: Iterable[str], classes: tuple[str, ...]) -> set[str]:
    """The splits that whole names of `folders` mean; a class may be called like one."""
    named = [folder for folder in folders if split_name(folder) in SPLITS]
    return {split_name(folder) for folder in named if folded(folder) not in _all_folded(classes)}


@lru_cache(maxsize=8)
def _all_folded(names: tuple[str, ...]) -> frozenset[str]:
    return frozenset(map(folded, names))


@dataclass(frozen=True)
class _File:
    folder: Path
    name: str
    is_video: bool


def _files(root: Path) -> Iterator[_File]:
    """Files below `root`, and folders of frames, each as a whole."""
    seen = set()
    for text, folders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(text)
        if real in seen:  # a link that leads back up
            folders.clear()
            continue
        seen.add(real)
        folder = Path(text)
        if not folders and folder != root and is_frame_folder(folder):
            yield _File(folder.parent, folder.name, is_video=True)
            continue
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in names:
            if not name.startswith("."):
                yield _File(folder, name, PurePath(name).suffix.lower() in VIDEO_SUFFIXES)
