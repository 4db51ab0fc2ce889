"""Moving fractals: iterated function systems whose parameters run along closed paths.

A fractal is the set of points that a few affine maps of the plane lead to, one after the other (Barnsley 1988).
Pictures of them teach networks to see (Kataoka et al., "Pre-training without natural images", ACCV 2020), and
moving ones to see motion (Svyezhentsev et al., "Pre-training for action recognition with automatically generated
fractal datasets", 2024, to which this owes the idea, and no line).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from kinema.datasets.formula.courses import Course, Film, Floats, Kind, Shot, Ways, run, shake
from kinema.datasets.formula.noise import picture

__all__ = ["FRACTAL", "FractalScene"]


class _At(IntEnum):
    """The coordinates of a fractal's state."""

    TURN = 0
    CIRCLE = 1
    SWAY = 2
    GROWTH = 3
    SHEAR = 4
    SQUEEZE = 5
    CURL = 6
    UNFOLD = 7


_SLOW, _BRISK = (0.45, 0.75), (0.6, 1.0)

_WAYS: Ways = {
    "turning": (Course(_At.TURN, (0.25, 0.5)),),
    "circling": (Course(_At.CIRCLE, _BRISK),),
    "swaying": (Course(_At.SWAY, _SLOW, rise=0.5),),
    "breathing": (Course(_At.GROWTH, _SLOW, rise=0.5),),
    "bursting": (Course(_At.GROWTH, _BRISK, rise=0.15),),
    "collapsing": (Course(_At.GROWTH, _BRISK, rise=0.85),),
    "shearing": (Course(_At.SHEAR, _SLOW, rise=0.5),),
    "squeezing": (Course(_At.SQUEEZE, _SLOW, rise=0.5),),
    "curling": (Course(_At.CURL, _SLOW, rise=0.5),),
    "unfolding": (Course(_At.UNFOLD, _BRISK),),
}

_POINTS_WANTED = 3000
_OCTAVES_OF_GROWTH = 1.4
_SHEAR_AT_MOST = 0.8
_CURL_RADIANS = 1.0
_UNFOLD_REACH = 0.35
_SHAKE_PX = 0.02  # of the side


