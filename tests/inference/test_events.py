from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinema.core.errors import DataError, UsageError
from kinema.core.labels import LabelMap
from kinema.inference.events import EventRule, Segment, event_classes, events_in, find_events
from kinema.inference.result import Window

RULE = EventRule(enter=0.6, leave=0.4, min_duration_seconds=2.0, merge_gap_seconds=1.0)
EAGER = EventRule(enter=0.6, leave=0.4, min_duration_seconds=0.0, merge_gap_seconds=0.0)


def seconds(scores: list[float], start: float = 0.0, length: float = 1.0) -> list[Segment]:
    """Segments of one second each (or `length`), one after another."""
    return [Segment(start + i * length, start + (i + 1) * length, score) for i, score in enumerate(scores)]


def spans(segments: list[Segment], rule: EventRule) -> list[tuple[float, float]]:
    return [(found.start_seconds, found.end_seconds) for found in find_events(segments, rule)]


@pytest.mark.parametrize(
    ("segments", "rule", "expected"),
    [
        ([], RULE, []),
        (seconds([0.1, 0.5, 0.59]), EAGER, []),
        (seconds([0.1, 0.6, 0.1]), EAGER, [(1, 2)]),
        (seconds([0.5, 0.9, 0.5, 0.4, 0.39]), EAGER, [(1, 4)]),
        (seconds([0.1, 0.9, 0.9]), EAGER, [(1, 3)]),
        (seconds([0.9]), EAGER, [(0, 1)]),
        (seconds([0.9, 0.9, 0.1, 0.9, 0.9]), RULE, [(0, 5)]),
        (seconds([0.9, 0.9, 0.1, 0.1, 0.9, 0.9]), RULE, [(0, 2), (4, 6)]),
        (seconds([0.9, 0.1, 0.9]), RULE, [(0, 3)]),
        (seconds([0.9, 0.1, 0.9]), EAGER, [(0, 1), (2, 3)]),
        (seconds([0.1, 0.9, 0.9, 0.1]), RULE, [(1, 3)]),
        (seconds([0.1, 0.9, 0.1]), RULE, []),
        (seconds([0.9, 0.1, 0.5, 0.5]), RULE, []),
        (seconds([0.9, 0.1] * 4), RULE, [(0, 7)]),
        (seconds([0.9]) + seconds([0.5, 0.9], start=3), EAGER, [(0, 1), (4, 5)]),
        (seconds([0.9]) + seconds([0.9], start=2), RULE, [(0, 3)]),
        (seconds([0.9, 0.9]) + seconds([0.9, 0.9], start=3.000001), RULE, [(0, 2), (3.000001, 5.000001)]),
    ],
    ids=[
        "empty timeline",
        "never reaches enter",
        "exactly enter opens",
        "exactly leave stays open, below closes",
        "open at the end",
        "a single segment",
        "gap of exactly merge_gap merges",
        "a longer gap does not",
        "merged before the minimum duration is asked",
        "no merging without a gap allowance",
        "exactly the minimum duration is kept",
        "shorter is dropped",
        "leave alone does not open",
        "a chain of gaps",
        "an uncovered gap closes and enter is asked again",
        "an uncovered gap merges too",
        "a microsecond too far apart",
    ],
)
def test_find_events(segments, rule, expected):
    assert spans(segments, rule) == expected


@pytest.mark.parametrize("start", [0.0, 0.1, 1.8, 2.3, 1e5 + 0.7])
def test_boundaries_hold_wherever_floats_put_them(start):
    """2.3 - 1.8 is 0.4999999999999998: durations and gaps are compared in whole microseconds."""
    rule = EventRule(min_duration_seconds=0.5, merge_gap_seconds=0.3)
    lone = seconds([0.9, 0.9, 0.9, 0.9, 0.9], start, 0.1)
    assert len(find_events(lone, rule)) == 1
    assert find_events(lone[:4], rule) == ()
    assert len(find_events([*lone[:2], *seconds([0.9], lone[1].end_seconds + 0.3, 0.1)], rule)) == 1


@pytest.mark.parametrize("score", [0.6, 0.4, 0.43079744847259255])
def test_thresholds_hold_for_means_of_equal_scores(score):
    mean = (score + score + score) / 3
    rule = EventRule(enter=score, leave=score, min_duration_seconds=0.0, merge_gap_seconds=0.0)
    assert len(find_events(seconds([mean, math.nextafter(score, 0), score]), rule)) == 1


def test_lengths_that_are_no_whole_microseconds_are_boundaries_too():
    third = EventRule(min_duration_seconds=1 / 3, merge_gap_seconds=2 / 3)
    assert len(find_events([Segment(0, 0.333333, 0.9)], third)) == 1
    assert len(find_events([Segment(0, 1, 0.9), Segment(1.666667, 3, 0.9)], third)) == 1


