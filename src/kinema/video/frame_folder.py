"""A folder of numbered pictures as a video: `image_00001.jpg`, `frame_000001.jpg`, `000001.png` and the like.

Which pattern it is follows from what lies there: one prefix, one suffix. Numbers begin at 0 or 1, or where
`frames.json` says. Optical flow beside the pictures (`flow_x_…`, `flow_y_…`) is not looked at.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from kinema.core.errors import MediaError
from kinema.video.frame_record import ASSUMED_FPS, FrameRecord, even_timeline
from kinema.video.limits import require_regular
from kinema.video.picture_sequence import PictureSequence

__all__ = ["FrameFolder", "frame_files", "is_picture_name"]

_NAME = re.compile(r"(?P<prefix>.*?)(?P<number>\d{1,12})(?P<suffix>\.(?:jpg|jpeg|png))", re.IGNORECASE)
_FLOW = ("flow_x", "flow_y")
_COUNT_NAME = "n_frames"  # a text file beside the pictures in which older tools keep their number
_MOST_MISSING = 1000
_PLAUSIBLE = 10  # numbers for each picture; beyond, they are no sequence


@dataclass(frozen=True, repr=False)
class _Pictures:
    """The pictures of a folder.

    Attributes:
        prefix: what stands before the numbers.
        suffix: what stands behind them.
        names: file name by number.
    """

    prefix: str
    suffix: str
    names: dict[int, str]


class FrameFolder(PictureSequence):
    """A folder of numbered pictures; use it as a context manager, as a `VideoFile`.

    Times come from `frames.json` in the folder (`frame_record`); without one, 25 frames a second are
    assumed, which `info.rate_assumed` tells.

    Args:
        path: the folder.
        short_side_px: scale frames, up or down, to this shorter side; None keeps the size.
        strict: whether damage (a missing number, a picture that does not decode or has another size)
            raises or is only noted in `damage`.

    Raises:
        MediaError: no numbered picture, pictures of two patterns, or a damaged `frames.json`.
        UsageError: an argument out of range.
    """

    def __init__(self, path: Path | str, *, short_side_px: int | None = None, strict: bool = True) -> None:
        folder = Path(path)
        pictures, record = _pictures(folder), FrameRecord.read(folder)
        first = min(1, *pictures.names) if record is None or record.first_number is None else record.first_number
        count = max(pictures.names) - first + 1
        promised = record.count if record is not None and record.count is not None else _promised(folder)
        count = max(count, promised or 0)
        _require_sequence(folder, pictures, first, count, promised)
        timeline = even_timeline(count, ASSUMED_FPS) if record is None else record.timeline(count)
        super().__init__(
            path, short_side_px=short_side_px, strict=strict, timeline=timeline, rate_assumed=record is None
        )
        self._folder = folder
        self._pictures = pictures
        self._first_number = first
        for index in range(count):
            if first + index not in pictures.names:
                self._broken[index] = f"{self._name(index)}: the picture is missing"

    def close(self) -> None:
        """Nothing is held open."""

    def _bytes(self, index: int) -> bytes:
        name = self._pictures.names.get(self._first_number + index)
        if name is None:
            raise MediaError(self._name(index), "the picture is missing")
        try:
            require_regular(self._folder / name)  # a pipe would keep its reader waiting for ever
            return (self._folder / name).read_bytes()
        except OSError as error:
            raise MediaError(name, error.strerror or str(error)) from error

    def _name(self, index: int) -> str:
        number = self._first_number + index
        known = self._pictures.names
        if number in known:
            return known[number]
        example = next(iter(known.values()))
        width = len(example) - len(self._pictures.prefix) - len(self._pictures.suffix)
        return f"{self._pictures.prefix}{number:0{width}d}{self._pictures.suffix}"


def is_picture_name(name: str) -> bool:
    """Whether a file called `name` is a numbered picture, and not hidden or optical flow."""
    return not name.lower().startswith((".", *_FLOW)) and _NAME.fullmatch(name) is not None


def frame_files(folder: Path) -> list[Path]:
    """The pictures of `folder`, in order of their numbers.

    Raises:
        MediaError: as for `FrameFolder`.
    """
    names = _pictures(folder).names
    return [folder / names[number] for number in sorted(names)]


def _pictures(folder: Path) -> _Pictures:
    found: dict[tuple[str, str], dict[int, str]] = defaultdict(dict)
    try:
        listed = sorted(os.listdir(folder))  # noqa: PTH208 - a Path for each of thousands of names takes longer
    except OSError as error:
        raise MediaError(folder, error.strerror or str(error)) from error
    for name in listed:
        parts = _NAME.fullmatch(name)
        if parts is None or not is_picture_name(name):
            continue
        numbers = found[parts["prefix"], parts["suffix"]]
        twin = numbers.setdefault(int(parts["number"]), name)
        if twin != name:
            raise MediaError(folder, f"{twin} and {name} bear one number", allowed="each number once")
    if not found:
        raise MediaError(
            folder,
            "a folder without numbered pictures",
            allowed="pictures such as image_00001.jpg, frame_000001.jpg or 00001.png",
        )
    if len(found) > 1:
        patterns = ", ".join(f"{prefix}#{suffix} ({len(names)})" for (prefix, suffix), names in sorted(found.items()))
        raise MediaError(
            folder,
            f"pictures of {len(found)} patterns: {patterns}",
            allowed="pictures of one pattern, prefix and suffix alike",
            next_step="move all but one kind elsewhere",
        )
    (((prefix, suffix), names),) = found.items()
    return _Pictures(prefix, suffix, names)


def _promised(folder: Path) -> int | None:
    """The number in the file `n_frames`, where there is one."""
    try:
        text = (folder / _COUNT_NAME).read_text(encoding="ascii").strip()
        return int(text)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise MediaError(folder / _COUNT_NAME, f"not a number of frames: {error}", next_step="remove it") from error


def _require_sequence(folder: Path, pictures: _Pictures, first: int, count: int, promised: int | None) -> None:
    numbers = pictures.names
    if count > _PLAUSIBLE * len(numbers) + _MOST_MISSING:
        raise MediaError(
            folder,
            f"{len(numbers)} pictures with numbers from {min(numbers)} to {max(numbers)}",
            allowed="numbers that count from 0 or 1",
            next_step=f'number them anew, or put {{"fps": …, "first_number": {min(numbers)}}} into frames.json',
        )
    if min(numbers) < first or (promised is not None and max(numbers) >= first + promised):
        raise MediaError(
            folder,
            f"pictures numbered {min(numbers)} to {max(numbers)}, but {promised or 'all'} from {first} on are promised",
            allowed="as many pictures as frames.json or n_frames says",
            next_step="extract the frames again, or correct that file",
        )
