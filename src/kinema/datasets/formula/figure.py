"""Figures of sticks: two people before a background of noise, of whom one or both do something.

Everybody can be in any pose of any class: one who walks may have an arm raised or lie on the ground, and a
bystander may be caught in mid-stride. That is what keeps poses from telling the class.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from PIL import Image, ImageDraw

from kinema.datasets.formula.courses import Course, Film, Floats, Kind, Shot, Ways, run, shake
from kinema.datasets.formula.noise import picture

__all__ = ["FIGURE", "FigureScene"]


class _At(IntEnum):
    """The coordinates of a scene's state: those of who acts, from 8 on the same of the other, then where they are."""

    GAIT = 0
    RAISE = 1
    WAVE = 2
    REACH = 3
    TILT = 4
    CROUCH = 5
    HOP = 6
    FACE = 7
    OTHER = 8
    PLACE = 16
    GAP = 17


_COUNT = 18
_WALK, _RUN, _BRISK, _QUICK = (0.7, 1.0), (1.6, 2.2), (0.45, 0.75), (0.8, 1.2)

_WAYS: Ways = {
    "walking": (Course(_At.GAIT, _WALK), Course(_At.PLACE, (0.2, 0.3), rise=0.5)),
    "running": (Course(_At.GAIT, _RUN), Course(_At.PLACE, (0.5, 0.7), rise=0.5)),
    "waving": (Course(_At.WAVE, (0.9, 1.5), rise=0.5),),
    "striking": (Course(_At.REACH, _QUICK, rise=0.15),),
    "pushing": (
        Course(_At.REACH, _BRISK, rise=0.5),
        Course(_At.OTHER + _At.TILT, _BRISK, rise=0.2),
        Course(_At.GAP, _BRISK, rise=0.2),
    ),
    "falling": (Course(_At.TILT, _BRISK, rise=0.2),),
    "getting-up": (Course(_At.TILT, _BRISK, rise=0.8),),
    "jumping": (Course(_At.HOP, _QUICK, rise=0.5),),
    "sitting-down": (Course(_At.CROUCH, _BRISK, rise=0.2),),
    "standing-up": (Course(_At.CROUCH, _BRISK, rise=0.8),),
    "turning": (Course(_At.FACE, _BRISK, rise=0.5),),
    "approaching": (
        Course(_At.GAP, (0.35, 0.5), rise=0.2),
        Course(_At.GAIT, _WALK),
        Course(_At.OTHER + _At.GAIT, _WALK),
    ),
    "parting": (
        Course(_At.GAP, (0.35, 0.5), rise=0.8),
        Course(_At.GAIT, _WALK),
        Course(_At.OTHER + _At.GAIT, _WALK),
    ),
}

_OVERSAMPLING = 3
_SHAKE = 0.015  # of the side
_MARGIN = 0.05
_THIGH = _SHIN = 0.25  # of the height
_TORSO, _NECK, _UPPER_ARM, _FOREARM = 0.3, 0.1, 0.17, 0.16
_SKIN = ((234, 192, 164), (214, 165, 130), (176, 124, 90), (122, 84, 60), (86, 58, 42))


@dataclass(frozen=True)
class _Person:
    """How somebody looks.

    Attributes:
        height: in sides of the picture.
        width: of a limb, in heights.
        legs: length of the legs, in usual ones.
        arms: likewise.
        skin, shirt, trousers: colours, RGB 0 to 255.
    """

    height: float
    width: float
    legs: float
    arms: float
    skin: tuple[int, int, int]
    shirt: tuple[int, int, int]
    trousers: tuple[int, int, int]


@dataclass(frozen=True)
class _Limb:
    """A stick between two points at every instant, (T, 2) each, in sides of the picture; a dot where they are one."""

    one: Floats
    other: Floats
    width: float
    colour: tuple[int, int, int]


