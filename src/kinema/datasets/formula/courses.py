"""How the state of a rendered scene runs through time, so that no single picture tells how it runs.

A scene's state is a point on a torus: every coordinate is a phase in turns, drawn uniformly. A class of motion
says which coordinates run and how; the others rest where they were drawn. Running leaves the uniform
distribution as it is, so a picture taken at any instant follows the same law in every class, and only the
order of pictures tells classes apart.

A coordinate is used either as an angle (the circle itself) or as a share in [0, 1) of a way to and fro
(`Course.rise`), which is uniform as well: a way with a quick rise and a slow return passes the same pictures,
equally often, as one with a slow rise and a quick return.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["Course", "Film", "Floats", "Kind", "Scene", "Shot", "Ways", "run", "shake"]

Floats: TypeAlias = NDArray[np.float64]
Film: TypeAlias = NDArray[np.uint8]
"""RGB frames (T, H, W, 3)."""


@dataclass(frozen=True)
class Course:
    """How one coordinate runs.

    Attributes:
        coordinate: its index in the state.
        turns_per_second: [slowest, fastest) rate, of which each clip draws one.
        rise: None for an angle, which goes round. Else the part of a turn, in (0, 1), in which the share
            rises from 0 to 1; it falls in the rest.
        sign: 1 or -1, the direction in which an angle goes round; 0 draws one.
    """

    coordinate: int
    turns_per_second: tuple[float, float]
    rise: float | None = None
    sign: int = 0


Ways: TypeAlias = Mapping[str, tuple[Course, ...]]
"""The classes of a kind, by name, each with the courses of the coordinates that run in it."""


@dataclass(frozen=True)
class Shot:
    """What a clip is to be like: a square of `size_px`, `frames` pictures, `fps` of them a second."""

    size_px: int
    frames: int
    fps: int

    @property
    def times_seconds(self) -> Floats:
        """When each picture is taken, from 0 on (T,)."""
        return np.arange(self.frames) / self.fps


class Scene(Protocol):
    """What all classes of a kind share in one group: texture or bodies, place, light, and the first state."""

    def film(self, courses: Sequence[Course], rng: np.random.Generator, shot: Shot) -> Film:
        """Pictures of this scene while `courses` run; `rng` draws their rates and the shaking of the camera."""


@dataclass(frozen=True)
class Kind:
    """One kind of scenes.

    Attributes:
        name: as it begins the names of its classes.
        ways: its classes.
        make_scene: draws a scene.
    """

    name: str
    ways: Ways
    make_scene: Callable[[np.random.Generator], Scene]

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of its classes, `KIND-WAY`, in the order of `ways`."""
        return tuple(f"{self.name}-{way}" for way in self.ways)


def run(start: Floats, courses: Sequence[Course], rng: np.random.Generator, times_seconds: Floats) -> Floats:
    """The state at every instant.

    Args:
        start: every coordinate in [0, 1) at time 0 (C,).
        courses: which of them run.
        rng: draws rates and directions.
        times_seconds: instants (T,).

    Returns:
        (C, T): shares in [0, 1], and angles in turns, which go on beyond 1 and below 0.
    """
    state = np.repeat(start[:, None], len(times_seconds), axis=1)
    for course in courses:
        first = float(start[course.coordinate])
        travelled = rng.uniform(*course.turns_per_second) * times_seconds
        if course.rise is None:
            state[course.coordinate] = first + (course.sign or rng.choice((-1, 1))) * travelled
        else:
            state[course.coordinate] = _to_and_fro(first, course.rise, rng, travelled)
    return state


def _to_and_fro(first: float, rise: float, rng: np.random.Generator, travelled: Floats) -> Floats:
    """The share after `travelled` turns, which at first is `first`, and rising as often as it is at any instant."""
    phase = first * rise if rng.random() < rise else 1 - first * (1 - rise)
    turned = (phase + travelled) % 1.0
    shares: Floats = np.where(turned < rise, turned / rise, (1 - turned) / (1 - rise))
    return shares


def shake(rng: np.random.Generator, times_seconds: Floats, *, reach: float) -> Floats:
    """Where a held camera points (2, T): about `reach` off at most, slowly, and not at all in the first picture."""
    rates = rng.uniform(0.2, 1.2, (2, 3, 1))
    phases = rng.uniform(0, 2 * np.pi, (2, 3, 1))
    weights = rng.dirichlet((1.0, 1.0, 1.0), 2)[:, :, None] * rng.uniform(0, reach, (2, 1, 1))
    waves = np.sin(phases + 2 * np.pi * rates * times_seconds)
    path: Floats = ((waves - waves[..., :1]) * weights).sum(axis=1)
    return path
