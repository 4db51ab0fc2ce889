"""The loop, watched step by step on grey clips and a network small enough to reckon with."""

import csv
import os
import signal
from contextlib import contextmanager
from itertools import pairwise
from typing import ClassVar

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from kinema.core.errors import TrainingError
from kinema.core.labels import LabelMap
from kinema.core.progress import Silent
from kinema.datasets.cache import FrameCache
from kinema.datasets.sample import Sample
from kinema.evaluation.protocol import ScoredVideo
from kinema.models.model import VideoModel
from kinema.models.weights import ModelCard
from kinema.models.zoo import full_options
from kinema.training import loop
from kinema.training.checkpoint import EpochRow
from kinema.training.config import make_config
from kinema.training.loop import Job, connect, fit
from kinema.training.run import RunFolder
from kinema.video.writer import VideoWriter

PLAIN = {
    "data": "clips", "frames": 2, "stride": 1, "size": 16, "short_side": 16, "crop": "center", "flip": 0,
    "optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.0, "schedule": "constant", "lr": 0.5, "epochs": 1,
    "batch_size": 4, "device": "cpu", "save_seconds": 1e9,
}  # fmt: skip
SMALL = {"model": "resnet3d_10", "model_options": {"widen_factor": 0.125, "conv1_t_size": 3}}


class Plain(VideoModel):
    """The mean colour of a clip and of its halves through one matrix: no batch norm, no dropout."""

    trunk: ClassVar = {}
    top: ClassVar = ("fc",)
    heads: ClassVar = ("fc",)

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(12, 2)

    def forward_features(self, clips):
        return nn.functional.adaptive_avg_pool2d(clips.mean(dim=2), 2).flatten(1)

    def forward_head(self, features):
        return self.fc(features)


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """Eleven videos of noise: six of class a, two of class b, three to validate on."""
    folder = tmp_path_factory.mktemp("noise")
    rng = np.random.default_rng(0)
    made = []
    for number, label in enumerate("aaaaaabbaab"):
        path = folder / f"{number}.mp4"
        with VideoWriter(path, fps=10, size=(16, 16)) as writer:
            writer.write(rng.integers(0, 255, (6, 16, 16, 3), dtype=np.uint8))
        made.append(Sample(path, label))
    return tuple(made)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return FrameCache(16, folder=tmp_path_factory.mktemp("frames"), limit_bytes=2**28)


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch):
    monkeypatch.setattr(loop, "write_curves", lambda *_: None)


@pytest.fixture
def plain(monkeypatch):
    """Train the network that can be reckoned with; the zoo's weights files have no place for it."""
    monkeypatch.setattr(loop, "create_model", lambda *_, **__: Plain())
    monkeypatch.setattr(loop, "save_weights", lambda *_: None)


@pytest.fixture
def job_of(samples, cache, tmp_path):
    def build(name="run", *, train=8, val=0, **settings):
        config = make_config(PLAIN, settings)
        options = full_options(config.model, config.model_options)
        card = ModelCard(config.model, options, 3, LabelMap.of(["a", "b"]), config.input_spec, {})
        folder = RunFolder(tmp_path / name)
        folder.begin()
        return Job(config, samples[:train], samples[8 : 8 + val], card, cache, folder)

    return build


def run(job, *, resume=False, progress=None):
    return fit(job, connect(job.config), resume=resume, progress=progress or Silent())


def set_up(job):
    return loop._set_up(job, connect(job.config), Silent())


def weights(job):
    return torch.load(job.folder.state, weights_only=True)["model"]


def table(job):
    with job.folder.metrics.open(newline="") as file:
        return list(csv.DictReader(file))


def rates(job):
    return [float(row["lr"]) for row in table(job)]


def distance(one, other):
    return float(torch.sqrt(sum(((one[name] - other[name]) ** 2).sum() for name in one)))


