"""Decoding every file once, to learn what it is and whether it is whole."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from kinema.core.errors import MediaError, UsageError
from kinema.core.progress import Progress
from kinema.datasets.content import content_sha256, content_size_bytes
from kinema.datasets.look import Look, Watcher
from kinema.datasets.place import PICTURE_PX
from kinema.datasets.processes import read_apart
from kinema.video.file import damage_error
from kinema.video.source import open_recording

__all__ = ["FileReport", "inspect_file", "inspect_files"]

_MOST_WORKERS = 8


@dataclass(frozen=True)
class FileReport:
    """What one file turned out to be.

    Attributes:
        path: absolute path.
        reason: why it is broken; None where all of it decodes.
        size_bytes: of the file.
        sha256: of its content, in hexadecimal.
        frames_promised: pictures that the container says to hold; 0 where it could not be opened.
        frames_decoded: pictures that decode.
        duration_seconds: of what is shown.
        fps: average frames a second.
        variable_frame_rate: whether frames stand at uneven distances.
        width_px: as displayed.
        height_px: as displayed.
        codec: FFmpeg's name; empty where the file could not be opened.
        rate_assumed: whether nothing told the frame rate, so that 25 a second are assumed; only of frames.
        has_audio: whether there is sound.
        look: what it looks like; None where no picture decodes, and of optical flow.
    """

    path: Path
    reason: str | None
    size_bytes: int = 0
    sha256: str = ""
    frames_promised: int = 0
    frames_decoded: int = 0
    duration_seconds: float = 0.0
    fps: float = 0.0
    variable_frame_rate: bool = False
    width_px: int = 0
    height_px: int = 0
    codec: str = ""
    rate_assumed: bool = False
    has_audio: bool = False
    look: Look | None = field(default=None, compare=False, repr=False)

    def to_json(self) -> dict[str, Any]:
        """All but the look, of which the two shares are told."""
        told = {entry.name: getattr(self, entry.name) for entry in fields(self) if entry.name not in {"path", "look"}}
        return {
            "path": str(self.path),
            **told,
            "black_share": None if self.look is None else round(self.look.black_share, 4),
            "frozen_share": None if self.look is None else round(self.look.frozen_share, 4),
        }


def inspect_file(path: Path) -> FileReport:
    """Decode all of `path`; what is wrong with it stands in the report's `reason`."""
    try:
        report = FileReport(path, None, size_bytes=content_size_bytes(path), sha256=content_sha256(path))
    except OSError as error:
        return FileReport(path, error.strerror or str(error))
    except MediaError as error:
        return FileReport(path, error.reason)
    try:
        with open_recording(path, short_side_px=PICTURE_PX, strict=False) as video:
            info = video.info
            decoded, watcher = 0, Watcher()
            for frames in video.frames():
                decoded += len(frames)
                if frames.data.shape[1] == 3:  # steady motion would be called frozen
                    watcher.see(frames)
            damage = video.damage
    except MediaError as error:
        return replace(report, reason=error.reason)
    return replace(
        report,
        reason=damage_error(path, damage).reason if damage else None,
        frames_promised=info.frame_count,
        frames_decoded=decoded,
        duration_seconds=info.duration_seconds,
        fps=info.average_fps,
        variable_frame_rate=info.variable_frame_rate,
        width_px=info.width_px,
        height_px=info.height_px,
        codec=info.codec,
        rate_assumed=info.rate_assumed,
        has_audio=info.has_audio,
        look=watcher.look(),
    )


def inspect_files(paths: Sequence[Path], *, workers: int | None, progress: Progress) -> tuple[FileReport, ...]:
    """Decode all of `paths`.

    Args:
        paths: distinct files.
        workers: processes that decode; None: one a processor, at most 8. 0 decodes in this process,
            which a damaged file may then take down. Else see `processes.read_apart`.
        progress: shows how far it is.

    Returns:
        A report for each path, in the order of `paths`.

    Raises:
        UsageError: the processes cannot be started.
    """
    count = min(_MOST_WORKERS, os.cpu_count() or 1) if workers is None else workers
    if count < 0:
        raise UsageError(f"{count} workers", allowed="0 or more")
    reports: dict[Path, FileReport] = {}
    coming: Iterable[FileReport] = map(inspect_file, paths)
    if count > 0:
        coming = read_apart(inspect_file, paths, workers=count, died=_died)
    with progress.task("checking", len(paths), "videos") as task:
        for report in coming:
            reports[report.path] = report
            task.advance()
    return tuple(reports[path] for path in paths)


def _died(path: Path) -> FileReport:
    return FileReport(path, "the process that decoded it died")
