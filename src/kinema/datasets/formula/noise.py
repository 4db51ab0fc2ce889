"""Gradient noise (Perlin, "An image synthesizer", SIGGRAPH 1985) on a tile that repeats without a seam.

With time the gradients of the lattice may turn in place, all at one rate, so that the noise boils without
going anywhere (after Perlin and Neyret, "Flow noise", SIGGRAPH 2001 technical sketches).
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["CELLS", "TILE_PX", "Colours", "Singles", "draw_gradients", "make_tile", "picture", "read_tile", "spectrum"]

Colours: TypeAlias = NDArray[np.uint8]
Singles: TypeAlias = NDArray[np.float32]

CELLS = 16
"""Lattice cells on each side of a tile."""
TILE_PX = 128
"""Pixels on each side of a tile; a power of two, which makes repeating cheap."""


def draw_gradients(rng: np.random.Generator) -> NDArray[np.float64]:
    """Directions of the lattice's gradients in turns, (CELLS, CELLS)."""
    return rng.random((CELLS, CELLS))


def make_tile(gradients: NDArray[np.float64], turns: NDArray[np.float64]) -> Singles:
    """Noise with its gradients turned by each of `turns` (T,): (T, TILE_PX, TILE_PX), about within -1 and 1."""
    angles = (2 * np.pi * (gradients + turns[:, None, None])).astype(np.float32)
    across, down = np.cos(angles), np.sin(angles)
    scale = TILE_PX // CELLS
    place = ((np.arange(scale) + 0.5) / scale).astype(np.float32)
    y, x = place[:, None], place[None, :]
    ease_y, ease_x = _ease(y), _ease(x)
    count = len(turns)
    total = np.zeros((count, CELLS, scale, CELLS, scale), np.float32)
    for step_y, weight_y in ((0, 1 - ease_y), (1, ease_y)):
        for step_x, weight_x in ((0, 1 - ease_x), (1, ease_x)):
            corner = (-step_y, -step_x)
            weight = weight_y * weight_x
            # (T, CELLS, 1, CELLS, 1) times (scale, 1, scale): every cell sees the same small picture.
            total += np.roll(across, corner, (1, 2))[:, :, None, :, None] * ((x - step_x) * weight)[:, None, :]
            total += np.roll(down, corner, (1, 2))[:, :, None, :, None] * ((y - step_y) * weight)[:, None, :]
    return (total * np.float32(1.4)).reshape(count, TILE_PX, TILE_PX)


def read_tile(tile: Singles, x: Singles, y: Singles) -> Singles:
    """The tile at places (T, H, W) in pixels of it, between which it is linear, and beyond which it repeats.

    Args:
        tile: (T, TILE_PX, TILE_PX), or (1, TILE_PX, TILE_PX) where it stands still.
        x: places to the right.
        y: places down.
    """
    left, top = np.floor(x), np.floor(y)
    share_x, share_y = x - left, y - top
    column, row = left.astype(np.int32) & (TILE_PX - 1), top.astype(np.int32) & (TILE_PX - 1)
    right, below = (column + 1) & (TILE_PX - 1), (row + 1) & (TILE_PX - 1)
    moment = np.arange(len(tile), dtype=np.int32)[:, None, None] * TILE_PX
    upper, lower = (row + moment) * TILE_PX, (below + moment) * TILE_PX
    flat = tile.reshape(-1)
    above = flat.take(upper + column)
    above += (flat.take(upper + right) - above) * share_x
    under = flat.take(lower + column)
    under += (flat.take(lower + right) - under) * share_x
    above += (under - above) * share_y
    return above


def spectrum(rng: np.random.Generator) -> Colours:
    """Colours (256, 3) that run smoothly through four random ones, dark and bright in turn."""
    knots = np.array([50, 105, 150, 205]) + rng.uniform(-15, 15, 4)
    dark, bright = rng.uniform(0, 110, (2, 3)), rng.uniform(120, 255, (2, 3))
    colours = np.stack((dark[0], bright[0], dark[1], bright[1]))  # neighbours differ, so that motion shows
    levels = np.arange(256)
    return np.stack([np.interp(levels, knots, colours[:, one]) for one in range(3)], axis=1).astype(np.uint8)


def picture(rng: np.random.Generator, size_px: int, *, cell_px: float) -> NDArray[np.uint8]:
    """A still texture (size_px, size_px, 3): three octaves of noise, the largest cells `cell_px` wide."""
    tile = make_tile(draw_gradients(rng), np.zeros(1))
    places = np.arange(size_px, dtype=np.float32)
    total = np.zeros((1, size_px, size_px), np.float32)
    for octave in range(3):
        scale = np.float32(TILE_PX / CELLS / cell_px * 2**octave)
        x, y = np.meshgrid(*(scale * places + np.float32(rng.uniform(0, TILE_PX)) for _ in range(2)))
        total += read_tile(tile, x[None], y[None]) / np.float32(2**octave)
    levels = np.clip(128 + 100 * total[0], 0, 255).astype(np.uint8)
    coloured: NDArray[np.uint8] = spectrum(rng)[levels]
    return coloured


def _ease(share: Singles) -> Singles:
    return share * share * share * (share * (share * 6 - 15) + 10)
