"""What is known of a folder of frames besides its pictures: `frames.json`, whose presence marks a whole folder.

    {"schema": "kinema.frames", "version": 1,
     "fps": "30000/1001",                             required, all else may be missing
     "count": 3, "first_number": 1,
     "time_base": "1/30000", "pts": [0, 1001, 2002], "end_pts": 3003,
     "source": {"name": ..., "size_bytes": ..., "mtime_ns": ..., "sha256": ...},
     "parameters": {"short_side_px": 240, "quality": 90, "fps": null}}

So `{"fps": 30}` written by hand suffices to tell the rate of frames that another tool has left.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

from kinema.core.atomic import replacing
from kinema.core.errors import MediaError
from kinema.video.timeline import Timeline

__all__ = ["ASSUMED_FPS", "RECORD_NAME", "FrameRecord", "FrameSource", "FrameTimes", "even_timeline", "exact_fps"]

RECORD_NAME = "frames.json"
ASSUMED_FPS = Fraction(25)
"""Frames a second where nothing tells; whoever assumes it says so."""

_SCHEMA = "kinema.frames"


@dataclass(frozen=True)
class FrameSource:
    """The video that frames were taken from, and how.

    Attributes:
        name: of its file, without folders.
        size_bytes: of its file.
        mtime_ns: when its file was last written.
        sha256: of its content, in hexadecimal.
        short_side_px: what the short side was scaled to.
        quality: of the JPEG pictures, 1 to 95.
        fps: the rate that was asked for; None kept every frame.
    """

    name: str
    size_bytes: int
    mtime_ns: int
    sha256: str
    short_side_px: int
    quality: int
    fps: Fraction | None


@dataclass(frozen=True, repr=False)
class FrameTimes:
    """Exact times of frames.

    Attributes:
        pts: ascending, in units of `time_base`.
        end_pts: when the last one stops being shown.
        time_base: seconds a unit.
    """

    pts: tuple[int, ...]
    end_pts: int
    time_base: Fraction

    def __post_init__(self) -> None:
        ascending = (*self.pts, self.end_pts)
        if self.time_base <= 0 or not self.pts or any(later <= earlier for earlier, later in pairwise(ascending)):
            raise ValueError("times that do not ascend")


@dataclass(frozen=True)
class FrameRecord:
    """The content of `frames.json`.

    Attributes:
        fps: frames a second; the mean where they are uneven.
        count: pictures in the folder; None where the record does not say.
        first_number: number of the first one likewise.
        times: exact times likewise; without, frames stand 1 / fps apart.
        source: what the frames were taken from, where kinema has taken them.
    """

    fps: Fraction
    count: int | None = None
    first_number: int | None = None
    times: FrameTimes | None = None
    source: FrameSource | None = None

    @classmethod
    def read(cls, folder: Path) -> FrameRecord | None:
        """The record in `folder`, or None where there is none.

        Raises:
            MediaError: it is damaged, or contradicts itself.
        """
        path = folder / RECORD_NAME
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as error:
            raise _refusal(path, str(error)) from error
        try:
            return cls._of(content)
        except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            reason = f"no {error}" if isinstance(error, KeyError) else str(error)
            raise _refusal(path, reason) from error

    @classmethod
    def _of(cls, content: dict[str, Any]) -> FrameRecord:
        if content.get("schema", _SCHEMA) != _SCHEMA or content.get("version", 1) != 1:
            raise ValueError(f"schema {content.get('schema')}, version {content.get('version')}")
        times = source = None
        if "pts" in content:
            pts = tuple(int(time) for time in content["pts"])
            times = FrameTimes(pts, int(content["end_pts"]), Fraction(content["time_base"]))
        if "source" in content:
            parameters = dict(content["parameters"])
            rate = parameters.pop("fps")
            fps = None if rate is None else exact_fps(rate)
            source = FrameSource(**content["source"], **parameters, fps=fps)
        count, first = content.get("count"), content.get("first_number")
        if times and count != len(times.pts):
            raise ValueError(f"{len(times.pts)} times for {count} frames")
        return cls(exact_fps(content["fps"]), count, first, times, source)

    def write(self, folder: Path) -> None:
        """Write `frames.json` into `folder`, whole or not at all."""
        content: dict[str, Any] = {"schema": _SCHEMA, "version": 1, "fps": str(self.fps)}
        if self.count is not None:
            content["count"] = self.count
        if self.first_number is not None:
            content["first_number"] = self.first_number
        if self.times is not None:
            base = str(self.times.time_base)
            content |= {"time_base": base, "pts": list(self.times.pts), "end_pts": self.times.end_pts}
        if self.source is not None:
            known = asdict(self.source)
            content["parameters"] = {
                "short_side_px": known.pop("short_side_px"),
                "quality": known.pop("quality"),
                "fps": None if known["fps"] is None else str(known["fps"]),
            }
            del known["fps"]
            content["source"] = known
        with replacing(folder / RECORD_NAME) as beside:
            beside.write_text(json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8")

    def timeline(self, count: int) -> Timeline:
        """The times of a folder that holds `count` frames, or should."""
        if self.times is None:
            return even_timeline(count, self.fps)
        return Timeline(
            self.times.pts, (), self.times.end_pts, self.times.time_base, by_count=False, promised_frames=count
        )


def even_timeline(count: int, fps: Fraction) -> Timeline:
    """`count` frames, 1 / `fps` apart."""
    return Timeline(tuple(range(count)), (), count, 1 / fps, by_count=False, promised_frames=count)


def exact_fps(given: object) -> Fraction:
    """Frames a second as a fraction, from a number or a text such as `30000/1001`; ValueError if it is none."""
    if isinstance(given, bool) or not isinstance(given, (str, int, float, Fraction)):
        raise ValueError(f"{given!r} is no frame rate")  # noqa: TRY004 - one error for every text and number
    fps = Fraction(str(given))
    if not 0 < fps <= 1000:
        raise ValueError(f"a rate of {given} frames a second")
    return fps


def _refusal(path: Path, reason: str) -> MediaError:
    return MediaError(
        path,
        f"not a record of frames: {reason}",
        allowed='a JSON object that tells the rate, as {"fps": "30000/1001"} does',
        next_step="correct it, or remove it and let 25 frames a second be assumed",
    )
