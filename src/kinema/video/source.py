"""What a person names (files, patterns, folders, URLs) -> a list of videos, and an open reader for each kind."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from glob import glob
from pathlib import Path
from typing import TypeAlias

from kinema.core.errors import MediaError, UsageError, nearest
from kinema.video.file import VideoFile
from kinema.video.flow_record import is_flow
from kinema.video.flow_source import FlowFile
from kinema.video.frame_archive import ARCHIVE_SUFFIXES, FrameArchive
from kinema.video.frame_folder import FrameFolder, is_picture_name
from kinema.video.frame_record import FrameRecord
from kinema.video.stream import VideoStream

__all__ = [
    "VIDEO_SUFFIXES",
    "Recording",
    "expand",
    "is_frame_folder",
    "is_url",
    "open_recording",
    "open_video",
    "tells_rate",
]

Recording: TypeAlias = VideoFile | FrameFolder | FrameArchive | FlowFile
"""Anything with an end whose frames can be read in any order; all are used alike."""

# fmt: off
VIDEO_SUFFIXES = frozenset({
    ".264", ".265", ".3g2", ".3gp", ".asf", ".avi", ".dav", ".flv", ".gif", ".h264", ".h265", ".hdf5", ".hevc",
    ".m2ts", ".m4v", ".mjpeg", ".mjpg", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf", ".ogv", ".ts", ".vob",
    ".webm", ".wmv",
})
# fmt: on
"""What a file must end in to be taken from a folder or by a pattern. A file named itself may end in anything."""

_MAGIC = set("*?[")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


def is_url(source: str) -> bool:
    """Whether `source` names a stream (`scheme://…`), not a path."""
    return _URL.match(source) is not None


def expand(sources: Sequence[str]) -> list[str]:
    """The videos that `sources` name, in the order given, each once.

    A name that exists is taken as it is, brackets and stars included, and so is a folder of frames. Any
    other folder gives all videos (by `VIDEO_SUFFIXES`) and folders of frames in it and below, without hidden
    ones, sorted by path. What does not exist but
    holds `*`, `?` or `[` is a pattern (`**` for any depth), and gives videos and folders, sorted. URLs stay.

    Raises:
        MediaError: a name that leads to no video; says which, and the nearest name there is.
        UsageError: no source at all, or a blank one.
    """
    if not sources:
        raise UsageError("no source", allowed="files, patterns, folders or URLs")
    if any(not source.strip() for source in sources):  # which would name the current folder
        raise UsageError(
            "a blank source", allowed="files, patterns, folders or URLs", next_step="the current folder is called ."
        )
    found = [video for source in sources for video in ([source] if is_url(source) else _local(source))]
    return list(dict.fromkeys(found))


def is_frame_folder(path: Path) -> bool:
    """Whether `path` is a folder of numbered pictures: with no video and no other folder beside them."""
    try:
        with os.scandir(path) as entries:
            seen = False
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if _is_video(entry.name) or entry.is_dir():
                    return False
                seen = seen or is_picture_name(entry.name)
            return seen
    except (OSError, ValueError):  # no folder, or a name that none can have
        return False


def tells_rate(path: Path) -> bool:
    """Whether the frame rate of the recording at `path` is known rather than assumed; reads no picture.

    Raises:
        MediaError: it cannot be opened.
    """
    if is_frame_folder(path):
        return FrameRecord.read(path) is not None
    if path.suffix.lower() not in ARCHIVE_SUFFIXES:
        return True
    with FrameArchive(path) as archive:
        return not archive.rate_assumed


def open_recording(
    path: str | Path, *, short_side_px: int | None = None, strict: bool = True, threads: int = 1
) -> Recording:
    """A reader for one video file, folder of frames, HDF5 archive of frames or stored flow; a context manager.

    Args:
        path: of the file or folder; of flow, that of its `flow.json`.
        short_side_px: what frames are scaled to, see `VideoFile`.
        strict: whether damage raises or is only noted.
        threads: how many may decode and convert a file, see `VideoFile`; streams and pictures take one.

    Raises:
        MediaError: it cannot be opened, or holds no video.
        UsageError: an archive, and h5py is not installed.
    """
    if is_flow(path):
        return FlowFile(path, short_side_px=short_side_px, strict=strict)
    if is_frame_folder(Path(path)):
        return FrameFolder(path, short_side_px=short_side_px, strict=strict)
    if Path(path).suffix.lower() in ARCHIVE_SUFFIXES and Path(path).is_file():
        return FrameArchive(path, short_side_px=short_side_px, strict=strict)
    return VideoFile(path, short_side_px=short_side_px, strict=strict, threads=threads)


def open_video(
    source: str | Path, *, short_side_px: int | None = None, strict: bool = True, threads: int = 1
) -> Recording | VideoStream:
    """A reader for one video, to be used as a context manager.

    Args:
        source: path of a file or of a folder of frames, or URL of a stream.
        short_side_px: what frames are scaled to, see `VideoFile`.
        strict: whether damage raises or is only noted.
        threads: how many may decode and convert a file, see `VideoFile`; streams and pictures take one.

    Raises:
        MediaError: it cannot be opened, or holds no video.
    """
    if is_url(str(source)):
        return VideoStream(str(source), short_side_px=short_side_px, strict=strict)
    return open_recording(_spelled(str(source)), short_side_px=short_side_px, strict=strict, threads=threads)


def _local(source: str) -> list[str]:
    path = _spelled(source)
    if path.is_dir() and not is_frame_folder(path):
        videos = sorted(_videos_below(path))
        if not videos:
            raise MediaError(
                source,
                "a folder without videos",
                allowed=f"files ending in {', '.join(sorted(VIDEO_SUFFIXES))}, or folders of numbered pictures",
                next_step="name a file itself if it is a video under another ending",
            )
        return videos
    if path.exists():
        return [str(path)]
    if _MAGIC & set(source):
        return _matching(source)
    siblings = [each.name for each in path.parent.iterdir()] if path.parent.is_dir() else []
    where = "" if path.parent.is_dir() else f" (there is no folder {path.parent})"
    raise MediaError(
        source, f"no such file or folder{nearest(path.name, siblings)}{where}", allowed="a path that exists, or a URL"
    )


def _matching(pattern: str) -> list[str]:
    matches = sorted(glob(pattern, recursive=True))  # noqa: PTH207 - Path.glob takes no absolute pattern
    videos = [
        video
        for match in matches
        for video in (sorted(_videos_below(Path(match))) if Path(match).is_dir() else [match])
        if _is_video(video) or is_frame_folder(Path(video))
    ]
    if not videos:
        reason = "the pattern matches nothing" if not matches else f"none of {len(matches)} matches is a video"
        raise MediaError(pattern, reason, allowed=f"matches that end in {', '.join(sorted(VIDEO_SUFFIXES))}")
    return videos


def _videos_below(folder: Path) -> Iterator[str]:
    if is_frame_folder(folder):
        yield str(folder)
        return
    seen = set()
    for root, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(root)
        if real in seen:  # a link that leads back up
            folders.clear()
            continue
        seen.add(real)
        visible = [name for name in folders if not name.startswith(".")]
        of_frames = {name for name in visible if is_frame_folder(Path(root, name))}
        folders[:] = [name for name in visible if name not in of_frames]
        yield from (str(Path(root, name)) for name in of_frames)
        yield from (str(Path(root, name)) for name in files if not name.startswith(".") and _is_video(name))


def _is_video(name: str) -> bool:
    return Path(name).suffix.lower() in VIDEO_SUFFIXES


def _spelled(source: str) -> Path:
    """`source` as the disk spells it: macOS splits Hangul and accents into parts, keyboards join them."""
    forms = (source, unicodedata.normalize("NFC", source), unicodedata.normalize("NFD", source))
    try:
        return next((Path(form) for form in forms if Path(form).exists()), Path(source))
    except OSError as error:  # a name too long for the system, a folder that may not be entered
        raise MediaError(source, error.strerror or str(error), allowed="the path of a file or folder") from error