def fresh():
    torch.manual_seed(0)
    return Plain().state_dict()


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize(("batch_size", "accumulate"), [(4, 2), (2, 4), (1, 8)])
def test_micro_batches_add_up_to_one_batch(job_of, batch_size, accumulate):
    whole = job_of("whole", batch_size=8, epochs=3)
    parts = job_of("parts", batch_size=batch_size, accumulate=accumulate, epochs=3)
    assert run(whole).rows[-1].train_loss == pytest.approx(run(parts).rows[-1].train_loss, rel=1e-5)
    assert distance(weights(whole), weights(parts)) < 1e-5
    assert distance(weights(whole), fresh()) > 1e-2
    assert distance(weights(whole), weights_after(job_of, batch_size)) > 1e-3


def weights_after(job_of, batch_size):
    """Steps of the same clips, each by itself: another course."""
    job = job_of("single", batch_size=batch_size, epochs=3)
    run(job)
    return weights(job)


@pytest.mark.usefixtures("plain")
def test_more_micro_batches_than_there_are_make_one_step(job_of, monkeypatch):
    steps = watch_steps(monkeypatch)
    job, exact = job_of(batch_size=2, accumulate=100, epochs=2), job_of("exact", batch_size=2, accumulate=4, epochs=2)
    run(job)
    assert steps == [(0, 0), (1, 0)]
    run(exact)
    assert same(weights(job), weights(exact))


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
    (batch,) = parts.loader
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
    (batch,) = balanced.loader
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
    (batch,) = parts.loader
    assert sorted(batch.targets.tolist()) == [0] * 4 + [1] * 4
    rows = np.array(batch.rows)
    again = [batch.clips[rows == row] for row in set(batch.rows) if (rows == row).sum() > 1]
    assert len(again) == 2
    assert any(not torch.equal(*clips) for clips in again)


def test_a_balanced_run_goes_on_in_the_middle_of_an_epoch(job_of, monkeypatch):
    settings = {**SMALL, "epochs": 2, "save_seconds": 0, "batch_size": 2, "balance": "class"}
    whole, job = job_of("whole", **settings), job_of("parts", **settings)
    run(whole)
    go_on = stop_after(monkeypatch, 5)
    with pytest.raises(Stopped):
        run(job)
    go_on()
    run(job, resume=True)
    assert same(weights(job), weights(whole))


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


@pytest.mark.usefixtures("plain")
def test_what_is_clipped_is_the_sum_of_micro_batches(job_of):
    job = job_of(batch_size=2, accumulate=4, clip_grad_norm=0.01)
    run(job)
    assert distance(weights(job), fresh()) == pytest.approx(0.5 * 0.01, rel=1e-3)


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"epochs": 2}, [0.5, 0.5]),
        ({"epochs": 4, "schedule": "multistep", "milestones": [1, 3], "gamma": 0.1}, [0.5, 0.05, 0.05, 0.005]),
        # Two steps an epoch: the last begins in the middle of it.
        ({"epochs": 3, "warmup": 2 / 3}, [0.5 * (0.01 + 0.99 * 0.25), 0.5 * (0.01 + 0.99 * 0.75), 0.5]),
        ({"epochs": 2, "schedule": "cosine"}, [0.25 * (1 + np.cos(np.pi / 4)), 0.25 * (1 + np.cos(3 * np.pi / 4))]),
    ],
)
def test_the_rate_follows_its_schedule(job_of, settings, expected):
    job = job_of(**settings)
    run(job)
    assert rates(job) == pytest.approx(expected)


@pytest.mark.usefixtures("plain")
def test_a_rate_of_next_to_nothing_moves_next_to_nothing(job_of):
    """The rate in the table is the one that is used."""
    job = job_of(warmup=0.5, epochs=2, batch_size=8)
    moves = []

    class Watching(Silent):
        def log(self, message):
            moves.append(weights(job))

    run(job, progress=Watching())
    first, second = distance(moves[0], fresh()), distance(moves[1], moves[0])
    assert first == pytest.approx(second * 0.01, rel=0.2)


