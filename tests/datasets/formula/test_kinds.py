"""What every kind of scenes promises: the class is in the motion, and in no single picture."""

import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.model_selection import GroupKFold, cross_val_score

from kinema.core.seeds import stream
from kinema.datasets.formula.synthesis import KINDS, Synthesis, film, synthesize
from kinema.video.file import VideoFile

SMALL = Synthesis(seed=3, size_px=32, frames=24)
ALL = pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))


def looks(picture):
    """Statistics of one picture (H, W, 3): levels, colours, edges, and where it is bright."""
    pixels = picture.astype(np.float32) / 255
    grey = pixels.mean(-1)
    down, across = np.gradient(grey)
    edges = (np.abs(across).mean(), np.abs(down).mean(), (across * down).mean())
    coarse = grey.reshape(8, 4, 8, 4).mean((1, 3)).ravel()
    levels = np.quantile(grey, (0.05, 0.25, 0.5, 0.75, 0.95))
    return np.concatenate([pixels.mean((0, 1)), pixels.std((0, 1)), levels, edges, coarse])


def motion(pictures):
    """Statistics of how pictures (T, H, W, 3) change: the affine motion that explains most, and what it leaves."""
    grey = pictures.astype(np.float32).mean(-1) / 255
    change = np.diff(grey, axis=0)
    count = len(change)
    down, across = (part[:-1] for part in np.gradient(grey, axis=(1, 2)))
    y, x = np.mgrid[-1:1:32j, -1:1:32j]
    parts = (across, across * x, across * y, down, down * x, down * y)
    basis = np.stack(parts, 1).reshape(count, 6, -1)
    flat = change.reshape(count, -1)
    normal = np.einsum("tin,tjn->tij", basis, basis) + 1e-3 * np.eye(6)
    found = np.linalg.solve(normal, -np.einsum("tin,tn->ti", basis, flat)[..., None])[..., 0]
    left = flat + np.einsum("tin,ti->tn", basis, found)
    unexplained = (left**2).mean(1) / ((flat**2).mean(1) + 1e-6)
    amount = np.abs(change).mean((1, 2)) / (grey.std() + 1e-3)
    speed, growth = np.hypot(found[:, 0], found[:, 3]), found[:, 1] + found[:, 5]
    turn, shear = found[:, 4] - found[:, 2], np.hypot(found[:, 1] - found[:, 5], found[:, 2] + found[:, 4])
    courses = (speed, growth, np.abs(growth), np.abs(turn), shear, unexplained, amount)
    spread = [value for one in courses for value in (one.mean(), one.std(), *np.quantile(one, (0.1, 0.5, 0.9)))]
    where = np.abs(change).mean(0).reshape(4, 8, 4, 8).mean((1, 3)).ravel()
    steady = (abs(turn.mean()), np.hypot(found[:, 0].mean(), found[:, 3].mean()))
    return np.array([*spread, *steady, *where])


def told(kind, films, count):
    """How often unseen scenes are told right by one picture of each clip, and by its motion."""
    stills, motions, classes, groups = [], [], [], []
    for number in range(count):
        for index, label in enumerate(kind.classes):
            pictures = films(label, number)
            stills.append(looks(pictures[stream(9, label, number).integers(len(pictures))]))
            motions.append(motion(pictures))
            classes.append(index)
            groups.append(number)
    return [
        cross_val_score(
            ExtraTreesClassifier(100, random_state=0), np.array(seen), classes, groups=groups, cv=GroupKFold(4)
        ).mean()
        for seen in (stills, motions)
    ]


@ALL
def test_single_pictures_do_not_tell_the_class_and_motion_does(kind):
    still, moving = told(kind, lambda label, number: film(label, number, SMALL), 8)
    chance = 1 / len(kind.classes)
    assert still < 2 * chance  # of 80 clips or more; the slow test below is sharper
    assert moving > 3 * chance


@pytest.mark.slow
@ALL
def test_nor_do_the_pictures_of_encoded_clips(kind, tmp_path):
    synthesize(tmp_path / "set", clips_per_class=40, synthesis=SMALL, kinds=[kind.name], workers=0)

    def decoded(label, number):
        with VideoFile(tmp_path / "set" / label / f"{number:05d}.mp4") as video:
            return video.read(range(len(video.pts))).data.permute(0, 2, 3, 1).numpy()

    still, moving = told(kind, decoded, 40)
    chance = 1 / len(kind.classes)
    assert still < 1.5 * chance
    assert moving > 4 * chance


@ALL
def test_all_classes_begin_with_the_same_picture_and_go_on_otherwise(kind):
    films = [film(label, 4, SMALL) for label in kind.classes]
    for one in films:
        assert (one.dtype, one.shape) == (np.uint8, (24, 32, 32, 3))
        np.testing.assert_array_equal(one[0], films[0][0])
    ends = {one[8:].tobytes() for one in films}
    assert len(ends) == len(films)
    assert np.abs(film(kind.classes[0], 5, SMALL)[0].astype(int) - films[0][0]).mean() > 5


@ALL
def test_clips_move_and_can_be_seen(kind):
    for label in kind.classes:
        moved = [np.abs(np.diff(film(label, number, SMALL).astype(int), axis=0)).max() for number in range(3)]
        assert min(moved) > 10
    contrasts = [film(kind.classes[0], number, SMALL)[0].std() for number in range(8)]
    assert min(contrasts) > 8


@ALL
def test_a_scene_is_the_same_at_every_size_and_rate(kind):
    label = kind.classes[0]
    large = film(label, 0, Synthesis(size_px=64, frames=9, fps=8)).astype(float)
    small = film(label, 0, Synthesis(size_px=32, frames=17, fps=16)).astype(float)
    halved = large.reshape(9, 32, 2, 32, 2, 3).mean((2, 4))
    for moment in (0, 8):
        seen, shrunk = (one[2 * moment if one is small else moment].mean(-1).ravel() for one in (small, halved))
        assert np.corrcoef(seen, shrunk)[0, 1] > 0.8


PICTURES = {
    "figure-walking": (53.8, 55.8, 69.2, 54.1),
    "figure-pushing": (53.7, 55.8, 66.1, 58.1),
    "flow-expanding": (59.5, 61.7, 53.5, 59.6),
    "flow-boiling": (62.4, 63.9, 59.7, 57.4),
    "fractal-turning": (43.7, 46.5, 54.9, 47.1),
    "fractal-unfolding": (47.1, 39.5, 62.9, 41.2),
}
"""Mean level of the last picture of clip 0 in its four quarters, from the upper left."""


@pytest.mark.parametrize("label", PICTURES)
def test_formulas_give_what_they_gave(label):
    """Where this fails on purpose, `_FORMULAS` in synthesis.py has to be raised, so that no folder mixes both."""
    quarters = film(label, 0, SMALL)[-1].reshape(2, 16, 2, 16, 3).mean((1, 3, 4))
    assert tuple(quarters.ravel()) == pytest.approx(PICTURES[label], abs=0.4)
