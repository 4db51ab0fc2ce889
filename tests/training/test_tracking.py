"""Rows on their way to trackers that work, fail, come back or never answer."""

import json
import threading
from pathlib import Path

import pytest

from kinema.core.errors import TrainingError
from kinema.core.progress import Silent
from kinema.training.checkpoint import EpochRow
from kinema.training.tracking import About, Tracking, estimates_of

ROWS = [EpochRow(n, 1 / n, 0.5, None, None, 0.25, 0.1, 5.0) for n in range(1, 7)]


class Lines(Silent):
    def __init__(self):
        self.lines = []

    def log(self, message):
        self.lines.append(message)


class Notebook:
    """A tracker in memory; `broken` tells when it raises."""

    name = "notebook"

    def __init__(self):
        self.runs = {}
        self.opened = []
        self.broken = False
        self.remembers = True

    def _answer(self):
        if self.broken:
            raise ConnectionError("server gone\nfor good")

    def open(self, about, run):
        self._answer()
        self.opened.append(run)
        self.run = run or f"run-{len(self.runs) + 1}"
        self.about = about
        held = self.runs.setdefault(self.run, {"rows": [], "end": []})["rows"]
        return self.run, max((epoch for epoch, _ in held), default=0) if self.remembers else 0

    def send(self, epoch, values):
        self._answer()
        self.runs[self.run]["rows"].append((epoch, values))

    def conclude(self, figures, *, ended):
        self._answer()
        self.runs[self.run]["end"].append((dict(figures), ended))

    def epochs(self, run="run-1"):
        return [epoch for epoch, _ in self.runs[run]["rows"]]


@pytest.fixture
def about(tmp_path):
    return About("one", "", tmp_path, tmp_path, {"lr": 0.1})


@pytest.fixture
def settled():
    """Wait until what was given so far has been tried."""

    def wait(tracking):
        for courier in tracking._couriers:
            done = threading.Event()
            courier._inbox.put(done.set)
            assert done.wait(60)

    return wait


def follow(tracker, about, rows, *, behind=(), figures=None, progress=None, **options):
    with Tracking([tracker], about, progress=progress, **options) as tracking:
        tracking.begin(list(behind))
        for row in rows:
            tracking.row(row)
        tracking.conclude(figures or {})


def test_a_run_is_told_of_once_row_by_row_and_at_its_end(about):
    tracker, said = Notebook(), Lines()
    follow(tracker, about, ROWS[:2], figures={"test_video_top1_accuracy": 0.75}, progress=said)
    assert tracker.about is about
    row = {"train_loss": 0.5, "train_clip_accuracy": 0.5, "val_video_accuracy": 0.25, "lr": 0.1}
    assert tracker.runs["run-1"]["rows"][1] == (2, {**row, "clips_per_second": 5.0})
    assert tracker.runs["run-1"]["end"] == [({"test_video_top1_accuracy": 0.75}, True)]
    assert said.lines == []
    kept = json.loads((about.folder / "tracking.json").read_text())
    assert kept == {"notebook": {"run": "run-1", "epochs": 2, "concluded": True}}


@pytest.mark.parametrize("remembers", [True, False])
@pytest.mark.parametrize("behind", [1, 2, 3])
def test_a_resumed_run_goes_on_in_its_place_without_repeated_rows(about, behind, remembers):
    """Whether the state was older than what had been sent, or newer."""
    tracker = Notebook()
    tracker.remembers = remembers
    follow(tracker, about, ROWS[:2])
    follow(tracker, about, ROWS[behind:5], behind=ROWS[:behind])
    assert tracker.opened == ["", "run-1"]
    assert tracker.epochs() == [1, 2, 3, 4, 5]


def test_a_tracker_that_knows_of_more_than_was_noted_is_believed(about):
    tracker = Notebook()
    follow(tracker, about, ROWS[:2])
    tracker.runs["run-1"]["rows"].append((3, {}))
    follow(tracker, about, ROWS[2:4], behind=ROWS[:2])
    assert tracker.epochs() == [1, 2, 3, 4]


def test_a_finished_run_that_is_resumed_bothers_nobody(about):
    tracker = Notebook()
    follow(tracker, about, ROWS[:2])
    follow(tracker, about, [], behind=ROWS[:2])
    assert tracker.opened == [""]
    assert len(tracker.runs["run-1"]["end"]) == 1


def test_a_run_that_was_stopped_is_shown_as_such(about):
    tracker = Notebook()
    with pytest.raises(KeyboardInterrupt):
        interrupted(tracker, about)
    assert tracker.runs["run-1"]["end"] == [({}, False)]


