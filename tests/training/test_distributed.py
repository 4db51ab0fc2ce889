"""Several processes that train together."""

import csv
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
    "epochs": 2,
    "batch_size": 2,
    "device": "cpu",
    "devices": 2,
}


@pytest.mark.slow
def test_two_processes_train_as_one_and_only_the_first_writes(tiny_clips, tmp_path):
    make_config({"data": tiny_clips, **SETTINGS}).write(tmp_path / "recipe.yaml")
    out = tmp_path / "run"
    command = ["train", "--recipe", str(tmp_path / "recipe.yaml"), "--out", str(out), "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "kinema", *command], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("{")]
    assert json.loads(line)["test"]["video"]["n"] == 8
    rows = list(csv.DictReader((out / "metrics.csv").read_text().splitlines()))
    assert len(rows) == 2
    assert len(list(out.glob("events.out.*"))) == 1
    assert load_file(out / "last.safetensors").keys()
