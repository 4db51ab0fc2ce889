"""Every video of a data set as a folder of JPEG pictures, in the layout that 3D-ResNets-PyTorch reads.

    OUT/CLASS/STEM/image_00001.jpg …    one folder a video
    OUT/CLASS/STEM/n_frames             how many, as text, for tools that look there
    OUT/CLASS/STEM/frames.json          times, source and parameters (`kinema.video.frame_record`)
    OUT/manifest.csv                    the rows of the data set, each at its folder

A folder appears whole or not at all: it is written beside, as `.STEM.partial`, and renamed. So what is there
under its own name with the right record is finished, and a second run goes on where the first was stopped.
Videos of one name in one class each get a few digits of their path's hash behind it.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from kinema.clips.sampling import grid
from kinema.core.errors import DataError, MediaError, UsageError
from kinema.core.progress import Progress, Silent
from kinema.core.spec import ClipSpec
from kinema.datasets.content import content_sha256, content_size_bytes
from kinema.datasets.manifest import Manifest
from kinema.datasets.processes import read_apart
from kinema.video.frame_record import RECORD_NAME, FrameRecord, FrameSource, FrameTimes, exact_fps
from kinema.video.source import Recording, open_recording
from kinema.video.still import encode_jpeg

__all__ = ["FrameFolderReport", "FrameRule", "FramesReport", "extract_frames"]

_MOST_WORKERS = 8
_COUNT_NAME = "n_frames"
_PICTURE = re.compile(r"image_\d{5,}\.jpg")
_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f]')
_LONGEST_BYTES = 200  # of a folder's name; systems take 255, and `.partial` is to be added


@dataclass(frozen=True)
class FrameRule:
    """How frames are taken.

    Attributes:
        short_side_px: what the short side of every frame is scaled to, up or down.
        quality: of the JPEG pictures as libjpeg counts, 1 to 95.
        fps: frames a second to take, each the one shown at that moment; None takes every frame.
    """

    short_side_px: int = 240
    quality: int = 90
    fps: Fraction | None = None

    def __post_init__(self) -> None:
        if self.short_side_px < 1:
            raise UsageError(f"a short side of {self.short_side_px} pixels", allowed="1 pixel or more")
        if not 1 <= self.quality <= 95:
            raise UsageError(f"a JPEG quality of {self.quality}", allowed="1 to 95")
        if self.fps is not None and not 0 < self.fps <= 1000:
            raise UsageError(f"{self.fps} frames a second", allowed="above 0, 1000 at most")


@dataclass(frozen=True)
class FrameFolderReport:
    """What became of one video.

    Attributes:
        path: the video.
        folder: where its frames are, or would be.
        frames: how many; 0 where it is broken.
        size_bytes: of the pictures.
        kept: whether they were there before.
        reason: why there are none; None where all is well.
    """

    path: Path
    folder: Path
    frames: int = 0
    size_bytes: int = 0
    kept: bool = False
    reason: str | None = None


@dataclass(frozen=True, repr=False)
class FramesReport:
    """What an extraction has done.

    Attributes:
        manifest: the data set that was read.
        out: the folder that was written to.
        folders: a report for each video, in the order of the manifest.
        renamed: (video, folder) where another video of the class has its name.
        seconds: how long it took.
    """

    manifest: Manifest
    out: Path
    folders: tuple[FrameFolderReport, ...]
    renamed: tuple[tuple[Path, Path], ...]
    seconds: float

    @property
    def broken(self) -> tuple[tuple[Path, str], ...]:
        """(path, reason) of each video without frames."""
        return tuple((folder.path, folder.reason) for folder in self.folders if folder.reason is not None)

    @property
    def written(self) -> tuple[FrameFolderReport, ...]:
        """Those whose frames this run has written."""
        return tuple(folder for folder in self.folders if folder.reason is None and not folder.kept)

    def to_json(self) -> dict[str, Any]:
        """Plain dicts, lists, strings and numbers; paths relative to the data set, or to OUT."""
        relative = self.manifest.relative
        return {
            "schema": "kinema.frames-report",
            "version": 1,
            "source": str(self.manifest.source),
            "out": str(self.out),
            "manifest": str(self.out / "manifest.csv"),
            "videos": len(self.folders),
            "written": len(self.written),
            "kept": sum(folder.kept for folder in self.folders),
            "frames": sum(folder.frames for folder in self.folders),
            "size_bytes": sum(folder.size_bytes for folder in self.folders),
            "seconds": round(self.seconds, 3),
            "renamed": {relative(path): folder.relative_to(self.out).as_posix() for path, folder in self.renamed},
            "broken": {relative(path): reason for path, reason in self.broken},
        }

    def __repr__(self) -> str:
        return f"FramesReport({len(self.folders)} videos, {len(self.broken)} broken)"


@dataclass(frozen=True)
class _Job:
    """One video to take frames from."""

    path: Path
    folder: Path
    rule: FrameRule


def extract_frames(
    manifest: Manifest,
    out: Path | str,
    rule: FrameRule | None = None,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> FramesReport:
    """Write the frames of every video of `manifest` below `out`, and a manifest that points to them.

    Groups, labels, splits and segments are kept; rows of videos that do not decode whole are left out and
    reported. Frames that are there already, of the same video by the same rule, are kept.

    Args:
        manifest: the data set.
        out: a folder; may hold what an earlier run has left.
        rule: how frames are taken; `FrameRule()` unless given.
        workers: processes that decode; None: one a processor, at most 8. 0 decodes in this process,
            which a damaged file may then take down.
        progress: shows how far it is.

    Raises:
        DataError: not one video decodes, `out` cannot be written to, lies in the data set's own
            folder, or is written to by another process.
        UsageError: fewer than no workers, or processes that cannot be started.
    """
    began = time.perf_counter()
    count = min(_MOST_WORKERS, os.cpu_count() or 1) if workers is None else workers
    if count < 0:
        raise UsageError(f"{count} workers", allowed="0 or more")
    place = Path(os.path.normpath(Path(out).absolute()))
    _require_apart(manifest, place)
    plain, folders = _folders(manifest, place)
    jobs = [_Job(path, folder, rule or FrameRule()) for path, folder in folders.items()]
    with _alone_in(place):
        coming = read_apart(_extract, jobs, workers=count, died=_died) if count else map(_extract, jobs)
        found = {report.path: report for report in _shown(coming, len(jobs), progress or Silent())}
        reports = tuple(found[job.path] for job in jobs)
        _write_manifest(manifest, place, reports)
    renamed = tuple((path, folder) for path, folder in folders.items() if folder != plain[path])
    return FramesReport(manifest, place, reports, renamed, time.perf_counter() - began)


def _shown(coming: Iterable[FrameFolderReport], total: int, progress: Progress) -> Iterator[FrameFolderReport]:
    began, frames, broken = time.perf_counter(), 0, 0
    with progress.task("extracting frames", total, "videos") as task:
        for report in coming:
            frames += 0 if report.kept else report.frames
            broken += report.reason is not None
            rate = f"{frames / (time.perf_counter() - began):.0f} frames/s"
            task.advance(note=f"{rate}, {broken} broken" if broken else rate)
            yield report


def _write_manifest(manifest: Manifest, out: Path, reports: tuple[FrameFolderReport, ...]) -> None:
    there = {report.path: report.folder for report in reports if report.reason is None}
    samples = tuple(replace(one, path=there[one.path]) for one in manifest.samples if one.path in there)
    if not samples:
        reasons = "\n".join(f"  {report.path}: {report.reason}" for report in reports[:10])
        raise DataError(
            f"not one of {len(reports)} videos gave frames:\n{reasons}", allowed="at least one that decodes"
        )
    target = out / "manifest.csv"
    replace(manifest, source=target, samples=samples, ignored=()).write(target)


def _require_apart(manifest: Manifest, out: Path) -> None:
    inside = manifest.source.is_dir() and out.is_relative_to(manifest.source)
    if inside or out == manifest.root or (out.exists() and not out.is_dir()):
        raise DataError(
            f"frames cannot be written to {out}",
            allowed="a folder of their own, outside of the folder of the videos",
            next_step="name another folder",
        )


@contextmanager
def _alone_in(out: Path) -> Iterator[None]:
    """Keep a second run out of a folder for as long as the block runs."""
    lock = FileLock(out / ".frames.lock", timeout=0)
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise DataError(
            f"another process writes frames to {out}", next_step="wait for it, or name another folder"
        ) from error
    except OSError as error:
        raise _unwritable(out, error) from error
    try:
        yield
    finally:
        lock.release()


def _folders(manifest: Manifest, out: Path) -> tuple[dict[Path, Path], dict[Path, Path]]:
    """For each video the folder by its name alone, and one that is no other's, which depends on no order of rows."""
    first = {sample.path: sample for sample in reversed(manifest.samples)}
    paths = list(dict.fromkeys(sample.path for sample in manifest.samples))
    plain = {path: out / _safe(first[path].label) / _safe(path.name if path.is_dir() else path.stem) for path in paths}
    # Some systems take two names that differ in case for one.
    taken = Counter(str(folder).casefold() for folder in plain.values())
    told = {
        path: folder
        if taken[str(folder).casefold()] == 1
        else folder.with_name(f"{folder.name}-{_hash(manifest, path)}")
        for path, folder in plain.items()
    }
    return plain, told