def validating(monkeypatch, *epochs):
    """Validation that gives these probabilities of the true class, one list of videos an epoch."""
    left = list(epochs)

    def score(_, videos, **__):
        return tuple(
            ScoredVideo(video, np.array([[p, 1 - p] if video.label == "a" else [1 - p, p]], np.float32))
            for video, p in zip(videos, left.pop(0), strict=True)
        )

    monkeypatch.setattr(loop, "score_videos", score)


@pytest.mark.usefixtures("plain")
def test_a_plateau_lowers_the_rate(job_of, monkeypatch):
    worse = [0.6, 0.6, 0.6]
    validating(monkeypatch, [0.7] * 3, worse, worse, [0.8] * 3, worse, worse, worse)
    job = job_of(val=3, schedule="plateau", patience=1, gamma=0.1, epochs=7)
    run(job)
    assert rates(job) == pytest.approx([0.5, 0.5, 0.5, 0.05, 0.05, 0.05, 0.005])
    assert float(table(job)[0]["val_loss"]) == pytest.approx(-np.log(0.7), rel=1e-5)


@pytest.mark.usefixtures("plain")
def test_validation_is_told_at_every_level(job_of, monkeypatch):
    clips = [np.array(rows, np.float32) for rows in ([[0.9, 0.1], [0.4, 0.6]], [[0.2, 0.8]], [[0.7, 0.3]])]
    monkeypatch.setattr(loop, "score_videos", lambda _, videos, **__: tuple(map(ScoredVideo, videos, clips)))
    (row,) = run(job_of(val=3)).rows  # of classes a, a and b
    assert row.val_video_accuracy == pytest.approx(1 / 3)
    assert row.val_clip_accuracy == pytest.approx(1 / 4)
    assert row.val_loss == pytest.approx(-np.log([0.9, 0.4, 0.2, 0.3]).mean(), rel=1e-5)


def keep_last(job, kept):
    class Keeping(Silent):
        def log(self, message):
            kept.append(load_file(job.folder.last))

    return Keeping()


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    ("epochs", "best"),
    [
        ([[0.4] * 3, [0.9] * 3, [0.9, 0.9, 0.4]], 1),  # accuracy falls again
        ([[0.8] * 3, [0.9] * 3, [0.7] * 3], 1),  # all right each time: the loss decides
        ([[0.99, 0.99, 0.45], [0.6] * 3, [0.99, 0.99, 0.45]], 1),  # accuracy before loss
        ([[0.9] * 3, [0.9] * 3, [0.9] * 3], 0),  # the first among equals
    ],
)
def test_the_best_weights_are_those_of_the_best_epoch(job_of, monkeypatch, epochs, best):
    validating(monkeypatch, *epochs)
    job = job_of(val=3, epochs=3, **SMALL)
    kept = []
    run(job, progress=keep_last(job, kept))
    found = load_file(job.folder.best)
    assert [same(found, each) for each in kept] == [number == best for number in range(3)]
    assert not same(kept[0], kept[1])


def test_without_validation_the_last_epoch_is_the_best(job_of):
    job = job_of(epochs=2, **SMALL)
    kept = []
    run(job, progress=keep_last(job, kept))
    assert same(load_file(job.folder.best), kept[1])
    assert same(load_file(job.folder.last), kept[1])
    assert not same(kept[0], kept[1])


def test_validation_leaves_no_trace_in_training(job_of):
    """Batch norm learns from training clips alone, and training goes on in training mode."""
    watched, blind = job_of("watched", val=3, epochs=2, **SMALL), job_of("blind", epochs=2, **SMALL)
    assert run(watched).rows[1].val_loss is not None
    run(blind)
    assert same(weights(watched), weights(blind))


class Stopped(Exception):  # noqa: N818  it is no error
    """What ends a run from outside."""


