"""The loop, watched step by step on clips of noise and a network small enough to reckon with."""

from contextlib import contextmanager
from itertools import pairwise

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from small_runs import SMALL, Plain, distance, fresh, run, same, set_up, table, validating, weights
from torch import nn

from kinema.core.errors import TrainingError
from kinema.core.progress import Silent
from kinema.training import loop, parts
from kinema.training.checkpoint import EpochRow
from kinema.training.step import Objective

pytestmark = pytest.mark.usefixtures("no_pictures")


def watch_steps(monkeypatch):
    """Epoch and step of every update, as they happen."""
    steps, step = [], loop._step

    def noted(job, parts, state, batches, task):
        steps.append((state.epoch, state.step))
        step(job, parts, state, batches, task)

    monkeypatch.setattr(loop, "_step", noted)
    return steps


@pytest.mark.usefixtures("plain")
def test_the_network_is_told_its_age(job_of, monkeypatch):
    told = []
    monkeypatch.setattr(Plain, "set_epoch", lambda _, epoch: told.append(epoch))
    run(job_of(epochs=3))
    assert told == [0, 1, 2]


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"batch_size": 4}, 2),
        ({"batch_size": 3}, 2),
        ({"batch_size": 2, "accumulate": 3}, 1),
        ({"batch_size": 100}, 1),
    ],
)
def test_steps_an_epoch(job_of, monkeypatch, settings, expected):
    steps = watch_steps(monkeypatch)
    run(job_of(**settings, epochs=2))
    assert steps == [(epoch, step) for epoch in (0, 1) for step in range(expected)]


@pytest.mark.usefixtures("plain")
def test_a_row_says_what_happened(job_of):
    """At a rate too small to learn, loss and accuracy are those of the fresh network on these clips."""
    job = job_of(lr=1e-12, batch_size=8)
    (row,) = run(job).rows
    network = Plain()
    network.load_state_dict(fresh())
    parts = set_up(job)
    (batch,) = parts.feed
    with torch.no_grad():
        logits = network(parts.objective.transform.batch(batch.clips, torch.Generator()))
    assert row.train_loss == pytest.approx(nn.functional.cross_entropy(logits, batch.targets).item(), rel=1e-5)
    assert row.train_clip_accuracy == (logits.argmax(dim=1) == batch.targets).float().mean().item()
    assert (row.epoch, row.val_loss, row.val_clip_accuracy, row.val_video_accuracy) == (1, None, None, None)
    assert row.clips_per_second > 0
    assert [vars(EpochRow(**read(each))) for each in table(job)] == [vars(row)]


def read(row):
    values = {name: None if value == "" else float(value) for name, value in row.items()}
    return values | {"epoch": int(values["epoch"])}


@pytest.mark.usefixtures("plain")
def test_balanced_class_weights_reach_the_loss(job_of):
    assert set_up(job_of("0")).objective.weights is None
    job = job_of("1", class_weights="balanced", batch_size=8, lr=1e-12)
    balanced = set_up(job)
    assert balanced.objective.weights.tolist() == pytest.approx([8 / (2 * 6), 8 / (2 * 2)])
    (batch,) = balanced.feed
    network = Plain()
    network.load_state_dict(fresh())
    with torch.no_grad():
        losses = nn.functional.cross_entropy(
            network(balanced.objective.transform.batch(batch.clips, torch.Generator())), batch.targets, reduction="none"
        )
    both = [losses[batch.targets == target].mean().item() for target in (0, 1)]
    assert run(job).rows[0].train_loss == pytest.approx(sum(both) / 2, rel=1e-5)  # each class counts the same


@pytest.mark.usefixtures("plain")
def test_balanced_epochs_show_classes_alike_and_repeat_no_clip(job_of):
    parts = set_up(job_of(balance="class", batch_size=8, seed=1))
    (batch,) = parts.feed
    assert sorted(batch.targets.tolist()) == [0] * 4 + [1] * 4
    rows = np.array(batch.rows)
    again = [batch.clips[rows == row] for row in set(batch.rows) if (rows == row).sum() > 1]
    assert len(again) == 2
    assert any(not torch.equal(*clips) for clips in again)