def _hash(manifest: Manifest, path: Path) -> str:
    return hashlib.sha256(manifest.relative(path).encode()).hexdigest()[:8]


def _safe(name: str) -> str:
    """`name` as that of a folder which every system takes and nobody hides."""
    plain = _FORBIDDEN.sub("_", name).rstrip(". ")
    plain = f"_{plain.lstrip('.')}" if plain.startswith(".") or not plain else plain
    if len(plain.encode()) <= _LONGEST_BYTES:
        return plain
    cut = plain.encode()[:_LONGEST_BYTES].decode(errors="ignore")
    return f"{cut}-{hashlib.sha256(plain.encode()).hexdigest()[:8]}"


def _extract(job: _Job) -> FrameFolderReport:
    """Take the frames of one video, unless they are there."""
    try:
        source = _source_of(job)
        there = _finished(job, source)
        if there is not None:
            return there
        _require_ours(job.folder)
        return _write(job, source())
    except MediaError as error:
        return FrameFolderReport(job.path, job.folder, reason=error.reason)


def _died(job: _Job) -> FrameFolderReport:
    return FrameFolderReport(job.path, job.folder, reason="the process that decoded it died")


def _source_of(job: _Job) -> Callable[[], FrameSource]:
    """Makes what the record will say of the video; reads all of it, hence only when called."""
    try:
        status, size = job.path.stat(), content_size_bytes(job.path)
    except OSError as error:
        raise MediaError(job.path, error.strerror or str(error)) from error

    def make() -> FrameSource:
        rule = job.rule
        return FrameSource(
            name=job.path.name,
            size_bytes=size,
            mtime_ns=status.st_mtime_ns,
            sha256=content_sha256(job.path),
            short_side_px=rule.short_side_px,
            quality=rule.quality,
            fps=rule.fps,
        )

    return make


