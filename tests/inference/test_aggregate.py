from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinema.core.errors import DataError
from kinema.inference.aggregate import timeline, video_probabilities
from kinema.inference.result import Window


@st.composite
def window_lists(draw, min_size=0):
    classes = draw(st.integers(1, 6))
    windows = []
    for _ in range(draw(st.integers(min_size, 12))):
        start = draw(st.integers(0, 1000)) / 7
        length = draw(st.integers(1, 300)) / 11
        weights = draw(st.lists(st.floats(0.001, 1.0), min_size=classes, max_size=classes))
        windows.append(Window(start, start + length, tuple(w / math.fsum(weights) for w in weights)))
    return windows


def pieces(*windows: Window) -> list[tuple[float, float, float]]:
    return [(p.start_seconds, p.end_seconds, round(p.probabilities[0], 6)) for p in timeline(windows)]


def scored(start: float, end: float, score: float) -> Window:
    return Window(start, end, (score, 1 - score))


@pytest.mark.parametrize(
    ("windows", "expected"),
    [
        ([], []),
        ([scored(0, 2, 0.5)], [(0, 2, 0.5)]),
        ([scored(0, 4, 0.2), scored(2, 6, 0.6)], [(0, 2, 0.2), (2, 4, 0.4), (4, 6, 0.6)]),
        ([scored(2, 6, 0.6), scored(0, 4, 0.2)], [(0, 2, 0.2), (2, 4, 0.4), (4, 6, 0.6)]),
        ([scored(0, 1, 0.2), scored(3, 4, 0.6)], [(0, 1, 0.2), (3, 4, 0.6)]),
        ([scored(0, 6, 0.0), scored(2, 3, 1.0)], [(0, 2, 0.0), (2, 3, 0.5), (3, 6, 0.0)]),
        ([scored(0, 1, 0.2), scored(0, 1, 0.4)], [(0, 1, 0.3)]),
        # 0.1 + 0.2 is not 0.3 in floats: no sliver between neighbours.
        ([scored(0, 0.1 + 0.2, 0.2), scored(0.3, 0.6, 0.6)], [(0, 0.3, 0.2), (0.3, 0.6, 0.6)]),
    ],
    ids=["empty", "one", "overlap", "unsorted", "gap", "a short one inside", "same span twice", "float edges"],
)
def test_timeline_is_the_mean_of_what_covers_each_instant(windows, expected):
    assert pieces(*windows) == expected


def test_video_level_weighs_windows_alike():
    assert video_probabilities([scored(0, 1, 0.2), scored(0, 9, 0.6)]) == pytest.approx((0.4, 0.6))


@pytest.mark.parametrize("windows", [[], [Window(0, 1, (1.0,)), Window(0, 1, (0.5, 0.5))]])
def test_nothing_to_average(windows):
    with pytest.raises(DataError):
        video_probabilities(windows)


@given(window_lists(min_size=1))
def test_the_mean_of_windows_is_a_distribution_within_their_range(windows):
    mean = video_probabilities(windows)
    assert math.fsum(mean) == pytest.approx(1)
    for index, p in enumerate(mean):
        column = [window.probabilities[index] for window in windows]
        assert min(column) - 1e-12 <= p <= max(column) + 1e-12


@given(window_lists())
def test_timeline_covers_exactly_what_the_windows_cover(windows):
    found = timeline(windows)
    for earlier, later in pairwise(found):
        assert earlier.end_seconds <= later.start_seconds
    for piece in found:
        middle = (piece.start_seconds + piece.end_seconds) / 2
        covering = [w for w in windows if w.start_seconds <= middle < w.end_seconds]
        assert piece.probabilities == pytest.approx(video_probabilities(covering))
    for window in windows:
        covered = sum(
            max(0.0, min(p.end_seconds, window.end_seconds + 1e-6) - max(p.start_seconds, window.start_seconds - 1e-6))
            for p in found
        )
        assert covered >= window.end_seconds - window.start_seconds - 1e-5
