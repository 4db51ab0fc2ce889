"""Runs on clips of noise with a network small enough to reckon with, and looks at what they leave."""

import csv
from typing import ClassVar

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from kinema.core.progress import Silent
from kinema.evaluation.protocol import ScoredVideo
from kinema.models.model import VideoModel
from kinema.training import loop, validation
from kinema.training.loop import fit
from kinema.training.parts import set_up as assemble
from kinema.training.processes import connect

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


def run(job, *, resume=False, progress=None):
    return fit(job, connect(job.config), resume=resume, progress=progress or Silent())


def set_up(job):
    return assemble(job, connect(job.config), Silent())


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


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


def validating(monkeypatch, *epochs):
    """Validation that gives these probabilities of the true class, one list of videos an epoch."""
    left = list(epochs)

    def score(_, videos, **__):
        return tuple(
            ScoredVideo(video, np.array([[p, 1 - p] if video.label == "a" else [1 - p, p]], np.float32))
            for video, p in zip(videos, left.pop(0), strict=True)
        )

    monkeypatch.setattr(validation, "score_videos", score)


def keep_last(job, kept):
    class Keeping(Silent):
        def log(self, message):
            if message.startswith("epoch"):
                kept.append(load_file(job.folder.last))

    return Keeping()


class StoppedError(Exception):
    """What ends a run from outside."""


def stop_after(monkeypatch, count):
    step, made = loop._step, []

    def counted(*arguments):
        if len(made) == count:
            raise StoppedError
        made.append(step(*arguments))

    monkeypatch.setattr(loop, "_step", counted)
    return lambda: monkeypatch.setattr(loop, "_step", step)


def run_whole_and_parted(job_of, monkeypatch, *epochs, steps=5, **settings):
    """The same run undisturbed, and stopped after so many steps and resumed; `epochs` as of `validating`, if any."""
    whole, parted = job_of("whole", **settings), job_of("parts", **settings)
    for job in (whole, parted):
        if epochs:
            validating(monkeypatch, *epochs)
        if job is whole:
            run(whole)
    go_on = stop_after(monkeypatch, steps)
    with pytest.raises(StoppedError):
        run(parted)
    go_on()
    run(parted, resume=True)
    return whole, parted