def _finished(job: _Job, source: Callable[[], FrameSource]) -> FrameFolderReport | None:
    """The report of frames that an earlier run has left; None where they are to be taken (again)."""
    try:
        record = FrameRecord.read(job.folder)
    except MediaError:
        return None
    if record is None or record.source is None:
        return None
    known = record.source
    rule = FrameRule(known.short_side_px, known.quality, known.fps)
    if rule != job.rule or known.name != job.path.name or known.size_bytes != content_size_bytes(job.path):
        return None
    # A copy of the video may bear another date; a folder of frames changes without its own date changing.
    if (job.path.is_dir() or known.mtime_ns != job.path.stat().st_mtime_ns) and known.sha256 != source().sha256:
        return None
    sizes = [path.stat().st_size for path in job.folder.iterdir() if _PICTURE.fullmatch(path.name)]
    if len(sizes) != record.count or not all(sizes):
        return None
    return FrameFolderReport(job.path, job.folder, len(sizes), sum(sizes), kept=True)


def _require_ours(folder: Path) -> None:
    """MediaError where a folder holds what no extraction has written: it is not to be replaced."""
    if not folder.exists():
        return
    names = sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else [folder.name]
    others = [name for name in names if not _PICTURE.fullmatch(name) and name not in (RECORD_NAME, _COUNT_NAME)]
    if others:
        raise MediaError(folder, f"{folder} holds other things than frames, such as {others[0]}")


