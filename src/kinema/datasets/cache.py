"""Decoded, pre-shrunk frames kept on disk, so that a second epoch decodes nothing.

What is kept: for each video (or segment of one) all frames at the short side that a network's
InputSpec asks for, uint8, with their times, in one safetensors file that is memory-mapped when read.
Where: `$KINEMA_CACHE/frames`, else `$XDG_CACHE_HOME/kinema/frames`, else `~/.cache/kinema/frames`.
How much: `$KINEMA_CACHE_GIB`, 10 unless set; the files used least recently go first. The folder may
be deleted at any moment, even while a training runs: what is missing is decoded again.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Protocol

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from kinema.core.atomic import replacing
from kinema.core.cache import cache_folder
from kinema.core.errors import DataError, MediaError, UsageError
from kinema.core.progress import Progress
from kinema.core.spec import InputSpec
from kinema.datasets.content import content_stamp, rate_notes
from kinema.datasets.sample import Sample
from kinema.video.fed import FlowSteps, open_fed, read_as
from kinema.video.flow_record import is_flow, source_of
from kinema.video.frame import Frames
from kinema.video.source import Recording, open_recording

__all__ = ["CachedVideo", "FrameCache", "VideoShelf", "readers"]

# Raised whenever decoding or scaling changes what a frame looks like, so that old files go unused.
_FORMAT = 1

# Threads that made room at the same time would each take the same files for it.
_KEEPING = threading.Lock()


@dataclass(frozen=True, repr=False)
class CachedVideo:
    """All frames of one video or segment, in memory-mapped form; read like a VideoFile.

    Attributes:
        data: uint8 (T, C, H, W).
        pts: T presentation times in units of `time_base`.
        time_base: seconds a unit.
    """

    data: torch.Tensor
    pts: tuple[int, ...]
    time_base: Fraction

    @property
    def times(self) -> tuple[float, ...]:
        """Seconds (T,) of every frame, from the first one held."""
        return tuple(float((pts - self.pts[0]) * self.time_base) for pts in self.pts)

    def read(self, indices: Sequence[int]) -> Frames:
        """The frames at `indices`, in that order, repeats allowed."""
        picked = self.data[torch.as_tensor(list(indices), dtype=torch.long)]
        return Frames(picked, tuple(self.pts[i] for i in indices), self.time_base)

    def __repr__(self) -> str:
        return f"CachedVideo({tuple(self.data.shape)})"


class VideoShelf(Protocol):
    """What gives the frames of samples: of files (`FrameCache`), or of shards."""

    def open(self, path: Path, *, start_seconds: float | None = None, end_seconds: float | None = None) -> CachedVideo:
        """The frames of `path`, or of its segment [start_seconds, end_seconds); MediaError where there are none."""
        ...


class FrameCache:
    """Opens videos at one size, decoding each once.

    Args:
        short_side_px: what the short side of every frame is scaled to.
        folder: where to keep frames; `cache_folder() / "frames"` unless given.
        limit_bytes: most the folder may hold; `$KINEMA_CACHE_GIB` unless given.
        fed: what the network expects, at that short side; flow that is not stored is computed as it says. None:
            pictures, or flow that is.
    """

    def __init__(
        self,
        short_side_px: int,
        *,
        folder: Path | None = None,
        limit_bytes: int | None = None,
        fed: InputSpec | None = None,
    ) -> None:
        self.short_side_px = short_side_px
        self.fed = fed
        self.folder = folder or cache_folder() / "frames"
        self.limit_bytes = _limit_from_environment() if limit_bytes is None else limit_bytes

    @classmethod
    def of(cls, fed: InputSpec) -> FrameCache:
        """The cache of what a network is fed with, be it pictures, optical flow or both."""
        return cls(fed.short_side_px, fed=fed)

    def open(self, path: Path, *, start_seconds: float | None = None, end_seconds: float | None = None) -> CachedVideo:
        """The frames of `path`, or of its segment [start_seconds, end_seconds).

        Raises:
            MediaError: the file cannot be decoded whole, or the segment holds no frame.
            UsageError: flow is to be computed, and cannot be.
        """
        key = self._key(path, start_seconds, end_seconds)
        return self.keep(key, partial(self._decode, path, start_seconds or 0.0, end_seconds))

    def keep(self, key: str, decode: Callable[[], CachedVideo]) -> CachedVideo:
        """The frames kept under `key`, a file name; where there are none, those that `decode` gives, kept from now on.

        Raises:
            DataError: the folder cannot be written to.
        """
        kept = self._file(key)
        found = _read(kept)
        if found is not None:
            return found
        video = decode()
        # One recording of hours would push everything else out and be pushed out in turn.
        if video.data.nbytes <= self.limit_bytes // 4:
            self._keep(kept, video)
        return video

    def holds(self, key: str) -> bool:
        """Whether frames are kept under `key` now."""
        return self._file(key).exists()

    def fill(self, samples: Sequence[Sample], progress: Progress) -> dict[Sample, str]:
        """Open every sample once, so that training decodes nothing.

        Threads suffice: FFmpeg and the disk work without Python's lock.

        Returns:
            The samples that cannot be decoded whole, each with its reason: of a file that cannot be opened all,
            else those segments alone that are damaged or hold no frame.
        """
        broken: dict[Sample, str] = {}
        with progress.task("reading videos", len(samples), "videos") as task, ThreadPoolExecutor(readers()) as pool:
            for sample, reason in zip(samples, pool.map(self._trouble_with, samples), strict=True):
                if reason:
                    broken[sample] = reason
                task.advance(note=f"{len(broken)} broken" if broken else "")
        for note in rate_notes([sample for sample in samples if sample not in broken]):
            progress.log(note)
        return broken

    def _trouble_with(self, sample: Sample) -> str:
        try:
            self.open(sample.path, start_seconds=sample.start_seconds, end_seconds=sample.end_seconds)
        except MediaError as error:
            return error.reason
        return ""

    def size_bytes(self) -> int:
        """What the folder holds now."""
        return sum(size for _, size, _ in self._files())

    def _file(self, key: str) -> Path:
        return self.folder / f"{key}.safetensors"

    def _key(self, path: Path, start_seconds: float | None, end_seconds: float | None) -> str:
        try:
            stamp = content_stamp(path)
        except OSError as error:
            raise MediaError(path, error.strerror or str(error)) from error
        what = (_FORMAT, str(path.resolve()), *stamp, self.short_side_px, *self._fed_as(path))
        return hashlib.sha256(repr((*what, start_seconds, end_seconds)).encode()).hexdigest()[:32]

    def _fed_as(self, path: Path) -> tuple[object, ...]:
        """What frames depend on besides the file and their size."""
        if self.fed is None:
            return ()
        told = read_as(path, self.fed)
        try:
            return (*told, *content_stamp(source_of(path))) if told and is_flow(path) else told
        except OSError as error:
            raise MediaError(path, error.strerror or str(error)) from error

    def _opened(self, path: Path) -> Recording | FlowSteps:
        if self.fed is None:
            return open_recording(path, short_side_px=self.short_side_px)
        return open_fed(path, self.fed)

    def _decode(self, path: Path, start_seconds: float, end_seconds: float | None) -> CachedVideo:
        with self._opened(path) as video:
            parts = list(video.frames(start_seconds=start_seconds, end_seconds=end_seconds))
        if not parts:
            end = "the end" if end_seconds is None else f"{end_seconds} s"
            raise MediaError(path, f"no frame between {start_seconds} s and {end}")
        frames = Frames.join(parts)
        return CachedVideo(frames.data, frames.pts, frames.time_base)

    def _keep(self, kept: Path, video: CachedVideo) -> None:
        header = {
            "numerator": video.time_base.numerator,
            "denominator": video.time_base.denominator,
            "pts": list(video.pts),
        }
        try:
            with _KEEPING:
                self._make_room(video.data.nbytes)
                with replacing(kept) as beside:
                    save_file({"frames": video.data}, beside, metadata={"kinema": json.dumps(header)})
        except FileNotFoundError:
            return  # the folder was deleted, or another process made room, while this was written
        except (SafetensorError, DataError, OSError) as error:
            if isinstance(error, SafetensorError) and not self.folder.exists():
                return
            raise DataError(
                f"cannot keep the frames of videos in {self.folder}: {error}",
                allowed=f"a folder that may be written to, with room for {self.limit_bytes / 2**30:.1f} GiB",
                next_step="name another folder with KINEMA_CACHE, or a smaller limit (0: none) with KINEMA_CACHE_GIB",
            ) from error

    def _make_room(self, needed_bytes: int) -> None:
        files = sorted(self._files())
        held = sum(size for _, size, _ in files)
        for _, size, path in files:
            if held + needed_bytes <= self.limit_bytes:
                return
            try:
                path.unlink(missing_ok=True)  # readers keep their mapping; another process may be faster
            except OSError:
                continue  # another user's, in a folder that many share
            held -= size

    def _files(self) -> list[tuple[float, int, Path]]:
        """(last use, size, path) of every file that is still there when asked."""
        entries = []
        for path in self.folder.glob("*.safetensors"):
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
            entries.append((status.st_mtime, status.st_size, path))
        return entries


def _read(kept: Path) -> CachedVideo | None:
    try:
        with safe_open(kept, framework="pt") as opened:
            header = json.loads(opened.metadata()["kinema"])
            data = opened.get_tensor("frames")
        with suppress(OSError):  # another user's file, or read-only; evicted in between, its frames are still mapped
            os.utime(kept)  # the order of eviction; access times are often not kept by file systems
    except (FileNotFoundError, SafetensorError):
        return None  # never kept, evicted, or cut short by a full disk: decoded again
    base = Fraction(header["numerator"], header["denominator"])
    return CachedVideo(data, tuple(header["pts"]), base)


def readers() -> int:
    """Threads that decode at once: one a processor."""
    return max(1, os.cpu_count() or 1)


def _limit_from_environment() -> int:
    given = os.environ.get("KINEMA_CACHE_GIB", "10")
    try:
        gib = float(given)
    except ValueError:
        gib = -1.0
    if not 0 <= gib < math.inf:
        raise UsageError(f"KINEMA_CACHE_GIB={given}", allowed="a number of GiB, 0 to keep nothing")
    return int(gib * 2**30)
