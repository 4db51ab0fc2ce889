"""A run that is killed or stopped and resumed ends with the weights of one that was not."""

import signal

import pytest
import torch
from commands import start, wait_for_epoch
from safetensors.torch import load_file

from kinema.core.errors import TrainingError, UsageError
from kinema.training.experiment import train
from kinema.training.recipe import make_config
from kinema.training.request import resume

SETTINGS = {
    "model": "resnet3d_10",
    "model_options": {"widen_factor": 0.125, "conv1_t_size": 3, "dropout": 0.3},
    "frames": 8,
    "stride": 1,
    "size": 32,
    "epochs": 4,
    "batch_size": 3,
    "brightness": 0.2,
    "speed": 0.2,
    "mixup": 0.3,
    "warmup": 0.25,
    "save_seconds": 0,
    "device": "cpu",
}


@pytest.fixture(scope="module")
def uninterrupted(tiny_clips, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "run"
    train(make_config({"data": tiny_clips, **SETTINGS}), out)
    return load_file(out / "last.safetensors")


def identical(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGINT])
def test_resumed_weights_are_identical(stop, tiny_clips, uninterrupted, tmp_path):
    out = tmp_path / "run"
    process = start(make_config({"data": tiny_clips, **SETTINGS}), out)
    wait_for_epoch(process, out, 2)
    process.send_signal(stop)
    _, messages = process.communicate()
    if stop == signal.SIGINT:
        assert process.returncode == 130
        assert "kinema train --resume" in messages.decode()
    rows = (out / "metrics.csv").read_text().splitlines()
    assert len(rows) >= 3  # the header and two finished epochs; a busy machine may see more go by

    resume(out, {})

    assert identical(load_file(out / "last.safetensors"), uninterrupted)
    assert len((out / "metrics.csv").read_text().splitlines()) == 5


def test_a_finished_run_resumes_to_itself(tiny_clips, uninterrupted, tmp_path):
    out = tmp_path / "run"
    train(make_config({"data": tiny_clips, **SETTINGS}), out)
    resume(out, {"model": "resnet3d_10"})
    assert identical(load_file(out / "last.safetensors"), uninterrupted)


def test_a_run_is_not_resumed_on_videos_that_came_or_went(grouped, tmp_path):
    out, settings = tmp_path / "run", {**SETTINGS, "epochs": 1, "size": 16}
    train(make_config({"data": grouped, **settings}), out)
    rows = grouped.read_text().splitlines()
    grouped.write_text("\n".join(rows[:-1]))
    with pytest.raises(TrainingError, match=r"not the one that the run was begun with: train \d+, val \d+, test \d+"):
        resume(out, {})
    grouped.write_text("\n".join([rows[0], *reversed(rows[1:])]))
    resume(out, {})


def test_another_seed_gives_other_weights(tiny_clips, uninterrupted, tmp_path):
    train(make_config({"data": tiny_clips, **SETTINGS, "seed": 1}), tmp_path / "run")
    assert not identical(load_file(tmp_path / "run" / "last.safetensors"), uninterrupted)


def test_resume_refuses_what_it_cannot_do(tmp_path, tiny_clips):
    with pytest.raises(UsageError, match="no run in"):
        resume(tmp_path, {})
    make_config({"data": tiny_clips, **SETTINGS}).write(tmp_path / "config.yaml")
    with pytest.raises(UsageError, match="beside --resume"):
        resume(tmp_path, {"epochs": 9})