@dataclass(frozen=True)
class FigureScene:
    """Two people.

    Attributes:
        start: the state at first (18,), each in [0, 1).
        people: who acts, and the other.
        side: -1 where the one who acts is left of the other, 1 where right.
        falls: where the one who acts falls: 1 towards the other, who falls backwards, -1 backwards too.
        middle: of both, from the left, in sides of the picture.
        ground: where they stand, from above.
        background_seed: what the background is drawn from.
        shade: brightness of the background, in (0, 1).
        light: brightness of all, in (0, 1].
    """

    start: Floats
    people: tuple[_Person, _Person]
    side: int
    falls: int
    middle: float
    ground: float
    background_seed: int
    shade: float
    light: float

    def film(self, courses: Sequence[Course], rng: np.random.Generator, shot: Shot) -> Film:
        """See `kinema.datasets.formula.courses.Scene`."""
        times = shot.times_seconds
        state = run(self.start, courses, rng, times)
        held = shake(rng, times, reach=_SHAKE)
        idle = [shake(rng, times, reach=0.06)[0] for _ in self.people]
        gap = 0.18 + 0.36 * state[_At.GAP]
        places = self.middle + self.side * np.stack((gap / 2 + 0.22 * (state[_At.PLACE] - 0.5), -gap / 2))
        limbs: list[_Limb] = []
        for number in (1, 0):
            own = state[_At.OTHER * number : _At.OTHER * (number + 1)]
            towards = self.side if number else -self.side
            falling = towards * (-1 if number else self.falls)
            tilt = 1.45 * falling * _eased(own[_At.TILT], 0.5) + idle[number]
            foot = np.stack((places[number], np.full_like(tilt, self.ground)), axis=1)
            limbs += _body(self.people[number], own, tilt, foot, towards)
        return self._draw(limbs, held, shot)

    def _draw(self, limbs: Sequence[_Limb], held: Floats, shot: Shot) -> Film:
        fine = shot.size_px * _OVERSAMPLING
        margin = round(_MARGIN * fine)
        whole = picture(np.random.default_rng(self.background_seed), shot.size_px, cell_px=shot.size_px / 2.5)
        whole = (whole * np.float32(self.shade)).astype(np.uint8)
        behind = Image.fromarray(whole).resize((fine + 2 * margin,) * 2, Image.Resampling.BILINEAR)
        film = np.empty((shot.frames, shot.size_px, shot.size_px, 3), np.uint8)
        offsets = np.round(held * fine).astype(int)
        for moment in range(shot.frames):
            x, y = margin - offsets[0, moment], margin - offsets[1, moment]
            frame = behind.crop((x, y, x + fine, y + fine))
            drawing = ImageDraw.Draw(frame)
            for limb in limbs:
                _stroke(drawing, limb, moment, fine, offsets[:, moment])
            film[moment] = np.asarray(frame.reduce(_OVERSAMPLING))
        return (film * np.float32(self.light)).astype(np.uint8)


def _make_scene(rng: np.random.Generator) -> FigureScene:
    """Draw two people, where they stand, and their background."""
    height = rng.uniform(0.55, 0.8)
    return FigureScene(
        start=rng.random(_COUNT),
        people=(_make_person(rng, height), _make_person(rng, height * rng.uniform(0.85, 1.15))),
        side=int(rng.choice((-1, 1))),
        falls=int(rng.choice((-1, 1))),
        middle=float(rng.uniform(0.45, 0.55)),
        ground=float(rng.uniform(0.85, 0.95)),
        background_seed=int(rng.integers(2**31)),
        shade=float(rng.uniform(0.3, 0.65)),
        light=float(rng.uniform(0.4, 1.0)),
    )


def _make_person(rng: np.random.Generator, height: float) -> _Person:
    # As bright as a colour can be, or nearly, so that they stand out from the background.
    shirt, trousers = (_colour(rng.uniform(190, 255) * hue / hue.max()) for hue in rng.uniform(0.1, 1, (2, 3)))
    return _Person(
        height=float(height),
        width=float(rng.uniform(0.055, 0.09)),
        legs=float(rng.uniform(0.9, 1.1)),
        arms=float(rng.uniform(0.9, 1.15)),
        skin=_SKIN[rng.integers(len(_SKIN))],
        shirt=shirt,
        trousers=trousers,
    )


def _colour(values: Floats) -> tuple[int, int, int]:
    red, green, blue = (int(value) for value in values)
    return red, green, blue


