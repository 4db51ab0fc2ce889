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
        start_seconds: when its first frame is shown, from the first frame of the video; with `fps`, the second
            of its first place on the grid, as one frame may be shown at several.
        end_seconds: that of the place after its last one, or the end of the video; half-open.
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
    # A frame that is held stands at several places of the grid: its own time would give windows without length.
    seconds = [times[i] for i in on_grid] if spec.fps is None else [n / spec.fps for n in range(len(on_grid))]
    spans = []
    for start in slide(len(on_grid), spec.frames, hop_frames):
        stop = start + spec.frames
        end = seconds[stop] if stop < len(on_grid) else end_seconds(times)
        spans.append(WindowSpan(pad(on_grid[start:stop], spec), seconds[start], end))
    return tuple(spans)
