"""Bodies keep their bones, hands arrive at heads, heads at walls."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from PIL import Image, ImageDraw

from kinema.datasets.figure import JOINTS, Body, Other, Stance, draw_figure, joints
from kinema.datasets.motion import Motion

BODY = Body(1.75, 1.0, (214, 165, 130), (30, 24, 22), (200, 30, 30), (30, 30, 90), (20, 20, 20), sleeves=False)
STANCE = Stance(0.0, 1.5, 0.4, wall=False, side=1, drawn_back_m=(0.3, -0.1), lean_radians=0.05,
                wall_lean_radians=0.6, other="shake")  # fmt: skip
PATH = Motion(np.linspace(0, 1, 9), np.linspace(0, 1, 9))


def at(places: np.ndarray, name: str) -> np.ndarray:
    return places[:, JOINTS.index(name)]


def apart(places: np.ndarray, one: str, two: str) -> np.ndarray:
    return np.linalg.norm(at(places, one) - at(places, two), axis=1)


@pytest.mark.parametrize("other", get_args(Other))
@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize("wall", [False, True])
def test_bones_keep_their_length(other: Other, side: int, wall: bool) -> None:
    places = joints(BODY, replace(STANCE, other=other, side=side, wall=wall), PATH)
    assert places.shape == (9, len(JOINTS), 3)
    for s in ("r", "l"):
        for one, two, length in (("shoulder", "elbow", 0.29), ("elbow", "hand", 0.30), ("hip", "knee", 0.45)):
            assert apart(places, f"{one}_{s}", f"{two}_{s}") == pytest.approx(np.full(9, length), abs=1e-6)
    assert at(places, "head")[:, 1].max() < BODY.height_m
    assert places[..., 1].min() > 0


@pytest.mark.parametrize(("side", "striking", "resting"), [(1, "hand_r", "hand_l"), (-1, "hand_l", "hand_r")])
def test_the_striking_hand_arrives_at_the_head(side: int, striking: str, resting: str) -> None:
    places = joints(BODY, replace(STANCE, side=side), PATH)
    gap = apart(places, striking, "head")
    assert np.all(np.diff(gap) < 0)
    assert gap[0] > 0.35
    assert gap[-1] < 0.17
    assert apart(places, resting, "head").min() > 0.25


def test_the_head_goes_towards_the_wall_it_faces() -> None:
    places = joints(BODY, replace(STANCE, wall=True, facing_radians=np.pi / 2), PATH)
    x = at(places, "head")[:, 0]
    assert np.all(np.diff(x) > 0)
    assert x[-1] - x[0] > 0.3
    assert np.ptp(at(places, "foot_r")[:, 0]) < 0.06  # marching aside, feet stay


def test_facing_turns_the_body() -> None:
    front = joints(BODY, replace(STANCE, facing_radians=0.0), PATH)
    back = joints(BODY, replace(STANCE, facing_radians=np.pi), PATH)
    assert np.all(at(front, "shoulder_r")[:, 0] < at(front, "shoulder_l")[:, 0])  # seen mirrored, as people are
    assert np.all(at(back, "shoulder_r")[:, 0] > at(back, "shoulder_l")[:, 0])


def test_a_figure_is_drawn_in_its_colours() -> None:
    picture = Image.new("RGB", (120, 200), (255, 255, 255))
    places = joints(BODY, STANCE, PATH)[0]
    points = np.stack([60 + 100 * places[:, 0], 190 - 100 * places[:, 1], places[:, 2]], axis=1)
    draw_figure(ImageDraw.Draw(picture), BODY, points, np.full(len(JOINTS), 100.0), 1.0)
    colours = {colour for _, colour in picture.getcolors(4096)}
    assert {BODY.skin, BODY.hair, BODY.shirt, BODY.trousers, BODY.shoes} <= colours
    x, y, _ = points[JOINTS.index("head")]
    assert picture.getpixel((round(x), round(y + 5))) == BODY.skin
