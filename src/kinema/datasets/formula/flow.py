"""Flows: gradient noise that is carried along, turned, drawn apart, or boils in place.

Noise in motion as what a network learns first is from Kataoka et al., "Spatiotemporal initialization for 3D CNNs
with generated motion patterns", WACV 2022, whose classes are noises of different frequency; here every class has
the same noise, and another flow. No class is another one's mirror image, as clips are mirrored in training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from kinema.datasets.formula.courses import Course, Film, Floats, Kind, Shot, Ways, run, shake
from kinema.datasets.formula.noise import (
    CELLS,
    TILE_PX,
    Colours,
    Singles,
    draw_gradients,
    make_tile,
    read_tile,
    spectrum,
)

__all__ = ["FLOW", "FlowScene"]


class _At(IntEnum):
    """The coordinates of a flow's state."""

    DRIFT = 0
    SWAY = 1
    TURN = 2
    ZOOM = 3
    SHEAR = 4
    RIPPLE = 5
    TWIST = 6
    BOIL = 7


_BRISK = (0.45, 0.75)

_WAYS: Ways = {
    "drifting-slowly": (Course(_At.DRIFT, (0.15, 0.25)),),
    "drifting-fast": (Course(_At.DRIFT, (0.6, 0.9)),),
    "swaying": (Course(_At.SWAY, _BRISK, rise=0.5),),
    "turning": (Course(_At.TURN, (0.12, 0.25)),),
    "expanding": (Course(_At.ZOOM, (0.6, 1.1), sign=-1),),
    "contracting": (Course(_At.ZOOM, (0.6, 1.1), sign=1),),
    "shearing": (Course(_At.SHEAR, _BRISK, rise=0.5),),
    "rippling": (Course(_At.RIPPLE, (0.6, 1.0)),),
    "twisting": (Course(_At.TWIST, _BRISK, rise=0.5),),
    "boiling": (Course(_At.BOIL, (0.4, 0.7)),),
}

_LAYERS = 4
_COARSEST_CELL = 1.1  # of the side of the picture
_SWAY_REACH = 0.25
_SHEAR_AT_MOST = 0.7
_TWIST_RADIANS = 1.6
_RIPPLE_REACH = 0.06
_SHAKE = 0.01
_LAYER_OFFSETS = 16


@dataclass(frozen=True)
class FlowScene:
    """A texture of noise that fills the picture.

    Attributes:
        start: the state at first, (8,), each in [0, 1).
        gradients: of the noise, in turns (CELLS, CELLS).
        offsets: where each octave lies on the tile, in pixels of it (16, 2).
        axis_radians: along which it drifts, sways and is sheared, and across which waves run (4,).
        waves: waves of the ripple across the picture.
        centre: of zoom, turn and twist, from the middle, in sides of the picture (2,).
        colours: by level of the noise (256, 3), RGB.
        contrast: how far noise spreads over these colours.
        light: brightness of all, in (0, 1].
    """

    start: Floats
    gradients: Floats
    offsets: Floats
    axis_radians: Floats
    waves: float
    centre: Floats
    colours: Colours
    contrast: float
    light: float

    def film(self, courses: Sequence[Course], rng: np.random.Generator, shot: Shot) -> Film:
        """See `kinema.datasets.formula.courses.Scene`."""
        times = shot.times_seconds
        state = run(self.start, courses, rng, times)
        held = shake(rng, times, reach=_SHAKE)
        boil = state[_At.BOIL]
        tile = make_tile(self.gradients, boil if np.ptp(boil) else boil[:1])
        x, y = self._sources(state, held, shot.size_px)
        octave = np.floor(state[_At.ZOOM]).astype(int)
        level = np.zeros(x.shape, np.float32)
        for layer in range(_LAYERS):
            # Zooming passes a texture on from octave to octave, and so goes on for ever.
            height = layer + state[_At.ZOOM] - octave
            offset = self.offsets[(layer - octave) % _LAYER_OFFSETS].astype(np.float32)
            scale = (2**height * TILE_PX / CELLS / _COARSEST_CELL).astype(np.float32)[:, None, None]
            weight = np.sin(np.pi * height / _LAYERS) ** 2 / 1.35**height
            value = read_tile(tile, x * scale + offset[:, 0, None, None], y * scale + offset[:, 1, None, None])
            level += value * weight.astype(np.float32)[:, None, None]
        index = np.clip(128 + np.float32(self.contrast) * level, 0, 255).astype(np.uint8)
        pictures: Film = (self.colours * self.light).astype(np.uint8)[index]
        return pictures

    def _sources(self, state: Floats, held: Floats, size: int) -> tuple[Singles, Singles]:
        """Where in the texture each pixel (T, H, W) is read, in sides of the picture from the centre."""
        drift, sway, shear, ripple = self.axis_radians
        middle = (np.arange(size) + 0.5) / size - 0.5
        x, y = np.meshgrid(middle - self.centre[0], middle - self.centre[1])
        wave = _RIPPLE_REACH * np.sin(
            2 * np.pi * (self.waves * (x * np.cos(ripple) + y * np.sin(ripple)) - state[_At.RIPPLE][:, None, None])
        )
        around = _TWIST_RADIANS * (state[_At.TWIST][:, None, None] - 0.5) * np.exp(-(x**2 + y**2) / 0.1)
        around = around + 2 * np.pi * state[_At.TURN][:, None, None]
        turned_x = (x - wave * np.sin(ripple)) * np.cos(around) - (y + wave * np.cos(ripple)) * np.sin(around)
        turned_y = (x - wave * np.sin(ripple)) * np.sin(around) + (y + wave * np.cos(ripple)) * np.cos(around)
        slant = (_SHEAR_AT_MOST * (2 * state[_At.SHEAR] - 1))[:, None, None]
        across = slant * (turned_y * np.cos(shear) - turned_x * np.sin(shear))
        swayed = _SWAY_REACH * (2 * state[_At.SWAY] - 1)
        moved_x = state[_At.DRIFT] * np.cos(drift) + swayed * np.cos(sway) + held[0]
        moved_y = state[_At.DRIFT] * np.sin(drift) + swayed * np.sin(sway) + held[1]
        return (
            (turned_x + across * np.cos(shear) + moved_x[:, None, None]).astype(np.float32),
            (turned_y + across * np.sin(shear) + moved_y[:, None, None]).astype(np.float32),
        )


def _make_scene(rng: np.random.Generator) -> FlowScene:
    """Draw a texture and its colours."""
    return FlowScene(
        start=rng.random(len(_At)),
        gradients=draw_gradients(rng),
        offsets=rng.uniform(0, TILE_PX, (_LAYER_OFFSETS, 2)),
        axis_radians=rng.uniform(0, 2 * np.pi, 4),
        waves=float(rng.uniform(1.2, 2.2)),
        centre=rng.uniform(-0.15, 0.15, 2),
        colours=spectrum(rng),
        contrast=float(rng.uniform(150, 240)),
        light=float(rng.uniform(0.35, 1.0)),
    )


FLOW = Kind("flow", _WAYS, _make_scene)
