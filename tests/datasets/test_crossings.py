from pathlib import Path

import pytest

from kinema.datasets.crossings import Crossing, find_crossings
from kinema.datasets.likeness import Alike, Likeness
from kinema.datasets.manifest import Manifest, Sample

ROOT = Path("/data").absolute()


def crossings(*pairs, **samples):
    """Crossings of (first, second, kind) pairs of files a, b, ... with lists of (split, group) each."""
    rows = [
        Sample(ROOT / name, "x", split, group, start, start + 1.0)
        for name, own in samples.items()
        for start, (split, group) in enumerate(own)
    ]
    alike = tuple(Alike(first, second, kind, 3) for first, second, kind in pairs)
    paths = [ROOT / name for name in samples]
    return find_crossings(Manifest.of(ROOT, rows), paths, Likeness(alike, tuple(range(len(paths)))))


@pytest.mark.parametrize(
    ("one", "other", "splits", "groups"),
    [
        (("train", "g"), ("test", "g"), True, False),
        (("train", "g"), ("train", "h"), False, True),
        (("train", "g"), ("val", "h"), True, True),
        ((None, "g"), ("test", "h"), False, True),
        (("train", None), ("test", "h"), True, False),
    ],
)
def test_what_is_crossed(one, other, splits, groups):
    (found,) = crossings((0, 1, "near duplicate"), a=[one], b=[other])
    assert (found.splits, found.groups) == (splits, groups)
    assert found.leaks == splits


def test_pairs_on_one_side_cross_nothing():
    assert crossings((0, 1, "copy"), a=[("train", "g")], b=[("train", "g")]) == ()
    assert crossings((0, 1, "copy"), a=[(None, None)], b=[("train", "g")]) == ()


def test_a_shared_background_is_no_leak():
    (found,) = crossings((0, 1, "same background"), a=[("train", "g")], b=[("test", "g")])
    assert isinstance(found, Crossing)
    assert not found.leaks


def test_one_segment_on_the_other_side_is_enough():
    (found,) = crossings((0, 1, "copy"), a=[("train", "g"), ("test", "g")], b=[("train", "g")])
    assert found.leaks
