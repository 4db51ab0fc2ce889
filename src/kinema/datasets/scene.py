"""The rooms of the synthetic data set: walls, furniture, light, and the camera that watches them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from kinema.datasets.figure import JOINTS, Body, Colour, draw_figure
from kinema.datasets.motion import Floats

__all__ = ["Camera", "Light", "Room", "Scene", "film_scene", "make_scene", "project"]

_OVERSAMPLING = 2
_RUN_FRAMES = 64
_NEAREST_M = 0.15
"""Nothing nearer to the camera than this is drawn."""
_LUMA = (0.299, 0.587, 0.114)
_SKIN: tuple[Colour, ...] = ((234, 192, 164), (214, 165, 130), (176, 124, 90), (122, 84, 60), (86, 58, 42))
_HAIR: tuple[Colour, ...] = ((30, 24, 22), (60, 40, 28), (110, 78, 46), (120, 116, 112))
_WALLS: tuple[Colour, ...] = (
    (196, 194, 184), (176, 188, 178), (170, 182, 196), (206, 192, 168), (188, 176, 172), (160, 166, 168),
)  # fmt: skip
_FLOORS: tuple[Colour, ...] = ((128, 122, 114), (140, 116, 92), (104, 108, 112), (122, 130, 124), (112, 94, 78))


@dataclass(frozen=True)
class Camera:
    """A pinhole without distortion.

    Attributes:
        x_m, y_m, z_m: its place; the room begins at z = 0 and lies towards greater z.
        tilt_radians: how far it looks down.
        pan_radians: how far it looks to the right.
        roll_radians: how far the picture is turned clockwise.
        view_radians: angle between the upper and the lower edge of the picture.
    """

    x_m: float
    y_m: float
    z_m: float
    tilt_radians: float
    pan_radians: float
    roll_radians: float
    view_radians: float


@dataclass(frozen=True)
class Room:
    """A cell of `width_m` (x, centred on 0), `height_m` (y, from 0) and `depth_m` (z, from 0).

    Attributes:
        width_m, height_m, depth_m: inner sides.
        wall, floor, bed, wood: colours, RGB 0 to 255.
        bed_side: +1 with the bed along the right wall, -1 the left; the table stands on the other side.
        window_x_m: middle of the barred window in the back wall.
        tile_m: side of the floor's tiles.
        dado_m: height up to which the walls are painted darker; 0 for none.
    """

    width_m: float
    height_m: float
    depth_m: float
    wall: Colour
    floor: Colour
    bed: Colour
    wood: Colour
    bed_side: int
    window_x_m: float
    tile_m: float
    dado_m: float


@dataclass(frozen=True)
class Light:
    """What light and sensor do to the picture.

    Attributes:
        brightness: factor on all pixels.
        cast: factor on red, green and blue.
        gradient: relative change from edge to edge, in x and in y.
        vignette: relative darkening of the corners.
        flicker: relative amplitude of a slow change of brightness.
        flicker_hz: its frequency.
        noise: standard deviation of the sensor's noise, in steps of 0 to 255.
    """

    brightness: float
    cast: tuple[float, float, float]
    gradient: tuple[float, float]
    vignette: float
    flicker: float
    flicker_hz: float
    noise: float


@dataclass(frozen=True)
class Scene:
    """One fixed camera in one room with one person."""

    camera: Camera
    room: Room
    light: Light
    body: Body


class _Surface(Protocol):
    def __call__(self, corners: Sequence[tuple[float, float, float]], colour: Colour, light: float = 1.0) -> None:
        """Draw a flat polygon given by its corners in the world."""


def make_scene(rng: np.random.Generator) -> Scene:
    """Draw a scene."""
    room = Room(
        width_m=rng.uniform(2.3, 2.7),
        height_m=rng.uniform(2.5, 2.8),
        depth_m=rng.uniform(2.6, 3.2),
        wall=_near(_WALLS, rng),
        floor=_near(_FLOORS, rng),
        bed=_any_colour(rng, 60, 190),
        wood=_near(((134, 96, 62), (96, 100, 106), (164, 140, 110)), rng),
        bed_side=int(rng.choice((-1, 1))),
        window_x_m=rng.uniform(-0.5, 0.5),
        tile_m=rng.uniform(0.3, 0.6),
        dado_m=float(rng.choice((0.0, 0.9, 1.2))),
    )
    x_m, y_m, z_m = rng.uniform(-0.5, 0.5), rng.uniform(1.7, 2.35), rng.uniform(-0.9, -0.5)
    # Aimed at the chest of somebody in the middle of the room, within a few degrees.
    ahead = 0.58 * room.depth_m - z_m
    camera = Camera(
        x_m,
        y_m,
        z_m,
        tilt_radians=np.arctan2(y_m - 0.95, ahead) + rng.normal(0, 0.02),
        pan_radians=np.arctan2(-x_m, ahead) + rng.normal(0, 0.02),
        roll_radians=rng.normal(0, 0.02),
        view_radians=2 * np.arctan(rng.uniform(0.98, 1.15) / np.hypot(ahead, y_m - 0.95)),
    )
    light = Light(
        brightness=rng.uniform(0.75, 1.15),
        cast=(rng.uniform(0.92, 1.08), 1.0, rng.uniform(0.88, 1.1)),
        gradient=(rng.uniform(-0.25, 0.25), rng.uniform(-0.2, 0.1)),
        vignette=rng.uniform(0.0, 0.35),
        flicker=rng.uniform(0.0, 0.03),
        flicker_hz=rng.uniform(0.1, 0.6),
        noise=rng.uniform(1.0, 3.5),
    )
    body = Body(
        height_m=rng.uniform(1.6, 1.88),
        girth=rng.uniform(0.95, 1.3),
        skin=_near(_SKIN, rng),
        hair=_near(_HAIR, rng),
        shirt=_unlike(room.wall, rng),
        trousers=_any_colour(rng, 30, 130),
        shoes=_any_colour(rng, 20, 80),
        sleeves=bool(rng.uniform() < 0.7),
    )
    return Scene(camera, room, light, body)


def project(camera: Camera, points: Floats, size: tuple[int, int]) -> Floats:
    """Points (..., 3) of the world in the picture: (..., 3) x and y in pixels, and distance in metres."""
    return _to_picture(camera, _to_camera(camera, points), size)


def film_scene(
    scene: Scene, places: Floats, size: tuple[int, int], fps: float, rng: np.random.Generator
) -> Iterator[npt.NDArray[np.uint8]]:
    """Film a person, a run of frames after another.

    Args:
        scene: where and who.
        places: joints (T, J, 3) in the world, metres.
        size: (width, height) of the picture in pixels.
        fps: frames a second, for the flicker.
        rng: sensor noise.

    Yields:
        uint8 RGB (up to 64, height, width, 3), T frames in all.
    """
    width, height = size
    fine = (width * _OVERSAMPLING, height * _OVERSAMPLING)
    room = _draw_room(scene, fine, rng)
    points = project(scene.camera, places, fine)  # (T, J, 3)
    px_per_m = _focal_px(scene.camera, fine[1]) / points[..., 2]
    shadow, shade = _shadow(scene, places[0], fine)
    gain = _gain(scene.light, size)  # (H, W, 3)
    phase = rng.uniform(0, 2 * np.pi)
    run = np.empty((_RUN_FRAMES, height, width, 3), np.uint8)
    for index in range(len(places)):
        picture = room.copy()
        draw = ImageDraw.Draw(picture)
        draw.polygon(shadow, fill=shade)
        draw_figure(draw, scene.body, points[index], px_per_m[index], 0.95)
        pixels = np.asarray(picture.reduce(_OVERSAMPLING), np.float32)
        flicker = 1 + scene.light.flicker * np.sin(phase + 2 * np.pi * scene.light.flicker_hz * index / fps)
        noise = rng.standard_normal((height, width, 1), np.float32) * scene.light.noise
        run[index % _RUN_FRAMES] = np.clip(pixels * (gain * np.float32(flicker)) + noise, 0, 255)
        if index % _RUN_FRAMES == _RUN_FRAMES - 1:
            yield run.copy()
    if len(places) % _RUN_FRAMES:
        yield run[: len(places) % _RUN_FRAMES].copy()


def _draw_room(scene: Scene, size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    room = scene.room
    picture = Image.new("RGB", size, (40, 40, 42))
    draw = ImageDraw.Draw(picture)

    def surface(corners: Sequence[tuple[float, float, float]], colour: Colour, light: float = 1.0) -> None:
        outline = _visible(scene.camera, np.array(corners, np.float64), size)
        if len(outline) > 2:
            draw.polygon(outline, fill=_shade(colour, light))

    half, top, back = room.width_m / 2, room.height_m, room.depth_m
    front = -2.0
    surface([(-half, 0, front), (half, 0, front), (half, 0, back), (-half, 0, back)], room.floor)
    surface([(-half, top, front), (half, top, front), (half, top, back), (-half, top, back)], room.wall, 1.12)
    for y0, y1, tint in ((room.dado_m, top, 1.0), (0.0, room.dado_m, 0.84), (0.0, 0.08, 0.62)):
        surface([(-half, y0, back), (half, y0, back), (half, y1, back), (-half, y1, back)], room.wall, tint)
        surface([(-half, y0, front), (-half, y0, back), (-half, y1, back), (-half, y1, front)], room.wall, 0.9 * tint)
        surface([(half, y0, front), (half, y0, back), (half, y1, back), (half, y1, front)], room.wall, 0.8 * tint)
    for x in np.arange(-half, half, room.tile_m):
        surface([(x, 0, front), (x + 0.015, 0, front), (x + 0.015, 0, back), (x, 0, back)], room.floor, 0.85)
    for z in np.arange(0.0, back, room.tile_m):
        surface([(-half, 0, z), (half, 0, z), (half, 0, z + 0.015), (-half, 0, z + 0.015)], room.floor, 0.85)
    _draw_window(room, surface)
    _draw_furniture(room, surface)

    pixels = np.asarray(picture, np.float32)
    stains = Image.fromarray(rng.normal(0, 5, (size[1] // 16 + 1, size[0] // 16 + 1)).astype(np.float32))
    grain = np.asarray(stains.resize(size, Image.Resampling.BICUBIC)) + rng.normal(0, 2.5, (size[1], size[0]))
    return Image.fromarray(np.clip(pixels + grain[..., None], 0, 255).astype(np.uint8))


def _draw_window(room: Room, surface: _Surface) -> None:
    x, back = room.window_x_m, room.depth_m - 0.01
    bottom, top = 1.45, 2.1
    for grow, colour in ((0.05, (92, 92, 94)), (0.0, (232, 238, 244))):
        x0, x1 = x - 0.35 - grow, x + 0.35 + grow
        y0, y1 = bottom - grow, top + grow
        surface([(x0, y0, back), (x1, y0, back), (x1, y1, back), (x0, y1, back)], colour)
    for bar in np.linspace(x - 0.35, x + 0.35, 6)[1:-1]:
        left, right = bar - 0.015, bar + 0.015
        surface([(left, bottom, back), (right, bottom, back), (right, top, back), (left, top, back)], (92, 92, 94))


def _draw_furniture(room: Room, surface: _Surface) -> None:
    side, half, back = room.bed_side, room.width_m / 2, room.depth_m
    # The bed lies across the corner at the back wall, the table in the other one: behind the person.
    inner, outer = side * (half - 1.5), side * (half - 0.02)
    _draw_box(surface, (min(inner, outer), 0.0, back - 0.62), (max(inner, outer), 0.32, back), room.wood)
    _draw_box(surface, (min(inner, outer), 0.32, back - 0.62), (max(inner, outer), 0.46, back), room.bed)
    pillow = side * (half - 0.38)
    _draw_box(surface, (min(pillow, outer), 0.46, back - 0.55), (max(pillow, outer), 0.56, back - 0.1), (216, 214, 206))
    inner, outer = -side * (half - 0.5), -side * (half - 0.02)
    low, high = min(inner, outer), max(inner, outer)
    for leg in (low, high - 0.05):
        _draw_box(surface, (leg, 0.0, back - 0.5), (leg + 0.05, 0.7, back - 0.45), room.wood)
    _draw_box(surface, (low, 0.70, back - 0.5), (high, 0.75, back), room.wood)


def _draw_box(
    surface: _Surface, low: tuple[float, float, float], high: tuple[float, float, float], colour: Colour
) -> None:
    """The faces of a box that a raised camera in front of it can see: top, sides, front."""
    (x0, y0, z0), (x1, y1, z1) = low, high
    surface([(x0, y1, z0), (x1, y1, z0), (x1, y1, z1), (x0, y1, z1)], colour, 1.1)
    inner = x0 if x0 > 0 else x1  # the side that faces the middle of the room
    surface([(inner, y0, z0), (inner, y0, z1), (inner, y1, z1), (inner, y1, z0)], colour, 0.75)
    surface([(x0, y0, z0), (x1, y0, z0), (x1, y1, z0), (x0, y1, z0)], colour, 0.9)


def _gain(light: Light, size: tuple[int, int]) -> npt.NDArray[np.float32]:
    y, x = np.mgrid[-1 : 1 : size[1] * 1j, -1 : 1 : size[0] * 1j]
    shade = 1 + light.gradient[0] * x / 2 + light.gradient[1] * y / 2 - light.vignette * (x**2 + y**2) / 2
    gain = light.brightness * shade[..., None] * np.array(light.cast)  # (H, W, 3)
    return np.asarray(gain, np.float32)


def _shadow(scene: Scene, places: Floats, size: tuple[int, int]) -> tuple[list[tuple[float, float]], Colour]:
    """Outline in pixels and colour of the soft patch under somebody whose joints (J, 3) are given."""
    x, _, z = places[JOINTS.index("pelvis")]
    turn = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    circle = np.stack([x + 0.34 * np.cos(turn), np.full(24, 0.003), z + 0.24 * np.sin(turn)], axis=1)
    return _visible(scene.camera, circle, size), _shade(scene.room.floor, 0.68)


def _visible(camera: Camera, corners: Floats, size: tuple[int, int]) -> list[tuple[float, float]]:
    """The part of a flat polygon (P, 3) in front of the camera, as pixels."""
    inside: list[Floats] = []
    seen = _to_camera(camera, corners)
    for here, there in zip(seen, np.roll(seen, -1, axis=0), strict=True):
        if here[2] >= _NEAREST_M:
            inside.append(here)
        if (here[2] >= _NEAREST_M) != (there[2] >= _NEAREST_M):
            share = (_NEAREST_M - here[2]) / (there[2] - here[2])
            inside.append(here + share * (there - here))
    if not inside:
        return []
    return [(float(x), float(y)) for x, y, _ in _to_picture(camera, np.array(inside), size)]


def _to_camera(camera: Camera, points: Floats) -> Floats:
    """World -> camera axes: right, up, away."""
    moved = points - np.array([camera.x_m, camera.y_m, camera.z_m])
    sine, cosine = np.sin(camera.pan_radians), np.cos(camera.pan_radians)
    pan = np.array([[cosine, 0, -sine], [0, 1, 0], [sine, 0, cosine]])
    sine, cosine = np.sin(camera.tilt_radians), np.cos(camera.tilt_radians)
    tilt = np.array([[1, 0, 0], [0, cosine, sine], [0, -sine, cosine]])
    sine, cosine = np.sin(camera.roll_radians), np.cos(camera.roll_radians)
    roll = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
    turned: Floats = moved @ (roll @ tilt @ pan).T
    return turned


def _to_picture(camera: Camera, seen: Floats, size: tuple[int, int]) -> Floats:
    width, height = size
    scale = _focal_px(camera, height) / seen[..., 2]
    return np.stack([width / 2 + scale * seen[..., 0], height / 2 - scale * seen[..., 1], seen[..., 2]], axis=-1)


def _focal_px(camera: Camera, height: int) -> float:
    return float(height / 2 / np.tan(camera.view_radians / 2))


def _near(palette: Sequence[Colour], rng: np.random.Generator) -> Colour:
    """A colour of the palette, slightly off."""
    red, green, blue = np.clip(np.array(palette[int(rng.integers(len(palette)))]) + rng.normal(0, 8, 3), 5, 245)
    return round(red), round(green), round(blue)


def _any_colour(rng: np.random.Generator, low: int, high: int) -> Colour:
    red, green, blue = rng.integers(low, high, 3).tolist()
    return red, green, blue


def _unlike(wall: Colour, rng: np.random.Generator) -> Colour:
    """Any colour that stands out from the wall in brightness."""
    while True:
        colour = _any_colour(rng, 25, 225)
        if abs(np.dot(np.subtract(colour, wall), _LUMA)) > 50:
            return colour


def _shade(colour: Colour, light: float) -> Colour:
    red, green, blue = (min(255, round(value * light)) for value in colour)
    return red, green, blue
