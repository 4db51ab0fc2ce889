"""Decoding every file once, in processes of their own, to learn what it is and whether it is whole.

Processes and not threads, because a damaged file may take its decoder, and with it the process, down.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path

from kinema.core.errors import MediaError, UsageError
from kinema.core.progress import Progress
from kinema.video.file import VideoFile, damage_error

__all__ = ["FileReport", "inspect_file", "inspect_files", "spread"]

# Pictures are decoded in full but converted small: nobody looks at them.
_SHORT_SIDE_PX = 16
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


def inspect_file(path: Path) -> FileReport:
    """Decode all of `path`; what is wrong with it stands in the report's `reason`."""
    try:
        report = FileReport(path, None, size_bytes=path.stat().st_size, sha256=_sha256(path))
    except OSError as error:
        return FileReport(path, error.strerror or str(error))
    try:
        with VideoFile(path, short_side_px=_SHORT_SIDE_PX, strict=False) as video:
            info = video.info
            decoded = sum(len(frames) for frames in video.frames())
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
    )


def inspect_files(paths: Sequence[Path], *, workers: int | None, progress: Progress) -> tuple[FileReport, ...]:
    """Decode all of `paths`.

    Args:
        paths: distinct files.
        workers: processes that decode; None: one a processor, at most 8. 0 decodes in this process,
            which a damaged file may then take down. Started afresh (spawn), so a program that calls
            this from its main file needs the usual `if __name__ == "__main__":`.
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
    coming = (inspect_file(path) for path in paths) if count == 0 else spread(inspect_file, paths, workers=count)
    with progress.task("checking", len(paths), "videos") as task:
        for report in coming:
            reports[report.path] = report
            task.advance()
    return tuple(reports[path] for path in paths)


def spread(
    inspect: Callable[[Path], FileReport], paths: Iterable[Path], *, workers: int
) -> Generator[FileReport, None, None]:
    """Run `inspect` on `paths` in `workers` processes; reports come as they are ready.

    A file during which its process dies twice, the second time alone, is reported broken.

    Raises:
        UsageError: the processes cannot be started.
    """
    waiting = deque(paths)
    while waiting:
        suspects = yield from _until_one_dies(inspect, waiting, workers)
        for path in suspects:
            yield _alone(inspect, path)


def _until_one_dies(
    inspect: Callable[[Path], FileReport], waiting: deque[Path], workers: int
) -> Generator[FileReport, None, list[Path]]:
    """Empty `waiting`; if a process dies, return early with the paths that were being read."""
    pool = _pool(min(workers, len(waiting)))
    reading: dict[Future[FileReport], Path] = {}
    try:
        while waiting or reading:
            while waiting and len(reading) < 2 * workers:
                reading[pool.submit(inspect, waiting[0])] = waiting[0]
                waiting.popleft()
            for future in wait(reading, return_when=FIRST_COMPLETED).done:
                report = future.result()
                del reading[future]
                yield report
    except BrokenProcessPool:
        return list(reading.values())
    finally:
        pool.shutdown(cancel_futures=True)
    return []


def _alone(inspect: Callable[[Path], FileReport], path: Path) -> FileReport:
    pool = _pool(1)
    try:
        pool.submit(_nothing).result()
    except BrokenProcessPool as error:
        raise UsageError(
            "the processes that decode cannot be started",
            allowed="a main program that can be imported without running it",
            next_step='put its code under `if __name__ == "__main__":`, or pass workers=0',
        ) from error
    else:
        try:
            return pool.submit(inspect, path).result()
        except BrokenProcessPool:
            return FileReport(path, "the process that decoded it died")
    finally:
        pool.shutdown(cancel_futures=True)


def _pool(workers: int) -> ProcessPoolExecutor:
    context = multiprocessing.get_context("spawn")  # forking beside threads of FFmpeg or torch may hang
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_leave_interrupts_to_the_parent)


def _leave_interrupts_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _nothing() -> None:
    """Shows that a process has started."""


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as opened:
        while chunk := opened.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
