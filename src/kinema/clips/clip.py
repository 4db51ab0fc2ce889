"""Clips read: the pixels of the windows of a video, from random access or as they stream by."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import torch

from kinema.clips.sampling import TIE_SECONDS, end_seconds, pad
from kinema.clips.window import slide
from kinema.core.errors import DataError
from kinema.core.spec import ClipSpec
from kinema.video.frame import Frames

__all__ = ["Clip", "VideoReader", "stream_clips"]


class VideoReader(Protocol):
    """What a clip can be read from: a video file, or the cached frames of one."""

    @property
    def times(self) -> tuple[float, ...]:
        """Seconds (T,) at which each frame is first shown, from the first frame."""

    def read(self, indices: tuple[int, ...]) -> Frames:
        """The frames at `indices`, in that order."""


@dataclass(frozen=True, repr=False)
class Clip:
    """The pixels of one window.

    Attributes:
        data: uint8 (T, C, H, W).
        start_seconds: start of the window, from the first frame of the video.
        end_seconds: its end, half-open.
    """

    data: torch.Tensor
    start_seconds: float
    end_seconds: float

    def __repr__(self) -> str:
        return f"Clip({tuple(self.data.shape)}, [{self.start_seconds:.3f}, {self.end_seconds:.3f}) s)"


@dataclass(frozen=True)
class _Held:
    """One frame, waiting for the windows that need it; on a grid of `fps`, at the second of its place there."""

    data: torch.Tensor
    seconds: float


def stream_clips(chunks: Iterable[Frames], spec: ClipSpec, hop_frames: int) -> Iterator[Clip]:
    """Clips of a video that is read once, front to back, holding one window of frames at a time.

    Gives the very windows that `clips.window.windows` computes, so that a file scores the same
    whether it is read at random or streamed. The last window, flush with the end, comes when the
    chunks end. A stream that never ends yields for ever.

    Args:
        chunks: consecutive frames of one video, in order.
        spec: what a clip is.
        hop_frames: distance of two windows, in frames of the clip grid.
    """
    slide(0, spec.frames, hop_frames)  # refuses impossible hops before anything is read
    held: deque[_Held] = deque(maxlen=spec.frames)
    seen = yielded_until = 0
    pending: tuple[int, list[_Held]] | None = None
    end_of_video = 0.0
    for frame in _on_grid(chunks, spec):
        end_of_video = frame.end_seconds
        if frame.held is None:
            continue
        if pending is not None:
            yield _clip(pending[1], spec, end=frame.held.seconds)
            yielded_until, pending = pending[0] + spec.frames, None
        held.append(frame.held)
        seen += 1
        if seen >= spec.frames and (seen - spec.frames) % hop_frames == 0:
            pending = (seen - spec.frames, list(held))
    if seen == 0:
        raise DataError("a video without a single frame", allowed="videos with one frame or more")
    if pending is not None:
        yield _clip(pending[1], spec, end=end_of_video)
        yielded_until = seen
    if yielded_until < seen:
        yield _clip(list(held), spec, end=end_of_video)


@dataclass(frozen=True)
class _Arrival:
    """A source frame gone by: on the grid (held) or between (None), and when it ends."""

    held: _Held | None
    end_seconds: float


def _on_grid(chunks: Iterable[Frames], spec: ClipSpec) -> Iterator[_Arrival]:
    """Lay the clip grid over frames as they come.

    With `fps`, the frame for a grid time is known once a later frame has begun, hence the one-frame
    delay; the same frame may stand for several grid times when the grid is finer than the video.
    """
    previous: _Held | None = None
    index = ticks = 0
    end = 0.0
    for now in _frames(chunks):
        end = end_seconds([previous.seconds, now.seconds] if previous else [now.seconds])
        if spec.fps is None:
            yield _Arrival(now if index % spec.stride == 0 else None, end)
        else:
            while previous is not None and ticks / spec.fps + TIE_SECONDS < now.seconds:
                yield _Arrival(replace(previous, seconds=ticks / spec.fps), end)
                ticks += 1
            yield _Arrival(None, end)
        previous, index = now, index + 1
    while spec.fps is not None and previous is not None and ticks / spec.fps <= previous.seconds + TIE_SECONDS:
        yield _Arrival(replace(previous, seconds=ticks / spec.fps), end)
        ticks += 1


def _frames(chunks: Iterable[Frames]) -> Iterator[_Held]:
    """Single frames with their seconds from the first one."""
    origin: float | None = None
    for chunk in chunks:
        for data, moment in zip(chunk.data, chunk.pts_seconds, strict=True):
            origin = moment if origin is None else origin
            yield _Held(data, moment - origin)


def _clip(frames: list[_Held], spec: ClipSpec, end: float) -> Clip:
    order = pad(range(len(frames)), spec)
    return Clip(torch.stack([frames[i].data for i in order]), frames[0].seconds, end)