def _write(job: _Job, source: FrameSource) -> FrameFolderReport:
    beside = job.folder.with_name(f".{job.folder.name}.partial")
    try:
        shutil.rmtree(beside, ignore_errors=True)  # what a run that was stopped has left
        beside.mkdir(parents=True)
        with open_recording(job.path, short_side_px=job.rule.short_side_px) as video:
            sizes = [_save(beside, number, picture, job.rule) for number, picture in _numbered(video, job.rule)]
            times = _times(video, len(sizes), job.rule)
        (beside / _COUNT_NAME).write_text(str(len(sizes)), encoding="ascii")
        fps = _rate(job.path, Fraction(len(sizes)) / ((times.end_pts - times.pts[0]) * times.time_base))
        FrameRecord(fps, len(sizes), 1, times, source).write(beside)
        if job.folder.exists():
            shutil.rmtree(job.folder)
        beside.rename(job.folder)
    except OSError as error:
        raise _unwritable(job.folder, error) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return FrameFolderReport(job.path, job.folder, len(sizes), sum(sizes))


def _save(folder: Path, number: int, picture: torch.Tensor, rule: FrameRule) -> int:
    return (folder / f"image_{number:05d}.jpg").write_bytes(encode_jpeg(picture, rule.quality))


def _numbered(video: Recording, rule: FrameRule) -> Iterator[tuple[int, torch.Tensor]]:
    """The pictures to keep, counted from 1; one may stand for several moments of a higher rate."""
    wanted = Counter(range(len(video.pts)) if rule.fps is None else grid(_seconds(video), _clip(rule.fps)))
    index = number = 0
    for frames in video.frames():
        if frames.data.shape[1] != 3:
            raise MediaError(video.path, "optical flow, not pictures", allowed="videos")
        for picture in frames.data:
            for _ in range(wanted[index]):
                number += 1
                yield number, picture
            index += 1


def _times(video: Recording, count: int, rule: FrameRule) -> FrameTimes:
    if rule.fps is not None:
        return FrameTimes(tuple(range(count)), count, 1 / rule.fps)
    info = video.info
    end = info.start_pts + round(Fraction(info.duration_seconds) / info.time_base)
    return FrameTimes(video.pts, max(end, video.pts[-1] + 1), info.time_base)


def _rate(path: Path, fps: Fraction) -> Fraction:
    """`fps`; MediaError where no reader would take a record of it."""
    try:
        return exact_fps(fps)
    except ValueError as error:
        raise MediaError(path, f"{error}, more than a folder of frames may have") from error


def _seconds(video: Recording) -> list[float]:
    base = video.info.time_base
    return [float((pts - video.pts[0]) * base) for pts in video.pts]


def _clip(fps: Fraction) -> ClipSpec:
    return ClipSpec(frames=1, fps=float(fps))


def _unwritable(folder: Path, error: OSError) -> DataError:
    return DataError(
        f"cannot write to {folder}: {error.strerror or error}",
        allowed="a folder that may be written to, on a disk with room",
        next_step="free space or name another folder; the next run goes on where this one stopped",
    )
