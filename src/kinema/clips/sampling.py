"""Which frames of a video make a clip: arithmetic on frame times, tested without any video.

A video is a list of times, `times[i]` being the second at which frame i is first shown, counted
from the first frame. A `ClipSpec` lays a grid over it: every `stride`-th frame, or, with `fps`,
the frame shown at each multiple of 1 / fps. A clip is `frames` neighbours on that grid.

    frames:     0  1  2  3  4  5  6  7  8  9
    stride 2:   0     2     4     6     8         the grid from start 0
    frames 3:   0     2     4                     clip at start 0
                         3     5     7            clip at start 3 (training starts anywhere)
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count, takewhile

import numpy as np
import numpy.typing as npt

from kinema.core.errors import DataError
from kinema.core.spec import ClipSpec

__all__ = ["TIE_SECONDS", "clip_at", "end_seconds", "even_starts", "grid", "pad", "start_count"]

# Times are float seconds made from exact fractions; neighbours lie milliseconds apart, so a
# microsecond decides ties ("the frame shown at 0.1 s") without ever reaching the next frame.
TIE_SECONDS = 1e-6

# A video of one frame has no frame period to read off; the PAL rate stands in.
_LONE_FRAME_SECONDS = 0.04


def grid(times: Sequence[float], spec: ClipSpec, start: int = 0, *, speed: float = 1.0) -> tuple[int, ...]:
    """Indices of all frames of the clip grid that begins at frame `start`, to the end of the video.

    Args:
        times: seconds (T,), ascending, of every frame; at least one.
        spec: `stride` or `fps` is used, `frames` is not.
        start: index of the first frame, in [0, T).
        speed: above 1 widens the grid, so that the clip runs faster than the video.
    """
    if not 0 <= start < len(times):
        raise DataError(f"a clip starting at frame {start} of {len(times)}", allowed=f"0 to {len(times) - 1}")
    if spec.fps is None:
        step = spec.stride * speed
        # Of a step of half a frame two grid points fall on the last frame: counted where they fall.
        on_grid = (start + int(k * step) for k in count())
        return tuple(takewhile(lambda index: index < len(times), on_grid))
    fps = spec.fps / speed
    moments = np.asarray(times, dtype=np.float64)
    points = int(np.floor((moments[-1] - moments[start] + TIE_SECONDS) * fps)) + 1
    wanted = moments[start] + np.arange(points) / fps
    return tuple(int(i) for i in _shown_at(moments, wanted))


def end_seconds(times: Sequence[float]) -> float:
    """When a video with frames at `times` ends: its last frame lasts as long as the one before."""
    return times[-1] + (times[-1] - times[-2] if len(times) > 1 else _LONE_FRAME_SECONDS)


def clip_at(times: Sequence[float], spec: ClipSpec, start: int, *, speed: float = 1.0) -> tuple[int, ...]:
    """Indices (frames,) of the clip that starts at frame `start`, padded where the video ends early."""
    return pad(grid(times, spec, start, speed=speed)[: spec.frames], spec)


def pad(indices: Sequence[int], spec: ClipSpec) -> tuple[int, ...]:
    """`indices` brought to `spec.frames` by `spec.padding`: begin again, hold the last, or refuse.

    Raises:
        DataError: too few indices and padding `none`.
    """
    missing = spec.frames - len(indices)
    if missing <= 0:
        return tuple(indices)
    if spec.padding == "none":
        raise DataError(
            f"a video with {len(indices)} frames on the clip grid",
            allowed=f"{spec.frames} frames or more, as padding is 'none'",
            next_step="use padding 'loop' or 'last', a smaller stride, or fewer frames",
        )
    if spec.padding == "last":
        return (*indices, *([indices[-1]] * missing))
    return tuple(indices[k % len(indices)] for k in range(spec.frames))


def start_count(times: Sequence[float], spec: ClipSpec, *, speed: float = 1.0) -> int:
    """How many start frames [0, count) give a clip that ends within the video; at least 1 (padded)."""
    if spec.fps is None:
        return max(1, len(times) - int((spec.frames - 1) * spec.stride * speed))
    span = (spec.frames - 1) / spec.fps * speed
    fitting = np.searchsorted(np.asarray(times), times[-1] - span + TIE_SECONDS, side="right")
    return max(1, int(fitting))


def even_starts(times: Sequence[float], spec: ClipSpec, views: int) -> tuple[int, ...]:
    """Start frames of `views` clips spread evenly: both ends included, one view in the middle."""
    if views < 1:
        raise DataError(f"{views} views of a video", allowed="one or more")
    last = start_count(times, spec) - 1
    if views == 1:
        return (last // 2,)
    return tuple(round(k * last / (views - 1)) for k in range(views))


def _shown_at(moments: npt.NDArray[np.float64], wanted: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """For each wanted second the latest frame that has begun by then."""
    found = np.searchsorted(moments, wanted + TIE_SECONDS, side="right") - 1
    return np.clip(found, 0, len(moments) - 1).astype(np.int64)
