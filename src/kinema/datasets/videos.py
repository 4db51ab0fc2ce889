"""The videos that a manifest names, looked for below its folder.

A folder that many rows name is listed once, instead of asking for each file: on disks far away every question takes
its time, and the longest manifests have half a million of them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from unicodedata import normalize

from kinema.core.errors import DataError, nearest
from kinema.video.source import is_frame_folder

__all__ = ["Videos"]

_LISTED_AFTER = 16  # rows of one folder that are asked for one by one


@dataclass
class _Folder:
    """A folder as rows name it.

    Attributes:
        path: absolute, without `..`.
        asked: how many rows have named it.
        names: everything in it, once it was listed; None before, and where it cannot be.
        files: those of `names` that are files, or links to files.
        gone: whether there is no such folder, under any form of its name.
    """

    path: Path
    asked: int = 0
    names: frozenset[str] | None = None
    files: frozenset[str] = frozenset()
    gone: bool = False


class Videos:
    """Finds what rows name.

    Args:
        root: absolute path of the folder that relative names begin at.
        allow_absolute: accept what lies outside it.
    """

    def __init__(self, root: Path, *, allow_absolute: bool) -> None:
        self._root = root
        self._allow_absolute = allow_absolute
        self._folders: dict[str, _Folder | None] = {}

    def find(self, given: str, *, suggest: bool = True) -> Path:
        """The absolute path of the video, or folder of frames, that a row calls `given`.

        Args:
            given: relative to the root, with `/` or the backslash of Windows.
            suggest: say what a name that leads nowhere may have meant, for which its folder is gone through.

        Raises:
            DataError: nothing is there, it is no video, or it leads out of the root.
        """
        text = given.replace("\\", "/")
        name = text[text.rfind("/") + 1 :]
        place = text[: len(text) - len(name)]
        folder = self._folder(place) if name not in ("", ".", "..") else None
        if folder is None:
            return self._ask(given)
        folder.asked += 1
        if folder.asked == _LISTED_AFTER:
            _list(folder)
        if name in folder.files:
            return folder.path / name
        if not suggest and (folder.gone or (folder.names is not None and not _forms(name) & folder.names)):
            raise DataError(f"no file {given}")
        return self._ask(given)

    def _folder(self, place: str) -> _Folder | None:
        """The folder that rows call `place`; None where rows are to be asked for one by one."""
        if place not in self._folders:
            path = Path(os.path.normpath(self._root / place))
            outside = not (self._allow_absolute or path.is_relative_to(self._root))
            self._folders[place] = None if outside else _Folder(path)
        return self._folders[place]

    def _ask(self, given: str) -> Path:
        """The same, without what is known of the folder."""
        root = self._root
        if not given:
            raise DataError("a blank path")
        # Lexical, without following links: data sets are often links to where the disks are.
        path = Path(os.path.normpath(root / given.replace("\\", "/")))
        if not (self._allow_absolute or path.is_relative_to(root)):
            raise DataError(f"{given} leads out of {root}")
        # Some systems store names decomposed, while editors and keyboards compose them.
        forms = [path, *(root / normalize(form, str(path)) for form in ("NFC", "NFD"))]
        try:
            path = next((form for form in forms if form.exists()), path)
        except OSError as error:  # a name too long for the system, a folder that may not be entered
            raise DataError(f"{given[:60]}: {error.strerror or error}") from error
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise DataError(f"{given} is no file, but a pipe, a socket or a device")
        if path.is_dir() and not is_frame_folder(path):
            raise DataError(f"{given} is a folder, but not of numbered pictures such as image_00001.jpg")
        if not path.exists():
            names = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
            raise DataError(f"no file {given}{nearest(path.name, names)}")
        return path


def _forms(name: str) -> set[str]:
    return {name, normalize("NFC", name), normalize("NFD", name)}


def _list(folder: _Folder) -> None:
    try:
        with os.scandir(folder.path) as entries:
            held = [(entry.name, entry.is_file()) for entry in entries]
    except (OSError, ValueError):
        folder.gone = not any(Path(form).is_dir() for form in _forms(str(folder.path)))
        return
    folder.names = frozenset(name for name, _ in held)
    folder.files = frozenset(name for name, is_file in held if is_file)
