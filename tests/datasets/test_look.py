from fractions import Fraction

import numpy as np
import pytest
import torch

from kinema.datasets.look import Watcher, mirrored_motion
from kinema.datasets.place import alike
from kinema.video.frame import Frames


def look(pictures, *, fps=12, chunk=7):
    """What a video of `pictures` (T, H, W, 3) looks like, taken in chunks."""
    watcher = Watcher()
    data = torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous()
    for start in range(0, len(data), chunk):
        part = data[start : start + chunk]
        watcher.see(Frames(part, tuple(range(start, start + len(part))), Fraction(1, fps)))
    return watcher.look()


def likeness(one, other):
    """How alike the least alike third of two looks is."""
    places = [torch.from_numpy(each.backgrounds)[:, None] for each in (one, other)]
    return float(alike(*places).min())


def test_nothing_looks_like_nothing():
    assert Watcher().look() is None


@pytest.mark.parametrize("chunk", [1, 5, 48])
def test_chunks_do_not_matter(scenes, chunk):
    pictures = scenes.frames(1, 1)
    whole, parts = look(pictures, chunk=48), look(pictures, chunk=chunk)
    assert np.array_equal(whole.backgrounds, parts.backgrounds)
    assert np.array_equal(whole.motion, parts.motion)
    assert (whole.black_share, whole.frozen_share) == (parts.black_share, parts.frozen_share)


def test_backgrounds_tell_places_whatever_moves_and_however_light_it_is(scenes):
    here = look(scenes.frames(1, 1))
    assert likeness(here, look(scenes.frames(1, 2))) > 0.5
    assert likeness(here, look(scenes.halved(scenes.frames(1, 1)))) > 0.8
    assert likeness(here, look((scenes.frames(1, 1) * 0.7).astype(np.uint8))) > 0.9
    assert likeness(here, look((scenes.frames(1, 1) * 0.1).astype(np.uint8))) > 0.6  # nearly dark
    assert likeness(here, look(scenes.frames(2, 1))) < 0.3


def test_motion_is_what_differs_from_the_background(scenes):
    motion = look(scenes.frames(1, 1)).motion
    assert motion.shape[1:] == (8, 8)
    assert motion.max() == 127
    assert np.median(motion) == 0
    assert not look(scenes.frames(1, 1, count=1)).motion.any()


def test_black_frames_are_counted(scenes):
    pictures = scenes.frames(1, 1)
    pictures[:36] = 3
    seen = look(pictures)
    assert seen.black_share == 0.75
    assert "black" in seen.dull
    assert look(scenes.frames(1, 1)).black_share == 0
    dark = np.full((10, 32, 32, 3), 8, np.uint8)
    dark[:, 10:14, 10:14] = 60  # a lamp in the dark
    assert look(dark).black_share == 0


def test_frozen_frames_are_counted_from_the_second_on(scenes):
    pictures = scenes.frames(1, 1)
    pictures[13:] = pictures[12]
    seen = look(pictures)
    assert seen.frozen_share == 35 / 47
    assert seen.dull == ("frozen",)
    assert look(scenes.frames(1, 1)).frozen_share == 0
    assert look(scenes.frames(1, 1, count=1)).frozen_share == 0


def test_flat_pictures_have_no_background():
    noise = np.random.default_rng(0).integers(127, 130, (32, 32, 1), np.uint8)
    seen = look(np.broadcast_to(noise, (12, 32, 32, 3)).copy())
    assert seen.backgrounds.shape == (3, 8, 16, 16)
    assert not seen.backgrounds.any()


@pytest.mark.parametrize(
    ("count", "instants", "step"), [(24, 16, 0.125), (96, 64, 0.125), (97, 33, 0.25), (800, 34, 2)]
)
def test_long_videos_are_seen_at_wider_steps(count, instants, step):
    seen = look(np.zeros((count, 8, 8, 3), np.uint8), chunk=100)
    assert len(seen.motion) == instants
    assert seen.step_seconds == step


def test_slow_frames_are_shown_until_the_next(scenes):
    seen = look(scenes.frames(1, 1, count=4), fps=2)
    assert len(seen.motion) == 13
    assert np.array_equal(seen.motion[1], seen.motion[0])
    assert not np.array_equal(seen.motion[4], seen.motion[0])


def test_the_mirrored_film_moves_the_other_way(scenes):
    pictures = scenes.frames(1, 1)
    turned = mirrored_motion(look(pictures))
    assert np.array_equal(turned.motion, look(pictures[:, :, ::-1].copy()).motion)
    assert not np.array_equal(turned.motion, look(pictures).motion)


def test_the_repr_is_short(scenes):
    assert repr(look(scenes.frames(1, 1))) == "Look(32 instants, black 0.00, frozen 0.00)"
