"""What a video looks like in a few hundred bytes: its background, and what moves in front of it.

Made for telling that two files show one scene, or are one film in two encodings. Nothing is
learnt: a background is the median picture of a third of the video, kept as the signs of its
lowest 128 cosine waves, which neither scale nor compression nor brightness changes much.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.fft import dctn

from kinema.video.frame import Frames

__all__ = ["BITS", "DULL", "GRID_PX", "Look", "Watcher"]

DULL = ("black", "frozen")
GRID_PX = 32
BITS = 128  # of a background
PERIODS = 3  # of a video, each with its background: a camera that turns is met again in one of them
MOTION_PX = 8
MOTION_STEPS = 8  # of one grey level

_MOST = 0.5
_FIRST_STEP_SECONDS = 0.125
_MOST_SAMPLES = 64
# No cell of a black picture is lighter; a scene in the dark has lamps or windows that are.
_BLACK_LEVEL = 16.0
# No cell of a picture that stands still changes by more; coding it again changes it by about one.
_FROZEN_LEVELS = 1.0
# A picture flatter than this shows nothing whose place could be told.
_FLAT_LEVELS = 1.5


@dataclass(frozen=True, eq=False, repr=False)
class Look:
    """What a video looks like.

    Attributes:
        backgrounds: bool (3, 128), for each third of the video; all False where its picture is flat.
        motion: int8 (S, 8, 8), S up to 64: how much brighter than usual each cell is, in eighths of a
            grey level, at even distances from the first frame on.
        step_seconds: that distance: 1/8, or twice, four times ... as much where the video is long.
        black_share: frames that are black, of all, 0 to 1.
        frozen_share: frames that show the same as the one before, of all but the first, 0 to 1.
    """

    backgrounds: NDArray[np.bool_]
    motion: NDArray[np.int8]
    step_seconds: float
    black_share: float
    frozen_share: float

    @property
    def dull(self) -> tuple[str, ...]:
        """What most frames are, of `DULL`; empty for a video that shows something."""
        shares = (self.black_share, self.frozen_share)
        return tuple(what for what, share in zip(DULL, shares, strict=True) if share > _MOST)

    def __repr__(self) -> str:
        return f"Look({len(self.motion)} instants, black {self.black_share:.2f}, frozen {self.frozen_share:.2f})"


class Watcher:
    """Takes the frames of one video in order and says what it looks like, in memory for 64 small pictures."""

    def __init__(self) -> None:
        self._frames = 0
        self._black = 0
        self._frozen = 0
        self._first_seconds = 0.0
        self._last: torch.Tensor | None = None
        self._step_seconds = _FIRST_STEP_SECONDS
        self._samples: dict[int, NDArray[np.float32]] = {}  # by whole steps from the first frame

    def see(self, frames: Frames) -> None:
        """Take the next frames, RGB, best scaled to a short side of `GRID_PX`; at least one."""
        pictures = _grid(frames.data)
        seconds = frames.pts_seconds
        if self._last is None:
            self._first_seconds, self._last = seconds[0], pictures[0]
        before = torch.cat([self._last[None], pictures[:-1]])
        still = (pictures - before).abs().amax(dim=(1, 2)) <= _FROZEN_LEVELS
        self._frozen += int(still.sum()) - (self._frames == 0)  # the first frame was compared with itself
        self._black += int((pictures.amax(dim=(1, 2)) <= _BLACK_LEVEL).sum())
        self._frames += len(pictures)
        self._last = pictures[-1]
        for picture, at in zip(pictures, seconds, strict=True):
            self._sample(picture, at - self._first_seconds)

    def look(self) -> Look | None:
        """What the frames so far look like; None where there were none."""
        if not self._samples:
            return None
        places = np.arange(max(self._samples) + 1)
        known = np.asarray(sorted(self._samples))
        # Where frames are further apart than steps, the last one is still shown.
        held = known[np.searchsorted(known, places, side="right") - 1]
        pictures = np.stack([self._samples[place] for place in held.tolist()])
        periods = np.array_split(pictures, PERIODS) if len(pictures) >= PERIODS else [pictures] * PERIODS
        return Look(
            backgrounds=np.stack([_background(np.median(period, axis=0)) for period in periods]),
            motion=_motion(pictures),
            step_seconds=self._step_seconds,
            black_share=self._black / self._frames,
            frozen_share=self._frozen / max(1, self._frames - 1),
        )

    def _sample(self, picture: torch.Tensor, seconds: float) -> None:
        # Half a millisecond for the rounding of clocks, so that a frame due at a step is not taken for one before it.
        place = int((seconds + 0.0005) // self._step_seconds)
        if place in self._samples:
            return
        self._samples[place] = picture.numpy().copy()
        while place >= _MOST_SAMPLES:
            self._samples = {at // 2: kept for at, kept in self._samples.items() if at % 2 == 0}
            self._step_seconds *= 2
            place //= 2


def _grid(data: torch.Tensor) -> torch.Tensor:
    """Grey pictures, float32 (T, 32, 32) in 0 to 255, from uint8 (T, 3, H, W)."""
    grey = data.float().mean(dim=1, keepdim=True)
    return torch.nn.functional.interpolate(grey, (GRID_PX, GRID_PX), mode="area")[:, 0]


def _background(picture: NDArray[np.float32]) -> NDArray[np.bool_]:
    """The signs of the lowest cosine waves of a picture (32, 32), bool (128,); all False for a flat one."""
    if picture.std() < _FLAT_LEVELS:
        return np.zeros(BITS, dtype=np.bool_)
    waves = dctn(picture.astype(np.float64), norm="ortho").reshape(-1)
    signs: NDArray[np.bool_] = waves[_LOWEST] > 0
    return signs


def _lowest_waves() -> NDArray[np.int64]:
    """Positions of the lowest waves in a flattened (32, 32), without the mean."""
    rows, columns = np.mgrid[:GRID_PX, :GRID_PX]
    return np.argsort((rows + columns).reshape(-1), kind="stable")[1 : BITS + 1]


_LOWEST = _lowest_waves()


def _motion(pictures: NDArray[np.float32]) -> NDArray[np.int8]:
    side = GRID_PX // MOTION_PX
    cells = pictures.reshape(-1, MOTION_PX, side, MOTION_PX, side).mean(axis=(2, 4))
    steps = (cells - np.median(cells, axis=0)) * MOTION_STEPS
    motion: NDArray[np.int8] = np.clip(np.rint(steps), -127, 127).astype(np.int8)
    return motion
