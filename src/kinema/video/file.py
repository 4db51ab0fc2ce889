"""A video file as timed frames: in order with bounded memory, or any of them by index."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from kinema.core.errors import MediaError, UsageError
from kinema.video.cursor import Cursor, Heard
from kinema.video.frame import Frames
from kinema.video.handle import Handle
from kinema.video.painting import Painting
from kinema.video.picture import Layout, Painter, check_short_side
from kinema.video.probe import VideoInfo, describe
from kinema.video.structure import structural_damage
from kinema.video.timeline import Timeline, read_timeline
from kinema.video.timeline_memo import FileState, TimelineMemo

if TYPE_CHECKING:
    from av.video.frame import VideoFrame
    from typing_extensions import Self

__all__ = ["Damage", "VideoFile", "damage_error"]

# Decoding on is cheaper than seeking to a keyframe that is no more than about this many frames ahead.
_WORTH_SEEKING_FRAMES = 8

_MEMO = TimelineMemo()


@dataclass(frozen=True)
class Damage:
    """One broken place in a video.

    Attributes:
        seconds: when, from the first shown frame; None where that is unknown.
        reason: what is wrong there.
    """

    seconds: float | None
    reason: str

    def __str__(self) -> str:
        return self.reason if self.seconds is None else f"{self.reason} at {self.seconds:.3f} s"


class VideoFile:
    """A video file; use it as a context manager.

        with VideoFile("street.mp4", short_side_px=128) as video:
            for frames in video.frames():  # Frames of up to 32
                ...
            clip = video.read(range(16, 32))  # Frames of these 16

    The same file and arguments give the same bytes, by `frames` or by `read`, the first time or the
    hundredth. One VideoFile belongs to one thread, and its file must not change while it is open.

    Args:
        path: the file.
        short_side_px: scale frames, up or down, so that the shorter side shown has this many pixels;
            None keeps the size.
        strict: whether damage raises (after everything that decodes was given) or is only noted in `damage`.
        threads: how many may work. One is best where several files are read at once, as in data loading, and
            starts no thread at all; more speed up a single file. Of small pictures, up to about 480x270, one of
            several converts what the others decode; of larger ones all decode.

    Raises:
        MediaError: the file cannot be opened or holds no video.
        UsageError: an argument out of range.
    """

    def __init__(
        self, path: Path | str, *, short_side_px: int | None = None, strict: bool = True, threads: int = 1
    ) -> None:
        check_short_side(short_side_px)
        self.path = path
        self.short_side_px = short_side_px
        self.strict = strict
        self.threads = threads
        self._heard = Heard()
        self._cursor: Cursor | None = None
        self._painter: Painter | None = None
        self._painting: Painting | None = None
        self._closed = False
        self._state = FileState.of(path)
        self._own: Handle | None = Handle(path, threads=threads)
        self._container = self._own.container.format.name
        self._pixel_aspect = self._own.pixel_aspect
        self._stream_id = self._handle.stream.id

    @cached_property
    def info(self) -> VideoInfo:
        """What the file is; sizes as displayed, before `short_side_px`."""
        timeline = self._timeline
        self._cursor = None  # the handle is about to be moved
        return describe(self._handle, timeline)

    @property
    def pts(self) -> tuple[int, ...]:
        """Times of all frames in units of `info.time_base`, strictly ascending.

        Read from the packets, without decoding. Where a container gives packets no times of their
        own, they are counted at the stream's frame rate from 0.
        """
        return self._timeline.pts

    @property
    def damage(self) -> tuple[Damage, ...]:
        """What has been found broken so far, by whatever was read; in order of time."""
        return self._damage(self._promises | self._heard)

    def frames(
        self, *, start_seconds: float = 0.0, end_seconds: float | None = None, chunk_frames: int = 32
    ) -> Generator[Frames, None, None]:
        """Frames shown in [start_seconds, end_seconds), in order, decoded once, in memory for one chunk.

        Reads through a handle that is closed when the generator ends or is dropped and is used by nobody
        else, so that `read` may be called meanwhile.

        Args:
            start_seconds: from the first shown frame, included.
            end_seconds: excluded; None means to the end.
            chunk_frames: frames in each yielded Frames; the last may hold fewer.

        Yields:
            Frames of uint8 (T, 3, H, W) with T up to `chunk_frames`: everything that decodes.

        Raises:
            MediaError: when all was yielded, if something was damaged and `strict`.
            UsageError: an argument out of range.
        """
        if chunk_frames < 1:
            raise UsageError(f"chunks of {chunk_frames} frames", allowed="1 frame or more")
        if start_seconds < 0 or (end_seconds is not None and end_seconds < start_seconds):
            raise UsageError(
                f"frames from {start_seconds} to {end_seconds} s", allowed="a start of 0 or later and no earlier end"
            )
        return self._chunks(start_seconds, end_seconds, chunk_frames)

    def read(self, indices: Sequence[int]) -> Frames:
        """The frames at `indices` (any order, repeats allowed), in that order.

        Seeks to the keyframe before the first and decodes only what is needed; goes on from where
        the last call ended if that is nearer.

        Args:
            indices: positions in `pts`, 0 to len(pts) - 1; at least one.

        Returns:
            Frames of uint8 (len(indices), 3, H, W).

        Raises:
            MediaError: a frame cannot be had, or (if `strict`) something was damaged on the way to it.
            UsageError: no index, or one out of range.
        """
        count = len(self.pts)
        wanted = sorted(set(indices))
        if not wanted or wanted[0] < 0 or wanted[-1] >= count:
            raise UsageError(
                f"frames {list(indices)} of {self.path}", allowed=f"at least one, each from 0 to {count - 1}"
            )
        first = self._picture(wanted[0])
        painter = self._painter_for(first)
        canvas = painter.canvas(len(wanted))
        painting = self._painting
        if painting is None:
            painting = self._painting = Painting(painter, beside=self._handle.converting_threads > 0)
        try:
            painting.add(first, canvas[0])
            for position, index in enumerate(wanted[1:], 1):
                painting.add(self._picture(index), canvas[position])
            painting.finish()
        finally:
            painting.forget()
        frames = Frames(canvas, tuple(self.pts[index] for index in wanted), self._timeline.time_base)
        position_of = {index: position for position, index in enumerate(wanted)}
        return frames if wanted == list(indices) else frames.take([position_of[index] for index in indices])

    def close(self) -> None:
        """Release the file; more than once does no harm. A generator of `frames` releases its own handle."""
        self._cursor = None
        self._closed = True
        if self._painting is not None:
            self._painting.close()
        if self._own is not None:
            self._own.close()

    @property
    def _handle(self) -> Handle:
        """What `read` and questions about the file use; opened again after `frames` took it."""
        if self._own is None:
            if self._closed:
                raise UsageError(
                    f"reading from {self.path}, which was closed", allowed="reading inside its `with` block"
                )
            self._own = Handle(self.path, threads=self.threads)
        return self._own

    def _handle_for_frames(self) -> Handle:
        """A handle that nobody else will use: this file's, where nothing was decoded by it, else another."""
        own = self._own
        if own is None or not own.is_untouched:
            return Handle(self.path, threads=self.threads)
        self._own = None
        return own

    @property
    def _timeline(self) -> Timeline:
        return self._scan[0]

    @cached_property
    def _scan(self) -> tuple[Timeline, Heard]:
        """The timeline, and what was found broken while its packets were read."""
        heard = Heard()
        timeline = _MEMO.recall(self._state)
        if timeline is None:
            self._handle.rewind()
            timeline = read_timeline(self._handle, heard)
            if not heard:
                _MEMO.remember(self._state, timeline)
        return timeline, heard

    @cached_property
    def _promises(self) -> Heard:
        """What the file as a whole lacks: by its packets, and by the skeleton of its container."""
        heard = self._scan[1]
        reason = None if heard else structural_damage(self.path, self._container, self._stream_id)
        if reason is None:
            return heard
        skeleton = Heard()
        skeleton(None, reason)
        return skeleton

    def _chunks(self, start_seconds: float, end_seconds: float | None, size: int) -> Generator[Frames, None, None]:
        timeline = self._timeline
        first = timeline.index_at(start_seconds)
        last = len(timeline.pts) if end_seconds is None else timeline.index_at(end_seconds)
        # What the end of the file lacks does not matter before it.
        heard = self._promises if last == len(timeline.pts) else Heard()
        if first < last:
            with self._handle_for_frames() as handle:
                cursor = Cursor.at(first, handle, timeline)
                painting: Painting | None = None
                try:
                    while cursor.picture is not None and cursor.index < last:
                        if painting is None:
                            painter = self._painter_for(cursor.picture)
                            painting = Painting(painter, beside=handle.converting_threads > 0)
                        yield self._chunk(cursor, painting, last, size)
                finally:
                    if painting is not None:
                        painting.close()
                    self._heard |= cursor.heard
                heard |= cursor.heard
        if heard and self.strict:
            raise damage_error(self.path, self._damage(heard))

    def _chunk(self, cursor: Cursor, painting: Painting, last: int, size: int) -> Frames:
        """Up to `size` frames from the cursor's on, all before index `last`; leaves the cursor behind them."""
        canvas = painting.painter.canvas(min(size, last - cursor.index))
        times = self.pts
        pts: list[int] = []
        for target in canvas.unbind():  # in one go: indexing a tensor costs as much as copying a plane
            if cursor.picture is None or cursor.index >= last:
                break
            painting.add(cursor.picture, target)
            pts.append(times[cursor.index])
            cursor.advance()
        painting.finish()
        return Frames(canvas[: len(pts)], tuple(pts), self._timeline.time_base)

    def _picture(self, index: int) -> VideoFrame:
        """Picture `index`, decoded from the nearest place."""
        timeline, cursor = self._timeline, self._cursor
        start = timeline.first_index(timeline.keyframe_for(index))
        if cursor is None or cursor.index > index or start - cursor.index > _WORTH_SEEKING_FRAMES:
            cursor = Cursor.at(index, self._handle, timeline)
            if cursor.key is None and start and not cursor.heard:
                self._scan = replace(timeline, keyframes=()), self._scan[1]  # they were none; never try them again
        came = cursor.advance_to(index)
        self._heard |= cursor.heard
        # After damage every call starts afresh, so that the answer does not depend on what was read before.
        self._cursor = None if cursor.heard else cursor
        if cursor.picture is None or not came or (cursor.heard and self.strict):
            raise damage_error(self.path, self._damage(cursor.heard))
        return cursor.picture

    def _painter_for(self, picture: VideoFrame) -> Painter:
        """The painter of this file, whose layout any of its pictures tells."""
        if self._painter is None:
            self._painter = Painter(self.path, Layout.of(picture, self._pixel_aspect, self.short_side_px))
        return self._painter

    def _damage(self, heard: Heard) -> tuple[Damage, ...]:
        places = sorted(heard.places.values(), key=lambda place: (place[0] is not None, place[0] or 0))
        return tuple(Damage(None if pts is None else self._timeline.seconds(pts), reason) for pts, reason in places)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        scaled = "" if self.short_side_px is None else f", short_side_px={self.short_side_px}"
        return f"VideoFile('{self.path}'{scaled})"


def damage_error(source: Path | str, damage: Sequence[Damage]) -> MediaError:
    """One error for all broken places of `source`; at least one."""
    shown = "; ".join(str(place) for place in damage[:3])
    more = f"; and {len(damage) - 3} more" if len(damage) > 3 else ""
    return MediaError(
        source,
        f"damaged: {shown}{more}",
        allowed="videos in which every picture decodes",
        next_step="copy it again from where it came, or pass strict=False to take what decodes",
    )
