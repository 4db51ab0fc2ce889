"""What rooms are told to do with a Progress, and the one that shows nothing."""

import pytest

from kinema.core.progress import Silent


def test_silence_takes_all_that_a_progress_takes(capfd):
    silent = Silent()
    with silent.task("reading", 3, "videos") as task:
        task.advance()
        task.advance(2, note="done")
    with silent.task("watching", None, "frames") as task:
        task.advance(0)
    silent.log("a line")
    assert capfd.readouterr() == ("", "")


def test_silence_hides_no_error():
    with pytest.raises(ValueError, match="lost"), Silent().task("reading", 1, "videos"):
        raise ValueError("lost")


def test_tasks_may_be_nested():
    silent = Silent()
    with silent.task("epochs", 2, "epochs") as outer, silent.task("clips", 4, "clips") as inner:
        inner.advance(4)
        outer.advance()
