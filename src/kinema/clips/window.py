"""Sliding windows: how a video of any length is covered by clips of one length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kinema.clips.sampling import end_seconds, grid, pad
from kinema.core.errors import UsageError
from kinema.core.spec import ClipSpec

__all__ = ["WindowSpan", "slide", "windows"]


@dataclass(frozen=True)
class WindowSpan:
    """One window of a video.

    Attributes:
        indices: source frames (T,) of the clip, padded where the video is shorter than one.
        start_seconds: when its first frame is shown, from the first frame of the video.
        end_seconds: when the frame after its last one on the grid would be shown; half-open.
    """

    indices: tuple[int, ...]
    start_seconds: float
    end_seconds: float


def slide(length: int, window: int, hop: int) -> tuple[int, ...]:
    """Starts of windows over `length` positions, one every `hop`, the last flush with the end.

    Every position is covered. A video shorter than a window has the one start 0.

        length 10, window 4, hop 3:   0..3   3..6   6..9
        length 11, window 4, hop 3:   0..3   3..6   6..9   7..10
    """
    if window < 1 or not 1 <= hop <= window:
        raise UsageError(
            f"windows of {window} frames every {hop} frames",
            allowed=f"a hop from 1 to the window's {window} frames, so that nothing goes unseen",
        )
    starts = list(range(0, max(1, length - window + 1), hop))
    if starts[-1] + window < length:
        starts.append(length - window)
    return tuple(starts)


def windows(times: Sequence[float], spec: ClipSpec, hop_frames: int) -> tuple[WindowSpan, ...]:
    """All windows of a video, in order.

    Args:
        times: seconds (T,) of every frame, from the first.
        spec: what a clip is; its length is the window's.
        hop_frames: distance of two windows, in frames of the clip grid (not of the source).
    """
    on_grid = grid(times, spec)
    spans = []
    for start in slide(len(on_grid), spec.frames, hop_frames):
        stop = start + spec.frames
        end = times[on_grid[stop]] if stop < len(on_grid) else end_seconds(times)
        spans.append(WindowSpan(pad(on_grid[start:stop], spec), times[on_grid[start]], end))
    return tuple(spans)
