"""Two processes of which the head learns first: what is trained changes under way in both of them."""

import json
import os
import subprocess
import sys

import pytest
from safetensors.torch import load_file

from kinema.training.recipe import make_config

SETTINGS = {
    "model": "resnet3d_10",
    "model_options": {"widen_factor": 0.125, "conv1_t_size": 3},
    "frames": 8,
    "stride": 1,
    "size": 32,
    "epochs": 3,
    "batch_size": 4,
    "optimizer": "sgd",
    "lr": 0.02,
    "train_from": "layer3",
    "head_epochs": 1,
    "ema": 0.5,
    "sync_batch_norm": True,
    "device": "cpu",
}


@pytest.mark.slow
def test_two_processes_change_what_they_train_as_one_does(tiny_clips, tmp_path):
    """DDP is made anew for each phase: one that waited for gradients of frozen stages would end in an error."""
    weights = []
    for name, settings in (("one", {}), ("two", {"devices": 2, "batch_size": 2})):
        make_config({"data": tiny_clips, **SETTINGS, **settings}).write(tmp_path / f"{name}.yaml")
        command = ["train", "--recipe", tmp_path / f"{name}.yaml", "--out", tmp_path / name, "--json"]
        done = subprocess.run(
            [sys.executable, "-m", "kinema", *map(str, command)],
            capture_output=True, text=True, check=True, env=dict(os.environ),
        )  # fmt: skip
        (line,) = [line for line in done.stdout.splitlines() if line.startswith("{")]
        assert json.loads(line)["test"]["video"]["n"] == 8
        assert "trains 130 of 228,250 parameters: fc; " in done.stderr
        assert "trains 210,626 of 228,250 parameters: layer3, layer4, fc; " in done.stderr
        weights.append(load_file(tmp_path / name / "last.safetensors"))
    one, two = weights
    for name, tensor in one.items():
        if tensor.is_floating_point():
            assert (tensor - two[name]).abs().max() / tensor.abs().max().clamp(min=1) < 1e-4, name
