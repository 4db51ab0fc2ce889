"""A camera or another live source as timed frames, as they come, until it ends."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from fractions import Fraction
from itertools import islice
from types import TracebackType
from typing import TYPE_CHECKING

from kinema.core.errors import UsageError
from kinema.video.file import Damage, damage_error
from kinema.video.frame import Frames
from kinema.video.handle import Handle
from kinema.video.picture import Layout, Painter, check_short_side

if TYPE_CHECKING:
    import torch
    from av.video.frame import VideoFrame
    from typing_extensions import Self

__all__ = ["VideoStream"]

# A camera that stutters for a week must not fill the memory with reports of it.
_KEPT_DAMAGE = 100


class VideoStream:
    """A live source, opened with timeouts; use it as a context manager. What was read is gone.

        with VideoStream("rtsp://camera/1", short_side_px=128) as stream:
            for frames in stream.frames(chunk_frames=8):
                ...

    RTSP goes over TCP, because lost UDP packets are damaged pictures. A stream that is joined between two
    keyframes starts at the next one.

    Args:
        url: `scheme://…` of any protocol that FFmpeg reads: rtsp, http, https, udp, rtmp, srt, ...
        short_side_px: as for `VideoFile`.
        strict: whether a stream that breaks off or arrives damaged raises at its end, or is only noted in `damage`.
        open_timeout_seconds: longest wait for the source to answer and say what it sends.
        read_timeout_seconds: longest wait for the next packet.

    Raises:
        MediaError: the source does not answer in time, refuses, or sends no video.
        UsageError: an argument out of range.
    """

    def __init__(
        self,
        url: str,
        *,
        short_side_px: int | None = None,
        strict: bool = True,
        open_timeout_seconds: float = 10.0,
        read_timeout_seconds: float = 10.0,
    ) -> None:
        if min(open_timeout_seconds, read_timeout_seconds) <= 0:
            raise UsageError(
                f"timeouts of {open_timeout_seconds} and {read_timeout_seconds} s", allowed="more than 0 s each"
            )
        check_short_side(short_side_px)
        self.url = url
        self.strict = strict
        self._short_side_px = short_side_px
        self._painter: Painter | None = None
        self._damage: deque[Damage] = deque(maxlen=_KEPT_DAMAGE)
        self._handle = Handle(
            url,
            timeouts=(open_timeout_seconds, read_timeout_seconds),
            options={"rtsp_transport": "tcp"} if url.lower().startswith("rtsp") else {},
        )
        self.time_base = self._handle.time_base
        rate = self._handle.stream.average_rate or self._handle.stream.guessed_rate
        self.average_fps = None if not rate else float(rate)
        self._step = max(1, round(1 / ((rate or Fraction(25)) * self.time_base)))
        self._first_pts: int | None = None
        self._last_pts: int | None = None
        self._pictures: Iterator[VideoFrame] = self._handle.pictures(self._hear)

    @property
    def damage(self) -> tuple[Damage, ...]:
        """The last hundred broken places found so far; seconds count from the first frame."""
        return tuple(self._damage)

    def frames(self, *, chunk_frames: int = 32) -> Generator[Frames, None, None]:
        """Frames as they come, until the stream ends; releases the stream when it ends or the generator is dropped.

        Times are those the source sends, in units of `time_base`; where it sends none, or one no later
        than the last, the frame is set one frame duration behind its predecessor.

        Args:
            chunk_frames: frames in each yielded Frames, and so the delay: a chunk is given when it is full.

        Yields:
            Frames of uint8 (T, 3, H, W), T = `chunk_frames` but for the last.

        Raises:
            MediaError: when all was yielded, if the stream broke off or was damaged and `strict`.
            UsageError: a chunk of less than one frame.
        """
        if chunk_frames < 1:
            raise UsageError(f"chunks of {chunk_frames} frames", allowed="1 frame or more")
        return self._chunks(chunk_frames)

    def close(self) -> None:
        """Release the stream; more than once does no harm."""
        self._pictures = iter(())
        self._handle.close()

    def _chunks(self, size: int) -> Generator[Frames, None, None]:
        try:
            while (frames := self._chunk(size)) is not None:
                yield frames
        finally:
            self.close()
        if self._damage and self.strict:
            raise damage_error(self.url, self.damage)

    def _chunk(self, size: int) -> Frames | None:
        canvas: torch.Tensor | None = None
        pts: list[int] = []
        for picture in islice(self._pictures, size):
            if self._painter is None:
                layout = Layout.of(picture, self._handle.pixel_aspect, self._short_side_px)
                self._painter = Painter(self.url, layout)
            canvas = self._painter.canvas(size) if canvas is None else canvas
            self._painter.paint(picture, canvas[len(pts)])
            pts.append(self._stamp(picture))
        return None if canvas is None else Frames(canvas[: len(pts)], tuple(pts), self.time_base)

    def _stamp(self, picture: VideoFrame) -> int:
        pts, last = picture.pts, self._last_pts
        if pts is None or (last is not None and pts <= last):
            pts = 0 if last is None else last + self._step
        if self._first_pts is None:
            self._first_pts = pts
        self._last_pts = pts
        return pts

    def _hear(self, pts: int | None, reason: str) -> None:
        first = self._first_pts
        seconds = None if pts is None or first is None else float((pts - first) * self.time_base)
        if seconds is None or not self._damage or self._damage[-1].seconds != seconds:  # one reason a picture
            self._damage.append(Damage(seconds, reason))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"VideoStream('{self.url}')"
