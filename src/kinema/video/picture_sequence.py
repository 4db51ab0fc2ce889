"""Numbered pictures read as a video: what folders of frames and HDF5 archives have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from fractions import Fraction
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from kinema.core.errors import MediaError, UsageError
from kinema.video.file import Damage, damage_error
from kinema.video.frame import Frames
from kinema.video.picture import Layout, Painter, check_short_side
from kinema.video.probe import VideoInfo
from kinema.video.still import StillHeader, decode_still, still_header
from kinema.video.timeline import Timeline

if TYPE_CHECKING:
    import torch
    from av.video.frame import VideoFrame
    from typing_extensions import Self

__all__ = ["RATE_WARNING", "PictureSequence"]

RATE_WARNING = "nothing tells the rate of these frames; 25 a second are assumed, and all times follow from that"


class PictureSequence(ABC):
    """Pictures that stand for the frames of a video; used like a `VideoFile`, and as strict about damage.

    A picture that is missing, does not decode or has another size than the first is damage that names
    it. Pixels are scaled exactly as those of a `VideoFile` are.

    Args:
        path: where the pictures are.
        short_side_px: scale frames, up or down, to this shorter side; None keeps the size.
        strict: whether damage raises, or is only noted in `damage`.
        timeline: a time for each picture, missing ones included.
        rate_assumed: whether nothing told the rate, so that these times are a guess.

    Raises:
        UsageError: an argument out of range.
    """

    def __init__(
        self, path: Path | str, *, short_side_px: int | None, strict: bool, timeline: Timeline, rate_assumed: bool
    ) -> None:
        check_short_side(short_side_px)
        self.path = path
        self.short_side_px = short_side_px
        self.strict = strict
        self.rate_assumed = rate_assumed
        self._timeline = timeline
        self._broken: dict[int, str] = {}

    @abstractmethod
    def close(self) -> None:
        """Release what is open; more than once does no harm."""

    @abstractmethod
    def _bytes(self, index: int) -> bytes:
        """The file of picture `index`; MediaError if there is none."""

    @abstractmethod
    def _name(self, index: int) -> str:
        """What a person calls picture `index`."""

    @cached_property
    def info(self) -> VideoInfo:
        """What the pictures are; sizes before `short_side_px`."""
        timeline, (header, first) = self._timeline, self._first
        layout = Layout.of(first, Fraction(1))
        gaps = {later - earlier for earlier, later in pairwise(timeline.pts)}
        duration_seconds = timeline.seconds(timeline.end_pts)
        return VideoInfo(
            path=self.path,
            width_px=layout.width_px,
            height_px=layout.height_px,
            frame_count=timeline.promised_frames,
            duration_seconds=duration_seconds,
            average_fps=len(timeline.pts) / duration_seconds,
            time_base=timeline.time_base,
            start_pts=timeline.pts[0],
            rotation_degrees=layout.rotation_degrees,
            codec=header.codec,
            pixel_format=first.format.name,
            variable_frame_rate=bool(gaps) and max(gaps) - min(gaps) > 1,
            rate_assumed=self.rate_assumed,
        )

    @property
    def pts(self) -> tuple[int, ...]:
        """Times of all frames in units of `info.time_base`, strictly ascending; missing pictures have theirs."""
        return self._timeline.pts

    @property
    def times(self) -> tuple[float, ...]:
        """Seconds (T,) of every frame, from the first."""
        return tuple(self._timeline.seconds(pts) for pts in self._timeline.pts)

    @property
    def damage(self) -> tuple[Damage, ...]:
        """What has been found broken so far, by whatever was read; in order of time."""
        return self._damage(self._broken)

    def frames(
        self, *, start_seconds: float = 0.0, end_seconds: float | None = None, chunk_frames: int = 32
    ) -> Generator[Frames, None, None]:
        """Frames shown in [start_seconds, end_seconds), in order, in memory for one chunk.

        Args:
            start_seconds: from the first frame, included.
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
        first = self._timeline.index_at(start_seconds)
        last = len(self.pts) if end_seconds is None else self._timeline.index_at(end_seconds)
        return self._chunks(range(first, last), chunk_frames)

    def read(self, indices: Sequence[int]) -> Frames:
        """The frames at `indices` (any order, repeats allowed), in that order.

        Args:
            indices: positions in `pts`; at least one.

        Returns:
            Frames of uint8 (len(indices), 3, H, W).

        Raises:
            MediaError: a frame cannot be had.
            UsageError: no index, or one out of range.
        """
        count = len(self.pts)
        wanted = sorted(set(indices))
        if not wanted or wanted[0] < 0 or wanted[-1] >= count:
            raise UsageError(
                f"frames {list(indices)} of {self.path}", allowed=f"at least one, each from 0 to {count - 1}"
            )
        canvas = self._painter.canvas(len(wanted))
        painted = [self._paint(index, target) for index, target in zip(wanted, canvas, strict=True)]
        if not all(painted):
            raise damage_error(self.path, self._damage({i: self._broken[i] for i in wanted if i in self._broken}))
        frames = Frames(canvas, tuple(self.pts[index] for index in wanted), self._timeline.time_base)
        position_of = {index: position for position, index in enumerate(wanted)}
        return frames if wanted == list(indices) else frames.take([position_of[index] for index in indices])

    def _chunks(self, span: range, size: int) -> Generator[Frames, None, None]:
        for begin in span[::size]:
            chunk = range(begin, min(begin + size, span.stop))
            canvas = self._painter.canvas(len(chunk))
            pts: list[int] = []
            for index in chunk:
                if self._paint(index, canvas[len(pts)]):
                    pts.append(self.pts[index])
            if pts:
                yield Frames(canvas[: len(pts)], tuple(pts), self._timeline.time_base)
        found = {index: reason for index, reason in self._broken.items() if index in span}
        if found and self.strict:
            raise damage_error(self.path, self._damage(found))

    def _paint(self, index: int, target: torch.Tensor) -> bool:
        """Write picture `index` into `target`; False, and noted, where it cannot be had."""
        name = self._name(index)
        try:
            data = self._bytes(index)
            _require_size(still_header(data, name), self._first[0], name)
            picture = decode_still(data, name)
        except MediaError as error:
            self._broken[index] = f"{name}: {error.reason}"
            return False
        self._painter.paint(picture, target)
        return True

    @cached_property
    def _first(self) -> tuple[StillHeader, VideoFrame]:
        """The first picture that decodes: the one whose size all others must have."""
        for index in range(len(self.pts)):
            try:
                data, name = self._bytes(index), self._name(index)
                return still_header(data, name), decode_still(data, name)
            except MediaError as error:  # noqa: PERF203 - each has its own reason
                self._broken[index] = f"{self._name(index)}: {error.reason}"
        raise MediaError(
            self.path,
            f"none of its {len(self.pts)} pictures can be decoded, such as {next(iter(self._broken.values()))}",
            next_step="extract the frames again",
        )

    @cached_property
    def _painter(self) -> Painter:
        return Painter(self.path, Layout.of(self._first[1], Fraction(1), self.short_side_px))

    def _damage(self, broken: dict[int, str]) -> tuple[Damage, ...]:
        return tuple(
            Damage(self._timeline.seconds(self.pts[index]), reason) for index, reason in sorted(broken.items())
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        scaled = "" if self.short_side_px is None else f", short_side_px={self.short_side_px}"
        return f"{type(self).__name__}('{self.path}'{scaled})"


def _require_size(header: StillHeader, first: StillHeader, name: str) -> None:
    """MediaError where a picture has another size than the first one."""
    size, expected = (header.width_px, header.height_px), (first.width_px, first.height_px)
    if size != expected:
        raise MediaError(name, f"{size[0]}x{size[1]} pixels, where the first has {expected[0]}x{expected[1]}")
