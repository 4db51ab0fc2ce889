"""Several processes that train together: as one would, writing once, ending together. train_pair.py is both."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from small_runs import distance, run

from kinema.core.progress import Silent
from kinema.evaluation.examine import examine
from kinema.evaluation.protocol import Views
from kinema.training.experiment import train
from kinema.training.recipe import make_config

pytestmark = [pytest.mark.slow, pytest.mark.timeout(0)]  # processes load torch afresh

PROGRAM = Path(__file__).with_name("train_pair.py")
ALONE = {
    "model": "resnet3d_10",
    "model_options": {"widen_factor": 0.125, "conv1_t_size": 3},
    "frames": 8,
    "stride": 1,
    "size": 32,
    "epochs": 3,
    "batch_size": 4,
    "optimizer": "sgd",
    "lr": 0.005,  # at ten times that, rounding grows to a hundredth in nine steps, in one process as well
    "flip": 0.5,
    "brightness": 0.3,
    "hue": 0.1,
    "speed": 0.2,
    "clip_grad_norm": 1.0,
    "ema": 0.5,
    "device": "cpu",
}
TOGETHER = {**ALONE, "batch_size": 2, "devices": 2}
UNEVEN = {"batch_size": 8, "epochs": 3, "class_weights": "balanced", "clip_grad_norm": 0.05}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("pair")


@pytest.fixture(scope="module")
def pair(tiny_clips, samples, folder):
    """What each of two processes saw of several trainings."""
    named = [[str(sample.path), sample.label] for sample in samples[:7]]
    plans = [
        {"name": "synchronised", "settings": {**TOGETHER, "sync_batch_norm": True}},
        {"name": "each its own", "settings": TOGETHER},
        {"name": "two micro-batches", "settings": {**TOGETHER, "sync_batch_norm": True, "accumulate": 3}},
        *({"name": how, "settings": {**TOGETHER, "save_seconds": 0}, "spoilt": how}
          for how in ("loss", "reading", "writing")),
        {"name": "uneven", "settings": {**UNEVEN, "devices": 2}, "samples": named},
    ]  # fmt: skip
    for plan in plans:
        plan["out"] = str(folder / plan["name"])
        plan["settings"] = {"data": str(tiny_clips), **plan["settings"]}
    (folder / "plan.json").write_text(json.dumps(plans))
    environment = {**os.environ, "PYTHONPATH": str(PROGRAM.parent)}
    done = subprocess.run(
        [sys.executable, PROGRAM, folder / "plan.json"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def furthest(one, other):
    """The largest difference between two weights files, as a share of the largest number of each tensor."""
    here, there = load_file(one / "last.safetensors"), load_file(other / "last.safetensors")
    floating = [name for name in here if here[name].is_floating_point()]
    return max(
        ((here[name] - there[name]).abs().max() / there[name].abs().max().clamp(min=1)).item() for name in floating
    )


def rows(folder):
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(("name", "settings"), [("synchronised", {}), ("two micro-batches", {"accumulate": 3})])
@pytest.mark.usefixtures("pair")
def test_two_processes_learn_what_one_with_their_clips_learns(tiny_clips, folder, tmp_path, name, settings):
    """Nine steps (or three of twelve clips) with augmentation, clipped gradients and averaged weights."""
    train(make_config({"data": tiny_clips, **ALONE, **settings}), tmp_path / "one")
    assert furthest(folder / name, tmp_path / "one") < 1e-5
    for one, other in zip(rows(folder / name), rows(tmp_path / "one"), strict=True):
        for figure in ("train_loss", "val_loss"):
            assert float(one[figure]) == pytest.approx(float(other[figure]), rel=1e-3)
    if not settings:
        assert furthest(folder / "each its own", tmp_path / "one") > 1e-3  # what batch norms alone make of it


@pytest.mark.usefixtures("plain", "no_pictures")
def test_where_clips_do_not_come_out_even_each_still_counts_once(pair, folder, job_of):
    one = job_of("one", train=7, **UNEVEN)
    state = run(one)
    assert pair[0]["uneven"]["rows"] == pytest.approx([row.train_loss for row in state.rows], rel=1e-5)
    here = torch.load(one.folder.state, weights_only=True)["model"]
    there = torch.load(folder / "uneven" / "run" / "state.pt", weights_only=True)["model"]
    assert distance(here, there) < 1e-5


def test_only_the_first_process_writes_into_the_folder(pair, folder):
    first, second = (found["synchronised"]["written"] for found in pair)
    assert any("metrics" in line for line in first)
    assert second == []
    assert len(list((folder / "synchronised").glob("events.out.*"))) == 1


def test_a_shared_examination_is_that_of_one_process(pair, tiny_clips, folder, tmp_path):
    assert "written" in pair[0]["synchronised"]
    views = Views(None)
    examine(folder / "synchronised" / "best.safetensors", tiny_clips, split="test", views=views, skip_broken=False,
            device="cpu", out=tmp_path, progress=Silent())  # fmt: skip
    shared = folder / "synchronised" / "predictions.csv"
    assert shared.read_bytes() == (tmp_path / "predictions.csv").read_bytes()
    assert json.loads((folder / "synchronised" / "metrics.json").read_text())["video"]["n"] == 8


@pytest.mark.parametrize(
    ("name", "failing", "said", "code"),
    [("loss", 1, "the loss is nan", 6), ("reading", 1, "cannot read clip.mp4: it went away", 4),
     ("writing", 0, "No space left on device", 6)],
)  # fmt: skip
def test_what_ends_one_process_ends_both_with_its_message(pair, name, failing, said, code):
    there, here = pair[failing][name], pair[1 - failing][name]
    assert said in there["said"]
    assert there["error"] != "ElsewhereError"
    assert here["error"] == "ElsewhereError"
    assert here["said"].startswith(f"process {failing}: ")
    assert said in here["said"]
    assert there["code"] == here["code"] == code


def test_a_command_for_two_processes_tells_of_them_once(tiny_clips, tmp_path):
    make_config({"data": tiny_clips, **TOGETHER, "epochs": 1}).write(tmp_path / "recipe.yaml")
    out = tmp_path / "run"
    command = ["train", "--recipe", str(tmp_path / "recipe.yaml"), "--out", str(out), "--json"]
    done = subprocess.run([sys.executable, "-m", "kinema", *command], capture_output=True, text=True, check=True)
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("{")]
    assert json.loads(line)["test"]["video"]["n"] == 8
    assert len(rows(out)) == 1
    assert len(list(out.glob("events.out.*"))) == 1
    assert load_file(out / "last.safetensors").keys()
