"""The camera sees what lies before it; films have the light and size they were asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kinema.datasets.figure import joints
from kinema.datasets.motion import make_motion
from kinema.datasets.scene import Camera, film_scene, make_scene, project
from kinema.datasets.synthetic import make_stance

LEVEL = Camera(0.0, 1.0, 0.0, 0.0, 0.0, 0.0, np.pi / 2)
SIZE = (64, 48)


@pytest.mark.parametrize(
    ("camera", "point", "seen"),
    [
        (LEVEL, (0, 1, 2), (32, 24, 2)),
        (LEVEL, (1, 1, 2), (44, 24, 2)),
        (LEVEL, (0, 2, 2), (32, 12, 2)),
        (replace(LEVEL, x_m=1.0), (1, 1, 2), (32, 24, 2)),
        (replace(LEVEL, tilt_radians=np.pi / 4), (0, 0, 1), (32, 24, np.sqrt(2))),
        (replace(LEVEL, pan_radians=np.pi / 4), (1, 1, 1), (32, 24, np.sqrt(2))),
        (replace(LEVEL, roll_radians=np.pi / 2), (0, 2, 2), (20, 24, 2)),
    ],
)
def test_projection(camera: Camera, point: tuple[float, ...], seen: tuple[float, ...]) -> None:
    assert project(camera, np.array(point, float), SIZE) == pytest.approx(seen)


def film(seed: int = 0, frames: int = 70, **light: float) -> np.ndarray:
    scene = make_scene(np.random.default_rng(seed))
    scene = replace(scene, light=replace(scene.light, **light))
    rng = np.random.default_rng((seed, 1))
    places = joints(scene.body, make_stance(scene, rng), make_motion("normal", frames, 12, rng))
    runs = list(film_scene(scene, places, SIZE, 12, rng))
    assert [len(run) for run in runs] == ([64, frames - 64] if frames > 64 else [frames])
    return np.concatenate(runs)


def test_films_have_their_size_and_repeat() -> None:
    first = film()
    assert first.shape == (70, 48, 64, 3)
    assert first.dtype == np.uint8
    assert np.array_equal(first, film())
    assert not np.array_equal(first, film(1))


def test_light_and_noise() -> None:
    dark, bright = film(frames=4, brightness=0.5, noise=0.0), film(frames=4, brightness=1.0, noise=0.0)
    assert dark.mean() == pytest.approx(0.5 * bright.mean(), rel=0.03)
    calm, noisy = (np.abs(np.diff(film(frames=8, noise=n, flicker=0.0).astype(float), axis=0)) for n in (0.0, 4.0))
    assert np.median(calm) == 0  # a fixed camera: what does not move does not change
    assert np.median(noisy) > 2


def test_the_person_is_in_the_picture() -> None:
    for seed in range(60):
        scene = make_scene(np.random.default_rng(seed))
        rng = np.random.default_rng((seed, 1))
        places = joints(scene.body, make_stance(scene, rng), make_motion("selfharm", 48, 12, rng))
        seen = project(scene.camera, places, (128, 96))
        inside = (seen[..., 0] > 0) & (seen[..., 0] < 128) & (seen[..., 1] > 0) & (seen[..., 1] < 96)
        assert inside.mean() > 0.9
