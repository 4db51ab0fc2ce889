import numpy as np
import pytest
import torch

from kinema.datasets import likeness
from kinema.datasets.inspection import inspect_file
from kinema.datasets.likeness import Seen, compare
from kinema.datasets.look import Look
from kinema.datasets.place import alike, describe


def seen(path):
    report = inspect_file(path)
    assert report.reason is None
    return Seen(report.sha256, report.look)


@pytest.fixture(scope="module")
def original(scenes, tmp_path_factory):
    return seen(scenes.write(tmp_path_factory.mktemp("films") / "original.mp4", scenes.frames(1, 1)))


def other(scenes, tmp_path, pictures, **how):
    return seen(scenes.write(tmp_path / "other.mp4", pictures, **how))


def kind(*files):
    pairs = compare(files).pairs
    return pairs[0].kind if pairs else None


def test_copies_are_found_without_looking():
    found = compare(
        [Seen("a", None), Seen("b", None), Seen("a", None), Seen("a", None), Seen("", None), Seen("", None)]
    )
    assert [(pair.first, pair.second, pair.kind) for pair in found.pairs] == [(0, 2, "copy"), (2, 3, "copy")]
    assert found.clusters == (0, 1, 0, 0, 2, 3)


def test_a_film_coded_again_is_a_near_duplicate(scenes, original, tmp_path):
    assert kind(original, other(scenes, tmp_path, scenes.frames(1, 1), crf=36)) == "near duplicate"


def test_a_film_at_half_the_size_is_a_near_duplicate(scenes, original, tmp_path):
    assert kind(original, other(scenes, tmp_path, scenes.halved(scenes.frames(1, 1)))) == "near duplicate"


@pytest.mark.parametrize("cut", [slice(9, None), slice(0, 40), slice(10, 44)])
def test_a_part_of_a_film_is_a_near_duplicate_whichever_comes_first(scenes, original, tmp_path, cut):
    part = other(scenes, tmp_path, scenes.frames(1, 1)[cut])
    assert kind(original, part) == kind(part, original) == "near duplicate"


def test_other_movement_in_the_same_place_is_the_same_background(scenes, original, tmp_path):
    found = compare([original, other(scenes, tmp_path, scenes.frames(1, 2))])
    assert [pair.kind for pair in found.pairs] == ["same background"]
    assert found.pairs[0].motion < likeness.SAME_MOTION
    assert len(set(found.clusters)) == 1


def test_other_places_are_not_alike(scenes, original, tmp_path):
    others = [seen(scenes.write(tmp_path / f"{place}.mp4", scenes.frames(place, 1))) for place in (2, 3, 4, 5)]
    found = compare([original, *others])
    assert found.pairs == ()
    assert found.clusters == (0, 1, 2, 3, 4)
    assert repr(found) == "Likeness(5 files in 5 clusters; pairs: 0 copy, 0 near duplicate, 0 same background)"


def test_a_picture_that_stands_still_is_a_near_duplicate_of_itself(scenes, tmp_path):
    still = np.repeat(scenes.frames(1, 1)[:1], 24, axis=0)
    films = [seen(scenes.write(tmp_path / f"{crf}.mp4", still, crf=crf)) for crf in (18, 30)]
    found = compare(films)
    assert [(pair.kind, pair.motion) for pair in found.pairs] == [("near duplicate", None)]


def test_films_that_show_nothing_are_not_alike(scenes, tmp_path):
    films = [
        seen(scenes.write(tmp_path / f"{grey}.mp4", np.full((24, 32, 32, 3), grey, np.uint8))) for grey in (0, 40, 200)
    ]
    assert compare(films).pairs == ()


def test_films_of_different_lengths_are_compared_at_the_wider_step(scenes, tmp_path):
    long = scenes.frames(1, 1, count=200)
    films = [seen(scenes.write(tmp_path / f"{len(part)}.mp4", part)) for part in (long, long[:80])]
    assert films[0].look.step_seconds == 4 * films[1].look.step_seconds
    assert kind(*films) == kind(*reversed(films)) == "near duplicate"


def fake(*pictures):
    """A file of a film in which nothing moves before three pictures (64, 64)."""
    backgrounds = describe(torch.from_numpy(np.stack(pictures).astype(np.float32))).numpy()
    return Seen("", Look(backgrounds, np.zeros((4, 8, 8), np.int8), 0.125, 0.0, 0.0))


def views(count, seed=0):
    """Pictures (64, 64) of different places: coarse patterns of grey."""
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 8, 8))
    return coarse.repeat(8, axis=1).repeat(8, axis=2)


