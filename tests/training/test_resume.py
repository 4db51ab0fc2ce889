"""A run that is killed or stopped and resumed ends with the weights of one that was not."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

from kinema.core.errors import UsageError
from kinema.training.experiment import resume, train
from kinema.training.recipe import make_config

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


def start(tiny_clips, out):
    """The same training in a process of its own, which can be killed."""
    config = out.parent / "recipe.yaml"
    make_config({"data": tiny_clips, **SETTINGS}).write(config)
    command = [sys.executable, "-m", "kinema", "train", "--recipe", str(config), "--out", str(out)]
    return subprocess.Popen(command, env=dict(os.environ), stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def wait_for_third_epoch(process, out):
    """Until the saved state lies in the middle of the third epoch."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None, process.stderr.read().decode()
        if (out / "state.pt").exists():
            state = torch.load(out / "state.pt", weights_only=True)["state"]
            if state["epoch"] == 2 and state["step"] > 0:
                return
            assert state["epoch"] <= 2, "the third epoch went by unseen"
    pytest.fail("the run never reached its third epoch")


def identical(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGINT])
def test_resumed_weights_are_identical(stop, tiny_clips, uninterrupted, tmp_path):
    out = tmp_path / "run"
    process = start(tiny_clips, out)
    wait_for_third_epoch(process, out)
    process.send_signal(stop)
    _, messages = process.communicate(timeout=60)
    if stop == signal.SIGINT:
        assert process.returncode == 130
        assert "kinema train --resume" in messages.decode()
    rows = (out / "metrics.csv").read_text().splitlines()
    assert 3 <= len(rows) <= 4  # the header and two finished epochs; a busy machine may see one more go by

    resume(out, {})

    assert identical(load_file(out / "last.safetensors"), uninterrupted)
    assert len((out / "metrics.csv").read_text().splitlines()) == 5


def test_a_finished_run_resumes_to_itself(tiny_clips, uninterrupted, tmp_path):
    out = tmp_path / "run"
    train(make_config({"data": tiny_clips, **SETTINGS}), out)
    resume(out, {"model": "resnet3d_10"})
    assert identical(load_file(out / "last.safetensors"), uninterrupted)


def test_another_seed_gives_other_weights(tiny_clips, uninterrupted, tmp_path):
    train(make_config({"data": tiny_clips, **SETTINGS, "seed": 1}), tmp_path / "run")
    assert not identical(load_file(tmp_path / "run" / "last.safetensors"), uninterrupted)


def test_resume_refuses_what_it_cannot_do(tmp_path, tiny_clips):
    with pytest.raises(UsageError, match="no run in"):
        resume(tmp_path, {})
    make_config({"data": tiny_clips, **SETTINGS}).write(tmp_path / "config.yaml")
    with pytest.raises(UsageError, match="beside --resume"):
        resume(tmp_path, {"epochs": 9})
