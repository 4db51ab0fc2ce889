"""A loop that is stopped and goes on as if nothing had happened."""

import os
import signal
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from small_runs import (
    SMALL,
    StoppedError,
    rates,
    run,
    run_whole_and_parted,
    same,
    stop_after,
    table,
    weights,
)

from kinema.core.errors import TrainingError
from kinema.core.progress import Silent
from kinema.training import loop

pytestmark = pytest.mark.usefixtures("no_pictures")


def test_a_balanced_run_goes_on_in_the_middle_of_an_epoch(job_of, monkeypatch):
    settings = {**SMALL, "epochs": 2, "save_seconds": 0, "batch_size": 2, "balance": "class"}
    whole, job = run_whole_and_parted(job_of, monkeypatch, **settings)
    assert same(weights(job), weights(whole))


@pytest.mark.parametrize(("stopped_after", "saved"), [(1, (0, 1)), (2, (1, 0)), (3, (1, 1)), (5, (2, 1))])
def test_a_run_goes_on_in_the_middle_of_an_epoch(job_of, monkeypatch, stopped_after, saved):
    settings = {**SMALL, "epochs": 3, "save_seconds": 0, "optimizer": "adamw", "lr": 0.01, "batch_size": 2,
                "accumulate": 2, "mixup": 0.3, "flip": 0.5, "val": 3}  # fmt: skip
    whole = job_of("whole", **settings)
    expected = run(whole)
    job = job_of("parts", **settings)
    go_on = stop_after(monkeypatch, stopped_after)
    with pytest.raises(StoppedError):
        run(job)
    state = torch.load(job.folder.state, weights_only=True)["state"]
    assert (state["epoch"], state["step"]) == saved
    go_on()
    found = run(job, resume=True)
    assert same(weights(job), weights(whole))
    assert same(load_file(job.folder.best), load_file(whole.folder.best))
    for one, other in zip(found.rows, expected.rows, strict=True):
        assert (one.train_loss, one.val_loss, one.lr) == (other.train_loss, other.val_loss, other.lr)


def test_the_scale_of_gradients_is_remembered(job_of, monkeypatch):
    """It begins so high that the first steps overflow, and are skipped; not again after each resume."""
    settings = {**SMALL, "epochs": 3, "save_seconds": 0, "batch_size": 2, "precision": "16-mixed", "lr": 0.01}
    whole, job = run_whole_and_parted(job_of, monkeypatch, **settings)
    scales = [torch.load(one.folder.state, weights_only=True)["arithmetic"]["scale"] for one in (whole, job)]
    assert scales[0] == scales[1] < 2**16
    assert same(weights(job), weights(whole))


@pytest.mark.usefixtures("plain")
def test_a_run_does_not_go_on_with_other_videos(job_of):
    job = job_of(save_seconds=0)
    run(job)
    with pytest.raises(TrainingError, match="train 9 now, train 8, val 0 then") as caught:
        run(replace(job, data="train 9"), resume=True)
    assert "--out" in caught.value.next_step
    run(job, resume=True)


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize(("save_seconds", "expected"), [(1e9, 1), (0, 2 * 2 + 2)])
def test_the_state_is_saved_as_often_as_asked(job_of, monkeypatch, save_seconds, expected):
    saved, save = [], loop.save_state
    monkeypatch.setattr(loop, "save_state", lambda *arguments: saved.append(save(*arguments)))
    run(job_of(save_seconds=save_seconds, epochs=2))
    assert len(saved) == expected


def test_short_epochs_are_not_spent_on_writing(job_of, monkeypatch):
    """The large files are written when a state is due and at the end, the table every epoch."""
    written, save = [], loop.save_weights
    monkeypatch.setattr(loop, "save_weights", lambda path, *given: written.append(path.name) or save(path, *given))
    job = job_of(epochs=3, **SMALL)
    run(job)
    assert written == ["last.safetensors", "best.safetensors"]
    assert len(table(job)) == 3


@pytest.mark.usefixtures("plain")
def test_a_plateau_is_remembered(job_of, monkeypatch):
    flat = [[0.6] * 3] * 5
    settings = {"val": 3, "schedule": "plateau", "patience": 1, "gamma": 0.1, "epochs": 5, "save_seconds": 0}
    whole, job = run_whole_and_parted(job_of, monkeypatch, *flat, **settings)
    assert rates(job) == rates(whole) == pytest.approx([0.5, 0.5, 0.5, 0.05, 0.05])


@pytest.mark.usefixtures("plain")
def test_without_a_state_resuming_starts(job_of):
    job = job_of()
    assert len(run(job, resume=True).rows) == 1


class Interrupting(Silent):
    """Presses Ctrl-C when so many clips were trained on."""

    def __init__(self, clips):
        self.clips = clips
        self.lines = []

    @contextmanager
    def task(self, description, total, unit):
        yield self

    def advance(self, steps=1, note=""):
        self.clips -= steps
        if steps and -steps < self.clips <= 0:
            os.kill(os.getpid(), signal.SIGINT)

    def log(self, message):
        self.lines.append(message)


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize(("clips", "saved"), [(1, (0, 1)), (8, (0, 2)), (12, (1, 1))])
def test_ctrl_c_finishes_the_step_and_saves(job_of, clips, saved):
    settings = {"epochs": 2, "batch_size": 2, "accumulate": 2}
    whole = job_of("whole", **settings)
    run(whole)
    before = signal.getsignal(signal.SIGINT)
    job = job_of("parts", **settings)
    progress = Interrupting(clips)
    with pytest.raises(KeyboardInterrupt):
        run(job, progress=progress)
    assert signal.getsignal(signal.SIGINT) is before
    state = torch.load(job.folder.state, weights_only=True)["state"]
    assert (state["epoch"], state["step"]) == saved
    assert progress.lines[-1] == f"stopped; go on with: kinema train --resume {job.folder.path}"
    run(job, resume=True)
    assert same(weights(job), weights(whole))
    assert len(table(job)) == 2


@pytest.mark.usefixtures("plain")
def test_the_handler_of_ctrl_c_comes_back(job_of):
    before = signal.getsignal(signal.SIGINT)
    run(job_of())
    assert signal.getsignal(signal.SIGINT) is before
