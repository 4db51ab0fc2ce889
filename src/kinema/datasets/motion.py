"""How the figure of the synthetic data set moves: the one place where its two classes differ.

A figure has two channels, each a position 0 to 1 on a fixed path of poses:

    reach   0 = drawn back, 1 = the hand at the own head, or the head at the wall
    other   what the rest of the body does meanwhile: shaking, wiping, marching, swaying

Self-harm runs along `reach` in strikes: back, a sudden blow, contact, back again, one or two a
second. Normal behaviour visits the very same poses for the very same share of the time, but slowly:
its position is the quantile function of such a train of strikes, read to and fro along a triangle
wave. So a single frame, or the poses in any order, cannot tell the classes apart. Nor can the amount of
motion alone: `other` is fast in most normal clips and slow in most others, on the same poses again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

__all__ = ["LABELS", "Floats", "Label", "Motion", "make_motion"]

Floats = npt.NDArray[np.float64]
Label = Literal["normal", "selfharm"]
LABELS: tuple[Label, ...] = ("normal", "selfharm")

_STRIKES_PER_SECOND = (1.5, 2.4)
_SLOW_PERIOD_SECONDS = (2.4, 5.0)
_FAST_OTHER = {"normal": 0.55, "selfharm": 0.25}
"""Share of clips whose `other` channel is fast."""
_FINE_HZ = 240
"""Samples a second that quantile functions are taken from: many a frame, so that they are smooth."""


@dataclass(frozen=True)
class Motion:
    """Positions on the two paths, frame by frame.

    Attributes:
        reach: float64 (T,), 0 drawn back to 1 in contact.
        other: float64 (T,), 0 to 1.
    """

    reach: Floats
    other: Floats


def make_motion(label: Label, frames: int, fps: float, rng: np.random.Generator) -> Motion:
    """Draw `frames` frames of one class at `fps`.

    Both classes draw the same trains of strikes and swings; a class only decides which of the two
    is slowed down to a to and fro over the same poses.
    """
    seconds = frames / fps
    times = (np.arange(frames) + rng.uniform(0, 1)) / frames  # (T,), 0 to 1 of the clip
    strikes = _strikes(seconds, rng)
    swing = _swing(seconds, rng)
    fast_other = rng.uniform() < _FAST_OTHER[label]
    reach = _sample(strikes, times) if label == "selfharm" else _slowed(strikes, times, seconds, rng)
    other = _sample(swing, times) if fast_other else _slowed(swing, times, seconds, rng)
    return Motion(reach, other)


def _strikes(seconds: float, rng: np.random.Generator) -> Floats:
    """A train of blows on the fine grid, values 0 to 1, each blow a little different."""
    cycles = max(1, round(seconds * rng.uniform(*_STRIKES_PER_SECOND)))
    period = seconds / cycles
    blow = rng.uniform(0.10, 0.16) / period  # durations as shares of a cycle
    contact = rng.uniform(0.06, 0.12) / period
    back = rng.uniform(0.20, 0.28) / period
    phase, cycle = np.modf(_uneven(cycles, seconds, rng))
    position = np.interp(phase, [0, blow, blow + contact, blow + contact + back], [0, 1, 1, 0])
    # A blow gathers speed until it is stopped; the way back starts and ends softly.
    position = np.where(phase < blow, position**1.5, position * position * (3 - 2 * position))
    drawn_back = rng.uniform(0.0, 0.3, cycles + 1)[cycle.astype(int)]
    train: Floats = drawn_back + (1 - drawn_back) * position
    return train


def _swing(seconds: float, rng: np.random.Generator) -> Floats:
    """A quick to and fro on the fine grid, values 0 to 1."""
    cycles = max(1, round(seconds * rng.uniform(*_STRIKES_PER_SECOND)))
    return 0.5 - 0.5 * np.cos(2 * np.pi * _uneven(cycles, seconds, rng))


def _uneven(cycles: int, seconds: float, rng: np.random.Generator) -> Floats:
    """The running number of the cycle on the fine grid, 0 to `cycles`, at a slightly varying pace."""
    pace = rng.uniform(0.85, 1.15, cycles)
    ends = np.concatenate([[0.0], np.cumsum(pace)]) / pace.sum()
    fine = np.arange(round(seconds * _FINE_HZ)) / round(seconds * _FINE_HZ)
    return np.interp(fine, ends, np.arange(cycles + 1))


def _sample(wave: Floats, times: Floats) -> Floats:
    """The wave (fine grid) at `times` (T,), 0 to 1 of its length, repeating."""
    return np.interp(times % 1.0, np.arange(len(wave)) / len(wave), wave, period=1.0)


def _slowed(wave: Floats, times: Floats, seconds: float, rng: np.random.Generator) -> Floats:
    """The same positions for the same shares of the time as `wave`, visited slowly to and fro.

    A triangle wave spends equally long at each height; whole periods of it, mapped by the quantile
    function of `wave`, are distributed as `wave` is.
    """
    cycles = max(1, round(seconds / rng.uniform(*_SLOW_PERIOD_SECONDS)))
    height = np.abs(2 * ((cycles * times + rng.uniform(0, 1)) % 1.0) - 1)
    return np.interp(height, np.linspace(0, 1, len(wave)), np.sort(wave))
