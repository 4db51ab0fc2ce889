"""Processes that share a study: together, killed, and stopped. These train for real."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from kinema.core.progress import Silent
from kinema.studies.folder import StudyFolder
from kinema.studies.grid import lay_out
from kinema.studies.workers import _share, run_study
from kinema.training.experiment import train

SECONDS = 1200  # of a machine that does much else
pytestmark = [pytest.mark.slow, pytest.mark.timeout(2 * SECONDS)]


def command(study, out, *options):
    return [sys.executable, "-m", "kinema", "study", str(study), "--out", str(out), *options]


def wait_until(true, process):
    deadline = time.monotonic() + SECONDS
    while not true():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def children(process):
    found = subprocess.run(
        ["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=False
    ).stdout.split()
    said = {int(pid): Path(f"/proc/{pid}/cmdline").read_text() for pid in found}
    return [pid for pid, line in said.items() if "spawn_main" in line]


@pytest.fixture
def four_runs(write_study):
    return write_study(settings={"epochs": 6, "save_seconds": 0})


def states(out):
    return list(out.glob("runs/*/state.pt"))


def began(out, run):
    """Process ids that trained a run, by its event files: one an attempt."""
    return [int(path.name.split(".")[-2]) for path in (out / "runs" / run).glob("events*")]


def test_runs_of_a_study_are_the_runs_that_train_would_make(write_study, tmp_path):
    grid = lay_out(write_study(axes={"lr": [0.001, 0.01]}), tmp_path / "out")
    assert run_study(grid, workers=1, progress=Silent()).failed == {}
    train(grid.runs[1].config, tmp_path / "alone")
    folders = (grid.runs[1].folder, tmp_path / "alone")
    one, other = (load_file(folder / "best.safetensors") for folder in folders)
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert (grid.runs[1].folder / "predictions.csv").read_text() == (tmp_path / "alone" / "predictions.csv").read_text()


def test_two_calls_share_the_runs_and_train_none_twice(four_runs, tmp_path):
    out = tmp_path / "out"
    both = [
        subprocess.Popen(command(four_runs, out, "--json"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    told = [process.communicate(timeout=SECONDS) for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    assert [json.loads(text)["done"] for text, _ in told] == [4, 4]
    owners = [began(out, path.name) for path in sorted((out / "runs").iterdir())]
    assert [len(pids) for pids in owners] == [1, 1, 1, 1]
    assert {pid for pids in owners for pid in pids} <= {process.pid for process in both}


def test_a_killed_worker_is_replaced_and_its_run_goes_on_where_it_was(four_runs, tmp_path):
    out = tmp_path / "out"
    process = subprocess.Popen(
        command(four_runs, out, "--workers", "2", "--json"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_until(lambda: len(states(out)) >= 2, process)
    killed = children(process)[0]
    os.kill(killed, signal.SIGKILL)
    text, said = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, said
    assert json.loads(text)["done"] == 4
    tried = {path.name: began(out, path.name) for path in (out / "runs").iterdir()}
    assert sum(len(pids) for pids in tried.values()) <= 5
    for run in tried:
        with (out / "runs" / run / "metrics.csv").open() as file:
            assert [int(row["epoch"]) for row in csv.DictReader(file)] == list(range(1, 7))


def test_a_killed_call_goes_on_run_by_run(four_runs, tmp_path):
    out = tmp_path / "out"
    process = subprocess.Popen(command(four_runs, out), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: list(out.glob("runs/*/done.json")), process)
    process.kill()
    process.communicate()
    finished = {path: path.stat().st_mtime_ns for path in out.glob("runs/*/done.json")}
    assert 1 <= len(finished) < 4
    again = subprocess.run(command(four_runs, out, "--json"), capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["done"] == 4
    assert {path: path.stat().st_mtime_ns for path in finished} == finished


@pytest.mark.parametrize("workers", ["1", "2"])
def test_ctrl_c_stops_all_saves_all_and_says_how_to_go_on(four_runs, tmp_path, workers):
    out = tmp_path / "out"
    process = subprocess.Popen(
        command(four_runs, out, "--workers", workers), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_until(lambda: states(out), process)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=SECONDS)
    assert process.returncode == 130, said
    assert "of 4 runs are left; the same command goes on with them" in said
    assert "Traceback" not in said
    assert not children(process)
    claims = [path.read_text() for path in (out / "claims").iterdir()]
    assert set(claims) <= {"{}"}  # let go, not left for dead
    again = subprocess.run(command(four_runs, out, "--json"), capture_output=True, text=True, check=False)
    assert json.loads(again.stdout)["done"] == 4, again.stderr


def test_workers_whose_call_was_killed_stop_by_themselves(four_runs, tmp_path):
    out = tmp_path / "out"
    process = subprocess.Popen(
        command(four_runs, out, "--workers", "2"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    wait_until(lambda: states(out), process)
    orphans = children(process)
    process.kill()
    process.wait()
    deadline = time.monotonic() + SECONDS
    while any(Path(f"/proc/{pid}").exists() for pid in orphans):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_processes_share_threads_and_gpus(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert _share(0, 3) == {"OMP_NUM_THREADS": "2"}
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert [_share(number, 3)["CUDA_VISIBLE_DEVICES"] for number in range(3)] == ["0", "1", "0"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    assert _share(1, 2)["CUDA_VISIBLE_DEVICES"] == "5"


def test_a_study_is_kept_beside_its_runs(four_runs, tmp_path):
    grid = lay_out(four_runs, tmp_path / "out")
    StudyFolder(grid.out).begin(grid)
    assert yaml.safe_load((grid.out / "study.yaml").read_text()) == yaml.safe_load(four_runs.read_text())