@pytest.mark.usefixtures("plain")
def test_gradients_are_no_longer_than_allowed(job_of):
    free = job_of("free", batch_size=8)
    run(free)
    moved = distance(weights(free), fresh())
    assert moved > 0.5 * 0.02
    clipped = job_of("clipped", batch_size=8, clip_grad_norm=0.01)
    run(clipped)
    assert distance(weights(clipped), fresh()) == pytest.approx(0.5 * 0.01, rel=1e-3)
    loose = job_of("loose", batch_size=8, clip_grad_norm=1e6)
    run(loose)
    assert distance(weights(loose), weights(free)) < 1e-6


@pytest.mark.parametrize("place", ["loss", "gradient norm"])
def test_numbers_that_are_none_stop_the_run_and_spare_the_weights(job_of, monkeypatch, place):
    class Exploding(Plain):
        def forward_head(self, features):
            logits = super().forward_head(features)
            if place == "loss":
                return logits * torch.nan
            if logits.requires_grad:
                logits.register_hook(lambda gradient: gradient * torch.inf)
            return logits

    monkeypatch.setattr(parts, "create_model", lambda *_, **__: Exploding())
    made, build = [], parts.build_optimizer
    monkeypatch.setattr(
        parts, "build_optimizer", lambda network, config: made.append(network) or build(network, config)
    )
    job = job_of(batch_size=2, accumulate=2)
    with pytest.raises(TrainingError, match=f"the {place} is (nan|inf) in epoch 1, step 1") as caught:
        run(job)
    named = [line.strip() for line in caught.value.given.splitlines()[1:]]
    assert len(named) == (2 if place == "loss" else 4)
    assert set(named) <= {str(sample.path) for sample in job.train.samples}
    assert same(made[0].state_dict(), fresh())


@pytest.mark.usefixtures("plain")
def test_the_clips_of_a_step_are_new_in_every_epoch(job_of, monkeypatch):
    seen = []
    objective = Objective.__call__

    def noted(self, model, batch, *rest):
        seen.append((batch.rows, batch.clips.clone()))
        return objective(self, model, batch, *rest)

    monkeypatch.setattr(Objective, "__call__", noted)
    run(job_of(batch_size=8, epochs=3, crop="random-resized", crop_scale=[0.25, 1.0], size=16, short_side=16))
    assert all(sorted(rows) == list(range(8)) for rows, _ in seen)
    assert all(one[0] != other[0] for one, other in pairwise(seen))
    assert not torch.equal(*(clips[rows.index(0)] for rows, clips in seen[:2]))


@pytest.mark.usefixtures("plain")
def test_a_run_tells_how_it_goes(job_of, monkeypatch):
    validating(monkeypatch, [0.9, 0.9, 0.4])
    told = []

    class Telling(Silent):
        @contextmanager
        def task(self, description, total, unit):
            told.append((description, total, unit))
            yield self

        def advance(self, steps=1, note=""):
            told.append((steps, note[:5]))

        def log(self, message):
            told.append(message)

    run(job_of(val=3), progress=Telling())
    assert told[0] == "trains all 26 parameters"
    assert told[1:5] == [("epoch 1/1", 8, "clips"), (0, ""), (4, "loss "), (4, "loss ")]
    assert told[5].startswith("epoch 1/1: train loss ")
    assert "clip 0.667, video 0.667" in told[5]


def test_weights_to_start_from_are_taken(job_of):
    first = job_of("first", **SMALL)
    run(first)
    told = []

    class Telling(Silent):
        def log(self, message):
            told.append(message)

    job = job_of("second", weights=str(first.folder.last), lr=1e-12, **SMALL)
    run(job, progress=Telling())
    assert "tensors from" in told[0]
    assert "fed otherwise" not in told[0]
    trained = load_file(first.folder.last)
    learnt = {name: tensor for name, tensor in load_file(job.folder.last).items() if "running" not in name}
    assert all(torch.allclose(tensor, trained[name]) for name, tensor in learnt.items() if tensor.is_floating_point())
