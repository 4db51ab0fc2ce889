"""Runs that end after so many steps of the optimizer, and rates that follow steps."""

import pytest
import torch
from small_runs import SMALL, StoppedError, rates, run, same, stop_after, weights

from kinema.core.progress import Silent
from kinema.training import loop

pytestmark = pytest.mark.usefixtures("no_pictures")

PIECES = {"schedule": "piecewise", "lr": 0.5, "milestones": [1, 3, 5], "rates": [0.05, 0.25, 0.01]}


def watch(monkeypatch):
    """The learning rate of every step that is made."""
    step, seen = loop._step, []

    def watched(job, parts, *others):
        step(job, parts, *others)
        seen.append(parts.optimizer.param_groups[0]["lr"])

    monkeypatch.setattr(loop, "_step", watched)
    return seen


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize(("total_steps", "epochs"), [(1, 1), (4, 1), (5, 2), (8, 2)])
def test_a_run_ends_after_its_last_step(job_of, monkeypatch, total_steps, epochs):
    seen = watch(monkeypatch)
    state = run(job_of(batch_size=2, total_steps=total_steps, epochs=1))
    assert (len(seen), state.epoch, len(state.rows)) == (total_steps, epochs, epochs)


@pytest.mark.usefixtures("plain")
def test_steps_are_those_of_the_optimizer(job_of, monkeypatch):
    seen = watch(monkeypatch)
    assert run(job_of(batch_size=2, accumulate=2, total_steps=3)).epoch == 2
    assert len(seen) == 3


@pytest.mark.usefixtures("plain")
def test_rates_come_at_their_steps(job_of, monkeypatch):
    seen = watch(monkeypatch)
    job = job_of(batch_size=2, total_steps=7, **PIECES)
    run(job)
    assert seen == [0.5, 0.05, 0.05, 0.25, 0.25, 0.01, 0.01]
    assert rates(job) == [0.25, 0.01]  # of the last step of each epoch


@pytest.mark.usefixtures("plain")
def test_a_short_epoch_tells_how_long_it_is(job_of):
    told = []

    class Listening(Silent):
        def task(self, description, total, unit):
            told.append((description, total))
            return super().task(description, total, unit)

        def log(self, message):
            told.append(message.partition(":")[0])

    run(job_of(batch_size=2, total_steps=5), progress=Listening())
    assert [line for line in told if "epoch" in line[0]] == [("epoch 1/2", 8), ("epoch 2/2", 2)]
    assert [line for line in told if line in ("epoch 1/2", "epoch 2/2")] == ["epoch 1/2", "epoch 2/2"]


@pytest.mark.parametrize("stopped_after", [1, 4, 5, 6])
def test_it_goes_on_at_any_step(job_of, monkeypatch, stopped_after):
    settings = {**SMALL, "save_seconds": 0, "batch_size": 2, "flip": 0.5, "total_steps": 7, "momentum": 0.9,
                "dampening": 0.9, **PIECES, "lr": 0.05}  # fmt: skip
    whole, job = job_of("whole", **settings), job_of("parts", **settings)
    expected = run(whole)
    go_on = stop_after(monkeypatch, stopped_after)
    with pytest.raises(StoppedError):
        run(job)
    go_on()
    found = run(job, resume=True)
    assert same(weights(job), weights(whole))
    assert [(row.train_loss, row.lr) for row in found.rows] == [(row.train_loss, row.lr) for row in expected.rows]
    state = torch.load(job.folder.state, weights_only=True)["state"]
    assert (state["epoch"], state["step"]) == (2, 0)
