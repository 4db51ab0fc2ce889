"""Training from shards in processes that are killed, and in several that share them."""

import csv
import signal

import pytest
from commands import start, wait_for_epoch
from safetensors.torch import load_file
from small_runs import same

from kinema.training.experiment import train
from kinema.training.recipe import make_config
from kinema.training.request import resume

SETTINGS = {
    "model": "resnet3d_10",
    "model_options": {"widen_factor": 0.125, "conv1_t_size": 3, "dropout": 0.3},
    "frames": 8,
    "stride": 1,
    "size": 32,
    "epochs": 3,
    "batch_size": 2,
    "save_seconds": 0,
    "device": "cpu",
}

pytestmark = pytest.mark.slow  # processes load torch afresh


@pytest.mark.parametrize("workers", [0, 2])
def test_a_killed_run_ends_with_the_same_weights(packed_clips, tmp_path, workers):
    config = make_config(SETTINGS, {"data": packed_clips.address, "workers": workers})
    whole = train(config, tmp_path / "whole")
    process = start(config, tmp_path / "run")
    wait_for_epoch(process, tmp_path / "run", 1)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    resumed = resume(tmp_path / "run", {})
    weights = [load_file(outcome.folder / "last.safetensors") for outcome in (whole, resumed)]
    assert same(*weights)
    assert resumed.test.video == whole.test.video


def test_two_processes_share_the_shards(packed_clips, tmp_path):
    config = make_config(SETTINGS, {"data": packed_clips.address, "devices": 2, "epochs": 2})
    process = start(config, tmp_path / "run")
    _, messages = process.communicate()
    assert process.returncode == 0, messages.decode()
    assert len(list(csv.DictReader((tmp_path / "run" / "metrics.csv").read_text().splitlines()))) == 2
    assert load_file(tmp_path / "run" / "best.safetensors").keys()
