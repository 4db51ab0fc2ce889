"""Noise that repeats without a seam, and is read between its pixels."""

import numpy as np
import pytest

from kinema.core.seeds import stream
from kinema.datasets.formula.noise import CELLS, TILE_PX, draw_gradients, make_tile, picture, read_tile, spectrum


def test_a_tile_has_no_seam_and_no_level_of_its_own():
    tile = make_tile(draw_gradients(stream(0, "noise")), np.zeros(1))[0]
    assert tile.shape == (TILE_PX, TILE_PX)
    cell = TILE_PX // CELLS
    for way in (0, 1):
        steps = np.abs(tile - np.roll(tile, -1, way)).max(axis=1 - way)  # the last of them over the border
        edges = steps[cell - 1 :: cell]
        assert edges.max() <= 1.2 * steps.max(initial=0, where=np.arange(TILE_PX) % cell != cell - 1)
    assert abs(tile.mean()) < 0.05
    assert 0.2 < tile.std() < 0.5
    assert np.abs(tile).max() < 1.2


def test_noise_is_nothing_at_the_corners_of_its_cells():
    tile = make_tile(draw_gradients(stream(0, "noise")), np.zeros(1))[0]
    cell = TILE_PX // CELLS
    around = np.stack([np.roll(tile, step, (0, 1)) for step in ((0, 0), (1, 0), (0, 1), (1, 1))])[:, ::cell, ::cell]
    assert np.abs(around.mean(axis=0)).max() < 0.1


def test_turned_by_half_a_turn_noise_is_its_negative_and_by_a_whole_one_itself():
    tiles = make_tile(draw_gradients(stream(0, "noise")), np.array([0.0, 0.5, 1.0]))
    np.testing.assert_allclose(tiles[1], -tiles[0], atol=1e-5)
    np.testing.assert_allclose(tiles[2], tiles[0], atol=1e-5)


def test_tiles_are_read_linearly_and_repeat():
    tiles = make_tile(draw_gradients(stream(0, "noise")), np.array([0.0, 0.25]))
    x, y = (np.full((2, 1, 1), place, np.float32) for place in (10.25, 127.5))
    above, below = tiles[:, 127, 10:12], tiles[:, 0, 10:12]
    expected = (above @ [0.75, 0.25] + below @ [0.75, 0.25]) / 2
    np.testing.assert_allclose(read_tile(tiles, x, y)[:, 0, 0], expected, atol=1e-5)
    np.testing.assert_allclose(read_tile(tiles, x - 128, y + 256)[:, 0, 0], expected, atol=1e-5)
    np.testing.assert_allclose(read_tile(tiles[:1], x, y)[:, 0, 0], expected[0], atol=1e-5)


@pytest.mark.parametrize("number", range(5))
def test_textures_have_contrast(number):
    shown = picture(stream(number, "texture"), 64, cell_px=20.0)
    assert shown.shape == (64, 64, 3)
    assert shown.mean(axis=2).std() > 12
    assert spectrum(stream(number, "colours")).shape == (256, 3)