def stop_after(monkeypatch, count):
    step, made = loop._step, []

    def counted(*arguments):
        if len(made) == count:
            raise Stopped
        made.append(step(*arguments))

    monkeypatch.setattr(loop, "_step", counted)
    return lambda: monkeypatch.setattr(loop, "_step", step)


@pytest.mark.parametrize(("stopped_after", "saved"), [(1, (0, 1)), (2, (1, 0)), (3, (1, 1)), (5, (2, 1))])
def test_a_run_goes_on_in_the_middle_of_an_epoch(job_of, monkeypatch, stopped_after, saved):
    settings = {**SMALL, "epochs": 3, "save_seconds": 0, "optimizer": "adamw", "lr": 0.01, "batch_size": 2,
                "accumulate": 2, "mixup": 0.3, "flip": 0.5, "val": 3}  # fmt: skip
    whole = job_of("whole", **settings)
    expected = run(whole)
    job = job_of("parts", **settings)
    go_on = stop_after(monkeypatch, stopped_after)
    with pytest.raises(Stopped):
        run(job)
    state = torch.load(job.folder.state, weights_only=True)["state"]
    assert (state["epoch"], state["step"]) == saved
    go_on()
    found = run(job, resume=True)
    assert same(weights(job), weights(whole))
    assert same(load_file(job.folder.best), load_file(whole.folder.best))
    for one, other in zip(found.rows, expected.rows, strict=True):
        assert (one.train_loss, one.val_loss, one.lr) == (other.train_loss, other.val_loss, other.lr)


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize(("save_seconds", "expected"), [(1e9, 2), (0, 2 * 2 + 2)])
def test_the_state_is_saved_as_often_as_asked(job_of, monkeypatch, save_seconds, expected):
    saved, save = [], loop.save_state
    monkeypatch.setattr(loop, "save_state", lambda *arguments: saved.append(save(*arguments)))
    run(job_of(save_seconds=save_seconds, epochs=2))
    assert len(saved) == expected


@pytest.mark.usefixtures("plain")
def test_a_plateau_is_remembered(job_of, monkeypatch):
    flat = [[0.6] * 3] * 5
    settings = {"val": 3, "schedule": "plateau", "patience": 1, "gamma": 0.1, "epochs": 5}
    validating(monkeypatch, *flat)
    whole = job_of("whole", **settings)
    run(whole)
    validating(monkeypatch, *flat)
    job = job_of("parts", **settings)
    go_on = stop_after(monkeypatch, 5)
    with pytest.raises(Stopped):
        run(job)
    go_on()
    run(job, resume=True)
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

    monkeypatch.setattr(loop, "create_model", lambda *_, **__: Exploding())
    made, build = [], loop.build_optimizer
    monkeypatch.setattr(loop, "build_optimizer", lambda network, config: made.append(network) or build(network, config))
    job = job_of(batch_size=2, accumulate=2)
    with pytest.raises(TrainingError, match=f"the {place} is (nan|inf) in epoch 1, step 1") as caught:
        run(job)
    named = [line.strip() for line in caught.value.given.splitlines()[1:]]
    assert len(named) == (2 if place == "loss" else 4)
    assert set(named) <= {str(sample.path) for sample in job.train}
    assert same(made[0].state_dict(), fresh())


@pytest.mark.usefixtures("plain")
def test_the_clips_of_a_step_are_new_in_every_epoch(job_of, monkeypatch):
    seen = []
    objective = loop.Objective.__call__

    def noted(self, model, batch, *rest):
        seen.append((batch.rows, batch.clips.clone()))
        return objective(self, model, batch, *rest)

    monkeypatch.setattr(loop.Objective, "__call__", noted)
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
    assert told[:4] == [("epoch 1/1", 8, "clips"), (0, ""), (4, "loss "), (4, "loss ")]
    assert told[4].startswith("epoch 1/1: train loss ")
    assert "clip 0.667, video 0.667" in told[4]


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
