from __future__ import annotations

import os
import time
from fractions import Fraction
from pathlib import Path

import pytest

from kinema.video import timeline_memo
from kinema.video.handle import Keyframe
from kinema.video.timeline import Timeline
from kinema.video.timeline_memo import FileState, TimelineMemo


def line(*pts: int, keys: int = 1) -> Timeline:
    keyframes = tuple(Keyframe(number, number) for number in range(keys))
    return Timeline(pts, keyframes, pts[-1] + 1, Fraction(1, 25), by_count=False, promised_frames=len(pts))


@pytest.fixture(autouse=True)
def _settled(monkeypatch):
    """As if every file had been there for long."""
    monkeypatch.setattr(timeline_memo, "_SETTLED_NANOSECONDS", -1)


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = tmp_path / "film.mp4"
    path.write_bytes(b"content")
    return path


@pytest.mark.parametrize("pts", [(0,), (5, 7), tuple(range(0, 5120, 512)), (0, 1, 3, 4), (-4, -2, 0, 3)])
def test_what_is_remembered_is_what_was_read(film, pts):
    memo, state = TimelineMemo(), FileState.of(film)
    assert memo.recall(state) is None
    memo.remember(state, line(*pts))
    assert memo.recall(FileState.of(film)) == line(*pts)
    assert type(memo.recall(state).pts) is tuple


def overwrite(path: Path) -> None:
    """Other content of the same length, that claims to be as old as before."""
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    time.sleep(0.02)  # the tick of the system's clock
    path.write_bytes(b"CONTENT")
    os.utime(path, ns=times)


def replace(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(b"content")
    other.replace(path)


@pytest.mark.parametrize("change", [overwrite, replace, lambda path: path.write_bytes(b"longer content")])
def test_a_file_that_was_changed_is_another(film, change):
    memo = TimelineMemo()
    memo.remember(FileState.of(film), line(0, 1))
    change(film)
    assert memo.recall(FileState.of(film)) is None


def test_a_file_changed_while_it_was_read_is_not_remembered(film):
    memo, before = TimelineMemo(), FileState.of(film)
    film.write_bytes(b"longer content")
    memo.remember(before, line(0, 1))
    assert memo.recall(before) is None


def test_a_file_written_a_moment_ago_is_not_remembered(film, monkeypatch):
    monkeypatch.setattr(timeline_memo, "_SETTLED_NANOSECONDS", 3_600_000_000_000)
    memo, state = TimelineMemo(), FileState.of(film)
    memo.remember(state, line(0, 1))
    assert memo.recall(state) is None


def test_what_is_no_file_has_no_state(tmp_path):
    assert FileState.of(tmp_path / "missing") is None
    assert FileState.of("a\0b") is None
    memo = TimelineMemo()
    memo.remember(None, line(0, 1))
    assert memo.recall(None) is None


def test_those_asked_for_longest_ago_are_forgotten_first(tmp_path):
    states = []
    for number in range(4):
        path = tmp_path / f"{number}.mp4"
        path.write_bytes(b"content")
        states.append(FileState.of(path))
    memo = TimelineMemo(most_bytes=4000)  # three of the short ones
    for state in states[:3]:
        memo.remember(state, line(0, 1))
    assert memo.recall(states[0]) is not None
    memo.remember(states[3], line(0, 1))
    assert [memo.recall(state) is not None for state in states] == [True, False, True, True]
    memo.remember(states[1], line(*(number * number for number in range(1000))))  # larger than all there may be
    assert [memo.recall(state) for state in states] == [None] * 4
    memo.remember(states[0], line(0, 1))
    memo.remember(states[0], line(0, 1))  # counted once
    memo.remember(states[1], line(0, 1))
    memo.remember(states[2], line(0, 1))
    assert all(memo.recall(state) is not None for state in states[:3])
