"""From the scores of windows to the scores of a video and of each of its instants. Pure arithmetic."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kinema.core.errors import DataError
from kinema.inference.result import Window

__all__ = ["timeline", "video_probabilities"]

MICROSECOND = 6
"""Decimals of a second that times are compared with: windows computed as `start + length` and
`start of the next` differ in the last bits of a float, frames never differ by less than this."""


def video_probabilities(windows: Sequence[Window]) -> tuple[float, ...]:
    """The mean (K,) over windows, each counting the same, as 3D-ResNets-PyTorch and the papers do.

    Raises:
        DataError: no window, or windows of different class counts.
    """
    return tuple(float(p) for p in np.clip(_stack(windows).mean(axis=0), 0.0, 1.0))


def timeline(windows: Sequence[Window]) -> tuple[Window, ...]:
    """The scores at every instant: piecewise constant, the mean of the windows that cover it.

    Windows of 4 s every 2 s, and what comes of them:

        |---- a ----|
              |---- b ----|
        |  a  | a+b |  b  |       (a+b: their mean)

    Args:
        windows: in any order; overlaps and gaps allowed.

    Returns:
        Pieces [start, end) that do not overlap, sorted; instants no window covers are left out.
        Times are whole microseconds. No window gives no piece.
    """
    if not windows:
        return ()
    scores = _stack(windows)
    spans = np.round([(window.start_seconds, window.end_seconds) for window in windows], MICROSECOND)
    edges = np.unique(spans)
    total = np.zeros((len(edges) - 1, scores.shape[1]))
    covering = np.zeros(len(edges) - 1, dtype=np.int64)
    for (first, last), row in zip(np.searchsorted(edges, spans), scores, strict=True):
        total[first:last] += row
        covering[first:last] += 1
    return tuple(
        Window(float(edges[i]), float(edges[i + 1]), tuple(np.clip(total[i] / covering[i], 0.0, 1.0).tolist()))
        for i in np.flatnonzero(covering)
    )


def _stack(windows: Sequence[Window]) -> np.ndarray:
    """The probabilities of windows, float64 (W, K)."""
    counts = sorted({len(window.probabilities) for window in windows})
    if len(counts) != 1:
        raise DataError(
            f"windows with {' and '.join(map(str, counts))} classes" if counts else "no windows at all",
            allowed="one window or more, all of one model",
        )
    return np.array([window.probabilities for window in windows], dtype=np.float64)
