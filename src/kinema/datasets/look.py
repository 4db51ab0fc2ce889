"""What a video looks like in a few kilobytes: its background, and what moves in front of it.

Made for telling that two files show one scene, or are one film in two encodings. Nothing is
learnt: a background is the median picture of a third of the video, kept as its edges
(`kinema.datasets.place`), which neither scale nor compression nor light changes much.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import avg_pool2d, interpolate

from kinema.datasets.place import PICTURE_PX, describe
from kinema.video.frame import Frames

__all__ = ["DULL", "PERIODS", "Look", "Watcher", "mirrored_motion"]

DULL = ("black", "frozen")
PERIODS = 3  # of a video, each with its background: a camera that turns is met again in one of them
MOTION_PX = 8
MOTION_STEPS = 8  # of one grey level

_GRID_PX = 32  # in which a frame is black, or frozen
_MOST = 0.5
_FIRST_STEP_SECONDS = 0.125
_MOST_SAMPLES = 64
# No cell of a black picture is lighter; a scene in the dark has lamps or windows that are.
_BLACK_LEVEL = 16.0
# No cell of a picture that stands still changes by more; coding it again changes it by about one.
_FROZEN_LEVELS = 1.0


@dataclass(frozen=True, eq=False, repr=False)
class Look:
    """What a video looks like.

    Attributes:
        backgrounds: int8 (3, 8, 16, 16), for each third of the video (`place.describe`); zeros where it is flat.
        motion: int8 (S, 8, 8), S up to 64: how much brighter than usual each cell is, in eighths of a
            grey level, at even distances from the first frame on.
        step_seconds: that distance: 1/8, or twice, four times ... as much where the video is long.
        black_share: frames that are black, of all, 0 to 1.
        frozen_share: frames that show the same as the one before, of all but the first, 0 to 1.
    """

    backgrounds: NDArray[np.int8]
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
        """Take the next frames, RGB, best scaled to a short side of `place.PICTURE_PX`; at least one."""
        pictures = _grey(frames.data)
        grid = avg_pool2d(pictures, PICTURE_PX // _GRID_PX)
        seconds = frames.pts_seconds
        if self._last is None:
            self._first_seconds, self._last = seconds[0], grid[0]
        before = torch.cat([self._last[None], grid[:-1]])
        still = (grid - before).abs().amax(dim=(1, 2)) <= _FROZEN_LEVELS
        self._frozen += int(still.sum()) - (self._frames == 0)  # the first frame was compared with itself
        self._black += int((grid.amax(dim=(1, 2)) <= _BLACK_LEVEL).sum())
        self._frames += len(pictures)
        self._last = grid[-1]
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
            backgrounds=_backgrounds(periods),
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


def mirrored_motion(look: Look) -> Look:
    """`look` as far as the mirrored film would move otherwise; its backgrounds stay."""
    return replace(look, motion=np.ascontiguousarray(look.motion[:, :, ::-1]))


def _grey(data: torch.Tensor) -> torch.Tensor:
    """Grey pictures, float32 (T, 64, 64) in 0 to 255, from uint8 (T, 3, H, W)."""
    grey = data.float().mean(dim=1, keepdim=True)
    return interpolate(grey, (PICTURE_PX, PICTURE_PX), mode="area")[:, 0]


def _backgrounds(periods: Sequence[NDArray[np.float32]]) -> NDArray[np.int8]:
    """int8 (3, 8, 16, 16) from pictures (S, 64, 64) of each period."""
    medians = np.stack([np.median(period, axis=0) for period in periods]).astype(np.float32)
    backgrounds: NDArray[np.int8] = describe(torch.from_numpy(medians)).numpy()
    return backgrounds


def _motion(pictures: NDArray[np.float32]) -> NDArray[np.int8]:
    side = PICTURE_PX // MOTION_PX
    cells = pictures.reshape(-1, MOTION_PX, side, MOTION_PX, side).mean(axis=(2, 4))
    steps = (cells - np.median(cells, axis=0)) * MOTION_STEPS
    motion: NDArray[np.int8] = np.clip(np.rint(steps), -127, 127).astype(np.int8)
    return motion
