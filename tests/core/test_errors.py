"""The tree of errors: exit codes, three-part messages, and crossing process borders."""

import pickle
from pathlib import Path

import pytest

from kinema.core.errors import (
    BrokenFilesError,
    DataError,
    KinemaError,
    MediaError,
    TrainingError,
    UsageError,
    WeightsError,
    nearest,
    shortened,
)


@pytest.mark.parametrize(
    ("error", "parent", "exit_code"),
    [
        (UsageError, KinemaError, 2),
        (DataError, KinemaError, 3),
        (BrokenFilesError, DataError, 3),
        (MediaError, KinemaError, 4),
        (WeightsError, KinemaError, 5),
        (TrainingError, KinemaError, 6),
    ],
)
def test_the_tree(error, parent, exit_code):
    assert issubclass(error, parent)
    assert error.exit_code == exit_code


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ({}, "a folder"),
        ({"allowed": "a file"}, "a folder\nallowed: a file"),
        ({"next_step": "look"}, "a folder\nnext: look"),
        ({"allowed": "a file", "next_step": "look"}, "a folder\nallowed: a file\nnext: look"),
    ],
)
def test_messages_have_up_to_three_parts(parts, text):
    error = DataError("a folder", **parts)
    assert str(error) == text
    assert error.given == "a folder"
    assert (error.allowed, error.next_step) == (parts.get("allowed", ""), parts.get("next_step", ""))


def test_broken_files_are_listed_in_order():
    error = BrokenFilesError({Path("b.mp4"): "no video stream", Path("a.mp4"): "empty"}, total=7)
    assert error.given == "2 of 7 videos cannot be decoded:\n  a.mp4: empty\n  b.mp4: no video stream"
    assert error.broken == {Path("a.mp4"): "empty", Path("b.mp4"): "no video stream"}
    assert "--skip-broken" in error.next_step


def test_media_errors_survive_the_way_from_a_worker_process():
    error = pickle.loads(pickle.dumps(MediaError("a.mp4", "cut off", allowed="whole files", next_step="copy it again")))
    assert (error.path, error.reason) == ("a.mp4", "cut off")
    assert str(error) == "cannot read a.mp4: cut off\nallowed: whole files\nnext: copy it again"


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("shortcutt", "; did you mean 'shortcut'?"),
        ("drop", "; did you mean 'dropout'?"),
        ("zzz", ""),
        ("", ""),
    ],
)
def test_nearest(word, told):
    assert nearest(word, ["shortcut", "dropout"]) == told


@pytest.mark.parametrize(
    ("names", "told"),
    [((), "none"), (["a"], "a"), (["a", "b", "c"], "a, b, c"), ("abcd", "a, b, c, … and 1 more")],
)
def test_shortened(names, told):
    assert shortened(names, most=3) == told