def test_peak_and_mean_are_of_the_event_and_weighted_by_time():
    segments = [Segment(0, 1, 0.1), Segment(1, 2, 0.9), Segment(2, 5, 0.5), Segment(5, 6, 0.1)]
    (found,) = find_events(segments, EAGER)
    assert (found.start_seconds, found.end_seconds, found.peak) == (1, 5, 0.9)
    assert found.mean == pytest.approx((0.9 + 3 * 0.5) / 4)


@pytest.mark.parametrize(
    "segments", [[Segment(0, 2, 0.5), Segment(1, 3, 0.5)], [Segment(2, 3, 0.5), Segment(0, 1, 0.5)]]
)
def test_segments_must_be_a_timeline(segments):
    with pytest.raises(DataError, match="segment"):
        find_events(segments, RULE)


@pytest.mark.parametrize(
    "options",
    [
        {"enter": 0.0, "leave": 0.0},
        {"enter": 1.1},
        {"leave": -0.1},
        {"enter": 0.5, "leave": 0.51},
        {"min_duration_seconds": -1},
        {"merge_gap_seconds": -1},
        {"merge_gap_seconds": math.inf},
        {"min_duration_seconds": math.nan},
        {"enter": math.nan},
    ],
)
def test_contradicting_rules_are_refused(options):
    with pytest.raises(UsageError):
        EventRule(**options)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (LabelMap.of(["fight", "normal"]), (0,)),
        (LabelMap.of(["no_fight", "fight"]), (1,)),
        (LabelMap.of(["Fight", "NoFight"]), (0,)),
        (LabelMap.of(["fight", "No Fight"]), (0,)),
        (LabelMap.of(["none", "selfharm"]), (1,)),
        (LabelMap.of(["background", "fall"]), (1,)),
        (LabelMap.of(["run", "walk"]), (0, 1)),
        (LabelMap.of(["none", "background"]), (0, 1)),
        (LabelMap.of(["fall", "fight", "normal"]), (0, 1, 2)),
        (LabelMap.unknown(2), (0, 1)),
        (LabelMap.of(["normal"]), (0,)),
    ],
    ids=str,
)
def test_event_classes(labels, expected):
    assert event_classes(labels) == expected


def test_events_of_several_classes_keep_apart_and_are_sorted():
    labels = LabelMap.of(["a", "b", "c"])
    windows = [
        Window(0, 1, (0.9, 0.05, 0.05)),
        Window(1, 2, (0.05, 0.9, 0.05)),
        Window(2, 3, (0.9, 0.05, 0.05)),
        Window(3, 3.5, (0.2, 0.2, 0.6)),
    ]
    found = events_in(windows, labels, EAGER)
    assert [(e.label, e.class_index, e.start_seconds, e.end_seconds) for e in found] == [
        ("a", 0, 0, 1),
        ("b", 1, 1, 2),
        ("a", 0, 2, 3),
        ("c", 2, 3, 3.5),
    ]
    assert [e.label for e in events_in(windows, labels, EAGER, classes=[2, 2])] == ["c"]


def test_events_of_a_two_class_model_leave_the_quiet_class_out():
    windows = [Window(0, 2, (0.9, 0.1)), Window(2, 4, (0.2, 0.8))]
    assert [e.label for e in events_in(windows, LabelMap.of(["fight", "normal"]), EAGER)] == ["fight"]
    unknown = events_in(windows, LabelMap.unknown(2), EAGER)
    assert [(e.label, e.class_index) for e in unknown] == [(None, 0), (None, 1)]


def test_no_windows_no_events_and_no_such_class():
    assert events_in([], LabelMap.unknown(2), RULE) == ()
    for wrong in (2, -1):
        with pytest.raises(UsageError, match="0 to 1"):
            events_in([], LabelMap.unknown(2), RULE, classes=[wrong])


@given(
    st.lists(st.tuples(st.sampled_from([0.0, 0.0, 0.1, 0.5, 1.5]), st.floats(0, 1), st.integers(1, 30)), max_size=40),
    st.floats(0.01, 1),
    st.floats(0, 1),
    st.floats(0, 3),
    st.floats(0, 3),
)
def test_events_never_overlap_and_obey_the_rule(steps, enter, leave_share, shortest, gap):
    segments, now = [], 0.0
    for pause, score, length in steps:
        start = round(now + pause, 6)
        now = round(start + length / 10, 6)
        segments.append(Segment(start, now, score))
    rule = EventRule(enter, enter * leave_share, shortest, gap)
    found = find_events(segments, rule)
    for event in found:
        assert event.end_seconds - event.start_seconds >= shortest - 1e-6
        assert event.peak >= enter - 1e-9
        assert 0 <= event.mean <= event.peak
    for earlier, later in pairwise(found):
        assert later.start_seconds - earlier.end_seconds > gap - 1e-6
    for segment in segments:
        inside = any(e.start_seconds <= segment.start_seconds < e.end_seconds for e in found)
        if segment.score >= enter and segment.end_seconds - segment.start_seconds >= shortest:
            assert inside