def _body(who: _Person, state: Floats, tilt: Floats, foot: Floats, towards: int) -> Iterator[_Limb]:
    """The limbs of one person, those farther away first.

    Args:
        who: proportions and colours.
        state: the eight coordinates of a person (8, T).
        tilt: by how much all of them is turned to the right, in radians (T,).
        foot: where they stand, from the left and from above (T, 2).
        towards: 1 where the other is on the right, -1 where on the left.
    """
    face = 2 * state[_At.FACE] - 1  # of their front, how far to the right: 0 looks at us
    crouch = 1.25 * _eased(state[_At.CROUCH], 0.3)
    stride = np.sin(2 * np.pi * state[_At.GAIT])
    lift = np.cos(2 * np.pi * state[_At.GAIT])
    legs = [_leg(who, crouch, sign * stride, np.maximum(sign * lift, 0), face) for sign in (1, -1)]
    hip = np.stack((np.zeros_like(face), np.maximum(-legs[0][1][:, 1], -legs[1][1][:, 1])), axis=1)
    hip[:, 1] += 0.3 * np.sqrt(_eased(state[_At.HOP], 0.3))
    lean = _direction(np.pi - 0.35 * crouch * face)
    neck = hip + _TORSO * lean
    broad = 0.09 * np.sqrt(1 - 0.8 * face**2)
    across = np.stack((broad, np.zeros_like(broad)), axis=1)
    waver = _arm(who, -towards * (0.3 + 2.2 * state[_At.RAISE]), -towards * (1.7 * state[_At.WAVE] - 0.2))
    reacher = _arm(
        who, towards * (2.1 * state[_At.REACH] - 0.6 + 0.2 * stride), towards * (1.9 - 1.85 * state[_At.REACH])
    )
    head = neck + _NECK * lean
    nose = head + 0.05 * np.stack((face, np.full_like(face, -0.2)), axis=1)

    def limb(one: Floats, other: Floats, width: float, colour: tuple[int, int, int]) -> _Limb:
        return _Limb(
            _placed(one, tilt, foot, who.height), _placed(other, tilt, foot, who.height), width * who.height, colour
        )

    for number, (knee, heel) in enumerate(legs):
        side = hip + (0.5 - number) * across
        yield limb(side, side + knee, who.width, who.trousers)
        yield limb(side + knee, side + heel, 0.85 * who.width, who.trousers)
    yield limb(hip, neck, 2.2 * who.width, who.shirt)
    for shoulder, (elbow, hand) in ((neck - towards * across, waver), (neck + towards * across, reacher)):
        yield limb(shoulder, shoulder + elbow, 0.9 * who.width, who.shirt)
        yield limb(shoulder + elbow, shoulder + hand, 0.75 * who.width, who.skin)
    yield limb(head, head, 0.15, (40, 30, 26))
    yield limb(nose, nose, 0.1, who.skin)


def _leg(who: _Person, crouch: Floats, stride: Floats, lift: Floats, face: Floats) -> tuple[Floats, Floats]:
    """Knee and heel from the hip."""
    thigh = crouch + 0.55 * stride + 0.35 * lift
    knee = who.legs * _THIGH * _turned(thigh, face)
    return knee, knee + who.legs * _SHIN * _turned(thigh - 2 * crouch - 0.9 * lift, face)


def _arm(who: _Person, upper: Floats, bent: Floats) -> tuple[Floats, Floats]:
    """Elbow and hand from the shoulder; arms move across the line of sight, whichever way their owner looks."""
    elbow = who.arms * _UPPER_ARM * _direction(upper)
    return elbow, elbow + who.arms * _FOREARM * _direction(upper + bent)


def _direction(radians: Floats) -> Floats:
    """Unit vectors (T, 2) at an angle from straight down towards the right; the second axis points up."""
    ahead: Floats = np.stack((np.sin(radians), -np.cos(radians)), axis=1)
    return ahead


def _turned(radians: Floats, face: Floats) -> Floats:
    """The same of a limb that swings towards the front, seen from aside as far as `face` says."""
    ahead = _direction(radians)
    ahead[:, 0] *= face
    return ahead


def _placed(points: Floats, tilt: Floats, foot: Floats, height: float) -> Floats:
    """Points of a body in the picture: turned around the feet, scaled, and with the second axis down."""
    across, up = points[:, 0], points[:, 1]
    x = across * np.cos(tilt) + up * np.sin(tilt)
    y = up * np.cos(tilt) - across * np.sin(tilt)
    placed: Floats = foot + height * np.stack((x, -y), axis=1)
    return placed


def _eased(share: Floats, rest: float) -> Floats:
    """0 in the first `rest` of the way, then smoothly up to 1."""
    moved = np.clip((share - rest) / (1 - rest), 0, 1)
    eased: Floats = moved * moved * (3 - 2 * moved)
    return eased


def _stroke(drawing: ImageDraw.ImageDraw, limb: _Limb, moment: int, fine: int, offset: Floats) -> None:
    (x, y), (to_x, to_y) = limb.one[moment] * fine + offset, limb.other[moment] * fine + offset
    width = max(1.0, limb.width * fine)
    if (x, y) != (to_x, to_y):
        drawing.line((x, y, to_x, to_y), fill=limb.colour, width=round(width))
        drawing.ellipse((to_x - width / 2, to_y - width / 2, to_x + width / 2, to_y + width / 2), fill=limb.colour)
    drawing.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), fill=limb.colour)


FIGURE = Kind("figure", _WAYS, _make_scene)
