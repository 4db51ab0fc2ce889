"""The person of the synthetic data set: a jointed body in metres, and how it is drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from kinema.datasets.motion import Floats, Motion

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

__all__ = ["JOINTS", "Body", "Colour", "Other", "Stance", "draw_figure", "joints"]

Colour = tuple[int, int, int]
Other = Literal["shake", "wipe", "march", "sway"]

JOINTS = (
    "pelvis", "neck", "head",
    "shoulder_r", "elbow_r", "hand_r", "shoulder_l", "elbow_l", "hand_l",
    "hip_r", "knee_r", "foot_r", "hip_l", "knee_l", "foot_l",
)  # fmt: skip
"""Order of the joints axis J."""
_AT = {name: i for i, name in enumerate(JOINTS)}


@dataclass(frozen=True)
class Body:
    """Who is seen.

    Attributes:
        height_m: from sole to crown.
        girth: thickness of limbs and torso, 1 is average.
        skin, hair, shirt, trousers, shoes: colours, RGB 0 to 255.
        sleeves: share of the forearm that the shirt covers, 0 or 1.
    """

    height_m: float
    girth: float
    skin: Colour
    hair: Colour
    shirt: Colour
    trousers: Colour
    shoes: Colour
    sleeves: bool


@dataclass(frozen=True)
class Stance:
    """Where somebody stands and which path of poses each channel of a `Motion` means.

    World axes: x to the right as seen by the camera, y up, z away from it, in metres.

    Attributes:
        x_m: place on the floor.
        z_m: likewise.
        facing_radians: 0 looks at the camera, a quarter turn to the right of the picture.
        wall: whether `reach` beats the head against a wall in front; else a hand against the head.
        side: the hand that reaches: +1 the person's right, -1 the left.
        drawn_back_m: how far from the head the hand starts, outward and upward.
        lean_radians: how far the upright body leans forward.
        wall_lean_radians: how far it leans where the head meets the wall.
        other: what the rest of the body does.
    """

    x_m: float
    z_m: float
    facing_radians: float
    wall: bool
    side: int
    drawn_back_m: tuple[float, float]
    lean_radians: float
    wall_lean_radians: float
    other: Other


def joints(body: Body, stance: Stance, motion: Motion) -> Floats:
    """Places (T, J, 3) of the joints in the world, metres, for T frames of motion."""
    scale = body.height_m / 1.75
    reach, other = motion.reach, motion.other
    swing = 2 * other - 1
    zero = np.zeros_like(reach)
    lean = np.full_like(reach, stance.lean_radians)
    if stance.wall:
        lean = lean + (stance.wall_lean_radians - stance.lean_radians) * reach
    roll = 0.07 * swing if stance.other == "sway" else zero
    place: dict[str, Floats] = {}

    # Body axes: right, up, forward. Hips slide back a little as the body leans forward.
    pelvis = _vector(0.5 * roll, np.full_like(reach, 0.93), -0.12 * np.sin(lean)) * scale
    spine = _vector(np.sin(roll), np.cos(lean) * np.cos(roll), np.sin(lean))
    across = _vector(np.cos(roll), -np.sin(roll), zero)
    ahead = _vector(zero, -np.sin(lean), np.cos(lean))
    neck = pelvis + 0.53 * scale * spine
    head = neck + 0.19 * scale * spine + 0.03 * scale * ahead
    place |= {"pelvis": pelvis, "neck": neck, "head": head}

    for name, sign in (("r", 1), ("l", -1)):
        shoulder = neck + scale * (0.19 * sign * across - 0.04 * spine)
        if sign == stance.side and not stance.wall:
            hand = _striking_hand(head, (across * sign, spine, ahead), stance, reach, scale)
        elif sign != stance.side and stance.other in ("shake", "wipe"):
            hand = shoulder + scale * _busy_hand(stance.other, sign, swing)
        else:
            hand = shoulder + scale * (0.09 * sign * across + _vector(zero, zero - 0.55, zero + 0.06))
        outward = 0.6 * sign * across + _vector(zero, zero - 1, zero - 0.4)
        elbow, hand = _bend(shoulder, hand, 0.29 * scale, 0.30 * scale, outward)
        place |= {f"shoulder_{name}": shoulder, f"elbow_{name}": elbow, f"hand_{name}": hand}

        lift = np.clip(sign * swing, 0, 1) * 0.28 if stance.other == "march" else zero
        hip = pelvis + 0.10 * scale * sign * across
        foot = scale * _vector(zero + 0.13 * sign, 0.07 + lift, 0.02 + 0.12 * lift)
        knee, foot = _bend(hip, foot, 0.45 * scale, 0.45 * scale, _vector(zero, zero, zero + 1))
        place |= {f"hip_{name}": hip, f"knee_{name}": knee, f"foot_{name}": foot}

    local = np.stack([place[name] for name in JOINTS], axis=1)  # (T, J, 3)
    sine, cosine = np.sin(stance.facing_radians), np.cos(stance.facing_radians)
    axes = np.array([[-cosine, 0, -sine], [0, 1, 0], [sine, 0, -cosine]])
    turned: Floats = local @ axes + np.array([stance.x_m, 0.0, stance.z_m])
    return turned


def draw_figure(draw: ImageDraw, body: Body, points: Floats, px_per_m: Floats, light: float) -> None:
    """Draw one frame of a body, the far parts first.

    Args:
        draw: the picture.
        body: thickness and colours.
        points: (J, 3): x and y in pixels, and the distance from the camera in metres.
        px_per_m: (J,) scale at each joint.
        light: 0 to 1, darkens everything.
    """
    at = {name: (points[i], px_per_m[i] * body.height_m / 1.75 * body.girth) for i, name in enumerate(JOINTS)}
    parts: list[tuple[float, int]] = []
    limbs: list[tuple[tuple[str, str], tuple[float, float], Colour]] = []
    for side in ("r", "l"):
        forearm = body.shirt if body.sleeves else body.skin
        limbs += [
            ((f"hip_{side}", f"knee_{side}"), (0.085, 0.065), body.trousers),
            ((f"knee_{side}", f"foot_{side}"), (0.062, 0.048), body.trousers),
            ((f"foot_{side}", f"foot_{side}"), (0.062, 0.062), body.shoes),
            ((f"shoulder_{side}", f"elbow_{side}"), (0.060, 0.050), body.shirt),
            ((f"elbow_{side}", f"hand_{side}"), (0.047, 0.038), forearm),
            ((f"hand_{side}", f"hand_{side}"), (0.055, 0.055), body.skin),
        ]
    limbs.append((("neck", "head"), (0.055, 0.055), body.skin))
    for index, ((first, last), _, _) in enumerate(limbs):
        parts.append(((at[first][0][2] + at[last][0][2]) / 2, index))
    parts.append((float(at["pelvis"][0][2] + at["neck"][0][2]) / 2, -1))
    parts.append((float(at["head"][0][2]), -2))
    for _, index in sorted(parts, reverse=True):
        if index == -1:
            _draw_torso(draw, body, at, light)
        elif index == -2:
            _draw_head(draw, body, at, light)
        else:
            (first, last), (wide, narrow), colour = limbs[index]
            start, end = at[first], at[last]
            # A dark rim, as folds and shadows give it, keeps an arm visible before the own body.
            for rim, shade in ((0.016, 0.5), (0.0, 1.0)):
                radii = (wide + rim) * start[1], (narrow + rim) * end[1]
                _draw_limb(draw, start[0], end[0], *radii, _shade(colour, shade * light))


def _striking_hand(
    head: Floats, axes: tuple[Floats, Floats, Floats], stance: Stance, reach: Floats, scale: float
) -> Floats:
    outward, up, ahead = axes
    away = 0.8 * outward + 0.6 * ahead
    out_m, up_m = stance.drawn_back_m
    gap = (0.15 + out_m * (1 - reach))[:, None]
    return head + scale * (gap * away + (up_m * (1 - reach))[:, None] * up)


def _busy_hand(other: Other, sign: int, swing: Floats) -> Floats:
    """From the shoulder, body axes upright: beside the hip for shaking, before the belly for wiping."""
    zero = np.zeros_like(swing)
    if other == "shake":
        return _vector(sign * (0.24 + 0.20 * swing), zero - 0.28 + 0.06 * swing**2, zero + 0.24)
    return _vector(sign * (-0.05 + 0.17 * swing), zero - 0.30 + 0.08 * swing, zero + 0.33)


def _bend(root: Floats, goal: Floats, upper: float, lower: float, pole: Floats) -> tuple[Floats, Floats]:
    """Middle joint and end (T, 3) of a two-part limb from `root` towards `goal`, bent towards `pole`."""
    way = goal - root
    distance = np.linalg.norm(way, axis=1, keepdims=True)
    along = way / np.maximum(distance, 1e-6)
    distance = np.clip(distance, abs(upper - lower) + 0.01, upper + lower - 0.002)
    pole = pole - (pole * along).sum(axis=1, keepdims=True) * along
    pole = pole / np.maximum(np.linalg.norm(pole, axis=1, keepdims=True), 1e-6)
    forward = (upper**2 - lower**2 + distance**2) / (2 * distance)
    sideways = np.sqrt(np.maximum(upper**2 - forward**2, 0.0))
    return root + forward * along + sideways * pole, root + distance * along


def _vector(x: Floats, y: Floats, z: Floats) -> Floats:
    return np.stack(np.broadcast_arrays(x, y, z), axis=1).astype(np.float64)


def _draw_limb(draw: ImageDraw, start: Floats, end: Floats, wide: float, narrow: float, colour: Colour) -> None:
    (x0, y0), (x1, y1) = start[:2], end[:2]
    length = float(np.hypot(x1 - x0, y1 - y0))
    if length > 0.5:
        ux, uy = (x1 - x0) / length, (y1 - y0) / length
        outline = [
            (x0 - uy * wide, y0 + ux * wide),
            (x1 - uy * narrow, y1 + ux * narrow),
            (x1 + uy * narrow, y1 - ux * narrow),
            (x0 + uy * wide, y0 - ux * wide),
        ]
        draw.polygon(outline, fill=colour)
    draw.ellipse((x0 - wide, y0 - wide, x0 + wide, y0 + wide), fill=colour)
    draw.ellipse((x1 - narrow, y1 - narrow, x1 + narrow, y1 + narrow), fill=colour)


def _draw_torso(draw: ImageDraw, body: Body, at: dict[str, tuple[Floats, float]], light: float) -> None:
    shirt = _shade(body.shirt, 0.88 * light)
    corners = [at[name][0] for name in ("shoulder_r", "shoulder_l", "hip_l", "hip_r")]
    draw.polygon([(x, y) for x, y, _ in corners], fill=shirt)
    # Seen from the side the quad collapses; the spine and the two girdles keep the trunk's thickness.
    for first, last, wide, narrow in (
        ("neck", "pelvis", 0.105, 0.115),
        ("shoulder_r", "shoulder_l", 0.065, 0.065),
        ("hip_r", "hip_l", 0.085, 0.085),
    ):
        start, end = at[first], at[last]
        _draw_limb(draw, start[0], end[0], wide * start[1], narrow * end[1], shirt)


def _draw_head(draw: ImageDraw, body: Body, at: dict[str, tuple[Floats, float]], light: float) -> None:
    (x, y, _), size = at["head"]
    neck = at["neck"][0]
    up = np.array([x - neck[0], y - neck[1]])
    up = up / max(float(np.hypot(*up)), 1e-6)
    across, along = 0.098 * size, 0.125 * size
    top = (x + up[0] * 0.035 * size, y + up[1] * 0.035 * size)
    draw.ellipse((x - across, y - along, x + across, y + along), fill=_shade(body.skin, light))
    crown = 0.100 * size
    draw.chord(
        (top[0] - crown, top[1] - crown, top[0] + crown, top[1] + crown), 170, 370, fill=_shade(body.hair, light)
    )


def _shade(colour: Colour, light: float) -> Colour:
    red, green, blue = (round(value * light) for value in colour)
    return red, green, blue
