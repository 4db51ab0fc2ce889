"""`kinema train` in a process of its own, which can be killed at a place that it has come to."""

import os
import subprocess
import sys
import time

import torch


def start(config, out):
    """The training that `config` describes."""
    config.write(out.parent / "recipe.yaml")
    command = [sys.executable, "-m", "kinema", "train", "--recipe", str(out.parent / "recipe.yaml"), "--out", str(out)]
    return subprocess.Popen(command, env=dict(os.environ), stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def wait_for_epoch(process, out, epoch):
    """Until the saved state lies in the middle of the epoch after `epoch` finished ones, or later."""
    while True:
        assert process.poll() is None, process.stderr.read().decode()
        if (out / "state.pt").exists():
            state = torch.load(out / "state.pt", weights_only=True)["state"]
            if state["epoch"] >= epoch and state["step"] > 0:
                return
        time.sleep(0.01)