def test_files_are_compared_as_if_one_by_one(monkeypatch):
    monkeypatch.setattr(likeness, "_BLOCK", 7)
    monkeypatch.setattr(likeness, "_BATCH", 5)
    monkeypatch.setattr(likeness, "_LEAST_NEAR", -1.0)
    rng = np.random.default_rng(0)
    bases = views(8)
    files = [fake(*(bases[rng.integers(8)] + rng.normal(0, 60, (64, 64)) for _ in range(3))) for _ in range(40)]
    files[11] = fake(*[np.full((64, 64), 90)] * 3)
    expected = {}
    for first in range(40):
        for second in range(first + 1, 40):
            pair = (torch.from_numpy(files[index].look.backgrounds)[None] for index in (first, second))
            if (background := float(alike(*pair))) >= likeness.SAME_PLACE:
                expected[first, second] = pytest.approx(background, abs=1e-3)
    assert 50 < len(expected) < 700
    assert not any(11 in pair for pair in expected)
    found = compare([Seen(str(index), each.look) for index, each in enumerate(files)])
    assert {(pair.first, pair.second): pair.background for pair in found.pairs} == expected


def test_each_file_is_compared_closely_with_the_nearest_only(monkeypatch):
    monkeypatch.setattr(likeness, "_NEIGHBOURS", 2)
    rng = np.random.default_rng(0)
    (base,) = views(1)
    films = [fake(*[base + rng.normal(0, 20, (64, 64))] * 3) for _ in range(12)]
    found = compare([Seen(str(index), film.look) for index, film in enumerate(films)])
    assert 6 <= len(found.pairs) <= 24


def test_clusters_are_chains_and_numbered_by_their_first_file():
    stranger, left, right = views(3)
    both = fake(left, left, right)
    files = [fake(*[stranger] * 3), fake(*[left] * 3), fake(*[right] * 3), both]
    found = compare([Seen(str(index), file.look) for index, file in enumerate(files)])
    assert {(pair.first, pair.second) for pair in found.pairs} == {(1, 3), (2, 3)}
    assert found.clusters == (0, 1, 1, 1)


@pytest.mark.parametrize("shift", [(0, 12), (-8, 8), (16, 0)])
def test_a_place_is_met_again_by_a_camera_that_has_turned(shift):
    (wide,) = np.random.default_rng(3).integers(0, 256, (1, 12, 12)).repeat(8, axis=1).repeat(8, axis=2)
    down, right = shift
    files = [
        fake(*[picture] * 3) for picture in (wide[16:80, 16:80], wide[16 + down : 80 + down, 16 + right :][:, :64])
    ]
    found = compare([Seen(name, file.look) for name, file in zip("ab", files, strict=True)])
    assert [pair.background > 0.6 for pair in found.pairs] == [True]


def test_a_mirrored_film_is_a_near_duplicate(scenes, original, tmp_path):
    mirror = other(scenes, tmp_path, scenes.frames(1, 1)[:, :, ::-1].copy(), crf=32)
    for files in ((original, mirror), (mirror, original)):
        (pair,) = compare(files).pairs
        assert (pair.kind, pair.mirrored) == ("near duplicate", True)
        assert pair.motion > likeness.SAME_MOTION


def test_other_movement_in_a_mirrored_place_is_nothing(scenes, original, tmp_path):
    assert kind(original, other(scenes, tmp_path, scenes.frames(1, 2)[:, :, ::-1].copy())) is None


def test_only_the_nearest_pairs_are_compared_in_movement(monkeypatch, scenes, original, tmp_path):
    monkeypatch.setattr(likeness, "_MOST_COMPARED", 1)
    again = other(scenes, tmp_path, scenes.frames(1, 1), crf=24)
    found = compare([original, again, Seen("c", again.look)])
    assert found.uncompared == 2
    assert sorted(pair.kind for pair in found.pairs) == ["near duplicate", "same background", "same background"]


def test_nothing_to_compare():
    assert compare([]).clusters == ()
    assert compare([Seen("", None)]).clusters == (0,)


def correlation(one, other):
    """Of two movements (S, 8, 8) of one length, at the best shift that leaves half of them to compare."""
    found = []
    for shift in range(-len(one) // 2, len(one) // 2 + 1):
        here, there = (one[-shift:], other[:shift]) if shift < 0 else (one[: len(one) - shift], other[shift:])
        here, there = here.astype(float).ravel(), there.astype(float).ravel()
        found.append(here @ there / np.sqrt((here @ here) * (there @ there)))
    return max(found)


def test_movement_is_compared_at_every_shift():
    """Against doing so one shift at a time."""
    rng = np.random.default_rng(0)
    long = rng.integers(-100, 100, (40, 8, 8)).astype(np.int8)
    place = fake(*views(3)).look.backgrounds
    for start in (0, 3, 7):
        one, other = long[:20], long[start : start + 20] // 2
        files = [Seen(name, Look(place, moved, 0.125, 0.0, 0.0)) for name, moved in (("a", one), ("b", other))]
        motions = [compare(pair).pairs[0].motion for pair in (files, files[::-1])]
        assert motions == [pytest.approx(correlation(one, other), abs=6e-4)] * 2
        assert motions[0] > 0.99