@dataclass(frozen=True)
class FractalScene:
    """A fractal before a still background.

    Attributes:
        start: the state at first, (8,), each in [0, 1).
        linear: the maps' 2x2 matrices (M, 2, 2), which contract.
        offset: where each map leads the origin (M, 2).
        phase: in turns, where each map's offset begins its circle (M,), and which way round it goes (M,).
        way_round: see there.
        axis_radians: along which the fractal sways, is sheared and is squeezed (3,).
        colours: of the points that each map leads to last (M, 3), RGB 0 to 255.
        centre: of the points, over all states (2,).
        spread: their standard deviation around it, likewise: were it taken from the first picture, fractals that
            unfold would differ from all others in size later on.
        background_seed: what the background is drawn from.
        light: brightness of all, in (0, 1].
    """

    start: Floats
    linear: Floats
    offset: Floats
    phase: Floats
    way_round: Floats
    axis_radians: Floats
    colours: Floats
    centre: Floats
    spread: float
    background_seed: int
    light: float

    def film(self, courses: Sequence[Course], rng: np.random.Generator, shot: Shot) -> Film:
        """See `kinema.datasets.formula.courses.Scene`."""
        times = shot.times_seconds
        state = run(self.start, courses, rng, times)
        points = self._view((self.points(state) - self.centre) / (2.6 * self.spread), state)
        size = shot.size_px
        held = shake(rng, times, reach=_SHAKE_PX * size)
        places = (points * 0.5 + 0.5) * size + held.T[:, None, :]
        density, colour = self._splat(places, size)
        behind = picture(np.random.default_rng(self.background_seed), size, cell_px=size / 3).astype(np.float32)
        cover = 1 - np.exp(-density * np.float32(3.0 * (size / 72) ** 2 * _POINTS_WANTED / points.shape[1]))[..., None]
        shown = behind * np.float32(0.55) * (1 - cover) + colour * cover
        pictures: Film = (shown * np.float32(self.light)).astype(np.uint8)
        return pictures

    def points(self, state: Floats) -> Floats:
        """The fractal at every instant (T, N, 2)."""
        curl = _CURL_RADIANS * (state[_At.CURL] - 0.5)
        linear = self.linear[:, None] @ _rotation(curl)[None]  # (M, T, 2, 2)
        around = 2 * np.pi * (self.phase[:, None] + self.way_round[:, None] * state[_At.UNFOLD])
        offset = self.offset[:, None] + _UNFOLD_REACH * np.stack((np.cos(around), np.sin(around)), axis=-1)
        points = np.zeros((len(curl), 1, 2))
        for _ in range(_depth(len(linear))):
            led = np.einsum("mtij,tnj->tmni", linear, points, optimize=True) + offset.transpose(1, 0, 2)[:, :, None]
            points = led.reshape(len(curl), -1, 2)
        return points

    def _view(self, points: Floats, state: Floats) -> Floats:
        """Points turned, grown, sheared, squeezed and moved as the state says; the picture is [-1, 1) x [-1, 1)."""
        sway, shear, squeeze = self.axis_radians
        grown = 2 ** (_OCTAVES_OF_GROWTH * (state[_At.GROWTH] - 0.5))
        count = len(grown)
        one, none = np.ones(count), np.zeros(count)
        slant = _SHEAR_AT_MOST * (2 * state[_At.SHEAR] - 1)
        sheared = _along(shear, np.array([[one, slant], [none, one]]).transpose(2, 0, 1))
        squeezed = _along(squeeze, np.array([[0.3 + 0.9 * state[_At.SQUEEZE], none], [none, one]]).transpose(2, 0, 1))
        turned = _rotation(2 * np.pi * state[_At.TURN])
        view = grown[:, None, None] * (turned @ sheared @ squeezed)
        circle = 2 * np.pi * state[_At.CIRCLE]
        centre = 0.25 * np.stack((np.cos(circle), np.sin(circle)), axis=1)
        centre = centre + 0.4 * (2 * state[_At.SWAY, :, None] - 1) * np.array([np.cos(sway), np.sin(sway)])
        seen: Floats = points @ view.transpose(0, 2, 1) + centre[:, None]
        return seen

    def _splat(self, places: Floats, size: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """How many points each pixel holds (T, H, W), and their mean colour (T, H, W, 3).

        A point is shared among the four pixels around it, so that slow motion shows.
        """
        count, number, _ = places.shape
        corner = np.floor(places - 0.5)
        share = (places - 0.5 - corner).astype(np.float32)
        column, row = corner[..., 0].astype(np.int32), corner[..., 1].astype(np.int32)
        last = np.repeat(np.arange(len(self.linear)), number // len(self.linear))  # the last map of every point
        bins = np.zeros((len(self.linear), count, size, size), np.float32)
        for step_y in (0, 1):
            for step_x in (0, 1):
                x, y = column + step_x, row + step_y
                weight = np.abs(1 - step_x - share[..., 0]) * np.abs(1 - step_y - share[..., 1])
                seen = (x >= 0) & (x < size) & (y >= 0) & (y < size)
                index = ((last * count + np.arange(count)[:, None]) * size + y) * size + x
                bins += np.bincount(index[seen], weight[seen], bins.size).reshape(bins.shape).astype(np.float32)
        density = bins.sum(axis=0)
        colour = np.einsum("mthw,mc->thwc", bins, self.colours.astype(np.float32), optimize=True)
        return density, colour / np.maximum(density, np.float32(1e-6))[..., None]


def _make_scene(rng: np.random.Generator) -> FractalScene:
    """Draw a fractal of two to four maps, its colours and its background."""
    maps = int(rng.integers(2, 5))
    # As many points as maps allow fill the picture alike when areas shrink to about 1 / maps.
    area = rng.uniform(0.7, 1.1, maps) / maps
    flat = rng.uniform(0.45, 1.0, maps)
    stretch = np.stack((np.sqrt(area / flat), np.sqrt(area * flat)), axis=1)
    stretch = np.minimum(stretch, 0.85)
    linear = _rotation(rng.uniform(0, 2 * np.pi, maps)) @ (stretch[:, :, None] * _rotation(rng.uniform(0, np.pi, maps)))
    drawn = FractalScene(
        start=rng.random(len(_At)),
        linear=linear,
        offset=rng.uniform(-1, 1, (maps, 2)),
        phase=rng.random(maps),
        way_round=rng.choice((-1.0, 1.0), maps),
        axis_radians=rng.uniform(0, np.pi, 3),
        colours=rng.uniform(60, 255, (maps, 3)),
        centre=np.zeros(2),
        spread=1.0,
        background_seed=int(rng.integers(2**31)),
        light=float(rng.uniform(0.35, 1.0)),
    )
    points = drawn.points(_spread_states()).reshape(-1, 2)
    centre = points.mean(axis=0)
    return replace(drawn, centre=centre, spread=float(np.sqrt(points.var(axis=0).sum())))


def _spread_states() -> Floats:
    """States all over the two coordinates that a fractal's form depends on (8, 12)."""
    states = np.zeros((len(_At), 12))
    states[_At.UNFOLD] = np.arange(12) / 12
    states[_At.CURL] = (np.arange(12) * 5 % 12 + 0.5) / 12
    return states


def _depth(maps: int) -> int:
    """How often all maps are applied, to reach about as many points as are wanted."""
    return round(math.log(_POINTS_WANTED, maps))


def _rotation(radians: Floats) -> Floats:
    """Matrices (..., 2, 2)."""
    across, down = np.cos(radians), np.sin(radians)
    turned: Floats = np.stack((np.stack((across, -down), axis=-1), np.stack((down, across), axis=-1)), axis=-2)
    return turned


def _along(axis_radians: float, matrices: Floats) -> Floats:
    """Matrices that do along the axis what `matrices` (T, 2, 2) do along x."""
    turned = _rotation(np.array(axis_radians))
    there: Floats = turned @ matrices @ turned.T
    return there


FRACTAL = Kind("fractal", _WAYS, _make_scene)