def test_a_run_that_was_stopped_after_its_last_epoch_has_its_figures_once_it_goes_on(about):
    tracker, said = Notebook(), Lines()
    with pytest.raises(KeyboardInterrupt):
        interrupted(tracker, about)
    follow(tracker, about, [], figures={"test_video_top1_accuracy": 0.75}, progress=said)
    assert tracker.runs["run-1"]["end"][-1] == ({"test_video_top1_accuracy": 0.75}, True)
    follow(tracker, about, [], figures={"test_video_top1_accuracy": 0.75})
    assert len(tracker.runs["run-1"]["end"]) == 2
    assert not said.lines


def interrupted(tracker, about):
    with Tracking([tracker], about) as tracking:
        tracking.begin([])
        raise KeyboardInterrupt


def test_a_server_that_goes_and_comes_back_gets_every_row(about, settled):
    tracker, said = Notebook(), Lines()
    with Tracking([tracker], about, progress=said) as tracking:
        tracking.begin([])
        tracking.row(ROWS[0])
        settled(tracking)
        tracker.broken = True
        tracking.row(ROWS[1])
        tracking.row(ROWS[2])
        settled(tracking)
        tracker.broken = False
        tracking.row(ROWS[3])
    assert tracker.epochs() == [1, 2, 3, 4]
    assert said.lines == [
        "notebook does not take rows (ConnectionError: server gone); the training goes on without it",
        "notebook failed 2 times (ConnectionError: server gone), and has all epochs now",
    ]


def test_a_server_that_is_gone_is_told_once_and_at_the_end_and_served_when_resumed(about, settled):
    tracker, said = Notebook(), Lines()
    with Tracking([tracker], about, progress=said) as tracking:
        tracking.begin([])
        settled(tracking)
        tracker.broken = True
        for row in ROWS[:3]:
            tracking.row(row)
        tracking.conclude({"test": 1.0})
    assert len(said.lines) == 2
    assert "notebook has not taken 3 epochs (ConnectionError: server gone)" in said.lines[1]
    assert said.lines[1].endswith(f"kinema train --resume {about.run}")
    tracker.broken = False
    follow(tracker, about, [], behind=ROWS[:3], figures={"test": 1.0})
    assert tracker.epochs() == [1, 2, 3]
    assert tracker.runs["run-1"]["end"] == [({"test": 1.0}, True)]


def test_a_run_that_is_new_does_not_begin_without_its_tracker(about):
    tracker = Notebook()
    tracker.broken = True
    with pytest.raises(TrainingError, match="notebook does not open: ConnectionError: server gone") as caught:
        follow(tracker, about, ROWS)
    assert "leave notebook out of track" in caught.value.next_step


def test_a_run_that_is_resumed_goes_on_without_its_tracker(about):
    tracker, said = Notebook(), Lines()
    follow(tracker, about, ROWS[:1])
    tracker.broken = True
    follow(tracker, about, ROWS[1:3], behind=ROWS[:1], progress=said)
    assert "has not taken 2 epochs" in said.lines[-1]


def test_a_server_that_never_answers_holds_up_nothing(about):
    tracker, said, free = Notebook(), Lines(), threading.Event()
    tracker.send = lambda *_: free.wait(60)
    follow(tracker, about, ROWS, progress=said, patience_seconds=0.05)
    free.set()
    assert len(said.lines) == 1
    assert "has not taken" in said.lines[0]
    assert "it does not answer" in said.lines[0]


def test_a_damaged_record_begins_anew(about):
    tracker = Notebook()
    follow(tracker, about, ROWS[:1])
    (about.folder / "tracking.json").write_text("{")
    follow(tracker, about, ROWS[1:2], behind=ROWS[:1])
    assert tracker.epochs("run-2") == [1, 2]


def test_without_trackers_nothing_happens():
    with Tracking() as tracking:
        tracking.begin(ROWS)
        tracking.row(ROWS[0])


def test_trackers_do_not_disturb_each_other(about):
    good, bad = Notebook(), Notebook()
    bad.name = "other"
    bad.send = lambda *_: 1 / 0
    with Tracking([bad, good], about) as tracking:
        tracking.begin([])
        tracking.row(ROWS[0])
    assert good.epochs() == [1]
    kept = json.loads(Path(about.folder / "tracking.json").read_text())
    assert (kept["notebook"]["epochs"], kept["other"]["epochs"]) == (1, 0)


def test_estimates_become_plain_numbers():
    levels = [
        {"level": "video", "n": 3, "video_top1_accuracy": {"value": 0.5, "low": 0.1}, "video_roc_auc": None},
        {"level": "clip", "clip_top1_accuracy": {"value": 1, "low": 0.1}, "clip_macro": {"f1": 0.3}},
    ]
    assert estimates_of("val", levels) == {"val_video_top1_accuracy": 0.5, "val_clip_top1_accuracy": 1.0}
