"""Processes that torchrun starts: on machines as far as they can be had here, with shards, and killed."""

import csv
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file
from small_runs import same

from kinema.training.recipe import make_config

SETTINGS = {
    "model": "resnet3d_10",
    "model_options": {"widen_factor": 0.125, "conv1_t_size": 3, "dropout": 0.3},
    "frames": 8,
    "stride": 1,
    "size": 32,
    "epochs": 4,
    "batch_size": 2,
    "save_seconds": 0,
    "device": "cpu",
}
TORCHRUN = Path(sys.executable).with_name("torchrun")
LIMIT_SECONDS = 280

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Launched:
    """torchrun, and what it says; it and all that it started are gone after the block."""

    def __init__(self, folder, options, program, *, within=(), variables=None):
        self.log = folder / f"torchrun-{len(list(folder.glob('torchrun-*.log')))}.log"
        options = ["--log-dir", self.log.with_suffix(""), *options]  # or its error files would stay in /tmp
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [*within, str(TORCHRUN), *map(str, options), *map(str, program)],
                env={**os.environ, **(variables or {})}, stdout=log, stderr=subprocess.STDOUT, cwd=folder,
            )  # fmt: skip

    def __enter__(self):
        return self

    def __exit__(self, *_):
        tree = [psutil.Process(self.process.pid)] if self.process.poll() is None else []
        for one in [*(tree[0].children(recursive=True) if tree else []), *tree]:
            one.kill()
        self.process.wait()

    def workers(self):
        return psutil.Process(self.process.pid).children()

    def finish(self):
        self.process.wait(LIMIT_SECONDS)
        return self.process.returncode

    def said(self):
        return self.log.read_text()


def training(data, out, folder, **settings):
    make_config(SETTINGS, {"data": data, **settings}).write(folder / "recipe.yaml")
    return ["-m", "kinema", "train", "--recipe", folder / "recipe.yaml", "--out", out, "--resume-or-begin"]


@pytest.fixture(scope="module")
def whole(tiny_clips, tmp_path_factory):
    """Last weights of two processes that nothing happened to."""
    folder = tmp_path_factory.mktemp("whole")
    options = ["--standalone", "--nproc-per-node", 2]
    with Launched(folder, options, training(tiny_clips, folder / "run", folder, devices=2)) as launched:
        assert launched.finish() == 0, launched.said()
    return load_file(folder / "run" / "last.safetensors")


def require_one_writer(out):
    assert len(list(csv.DictReader((out / "metrics.csv").read_text().splitlines()))) == SETTINGS["epochs"]
    assert len(list(out.glob("events.out.tfevents*"))) == 1
    assert not [path for path in out.iterdir() if path.name.startswith(".")]


def test_two_machines_train_as_two_processes_of_one(tiny_clips, whole, tmp_path):
    program = training(tiny_clips, tmp_path / "run", tmp_path, nodes=2)
    options = ["--nnodes", 2, "--nproc-per-node", 1, "--rdzv-backend", "c10d", "--rdzv-id", "pair",
               "--rdzv-endpoint", f"127.0.0.1:{free_port()}"]  # fmt: skip
    with Launched(tmp_path, options, program) as one, Launched(tmp_path, options, program) as other:
        assert (one.finish(), other.finish()) == (0, 0), one.said() + other.said()
        told = [launched.said() for launched in (one, other)]
    speaker, silent = sorted(told, key=len, reverse=True)
    assert "2 processes on 2 machines train together: 2 clips a step each, 4 in all" in speaker
    assert f"weights in {tmp_path / 'run' / 'best.safetensors'}" in speaker
    assert "epoch 1/4" not in silent
    assert same(load_file(tmp_path / "run" / "last.safetensors"), whole)
    require_one_writer(tmp_path / "run")


@contextmanager
def machines():
    """Two network namespaces that reach each other as 10.77.0.1 and 10.77.0.2."""
    names = [f"kinema-{os.getpid()}-{number}" for number in (1, 2)]
    links = [f"kn{os.getpid() % 10**6}{letter}" for letter in "ab"]

    def ip(*words):
        subprocess.run(["ip", *words], check=True, capture_output=True, text=True)

    try:
        for name in names:
            ip("netns", "add", name)
        ip("link", "add", links[0], "type", "veth", "peer", "name", links[1])
        for number, (name, link) in enumerate(zip(names, links, strict=True), start=1):
            ip("link", "set", link, "netns", name)
            ip("-n", name, "addr", "add", f"10.77.0.{number}/24", "dev", link)
            ip("-n", name, "link", "set", link, "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield list(zip(names, links, strict=True))
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def test_two_networks_train_as_two_processes_of_one(tiny_clips, whole, tmp_path):
    """Nothing of one machine is at the other's 127.0.0.1."""
    if shutil.which("ip") is None or os.geteuid() != 0:
        pytest.skip("network namespaces need iproute2 and root")
    try:
        with machines() as places:
            train_between(places, tiny_clips, tmp_path)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no network namespaces here: {error.stderr}")
    assert same(load_file(tmp_path / "run" / "last.safetensors"), whole)
    require_one_writer(tmp_path / "run")


def train_between(places, data, folder):
    program = training(data, folder / "run", folder, nodes=2)
    both = []
    for number, (name, link) in enumerate(places, start=1):
        options = ["--nnodes", 2, "--nproc-per-node", 1, "--rdzv-backend", "c10d", "--rdzv-id", "pair",
                   "--rdzv-endpoint", "10.77.0.1:29400", "--local-addr", f"10.77.0.{number}",
                   "--rdzv-conf", f"is_host={number == 1}"]  # fmt: skip
        within, variables = ("ip", "netns", "exec", name), {"GLOO_SOCKET_IFNAME": link}
        both.append(Launched(folder, options, program, within=within, variables=variables))
    with both[0] as one, both[1] as other:
        codes = one.finish(), other.finish()
        assert codes == (0, 0), one.said() + other.said()


def wait_for_epoch(launched, out, epoch):
    """Until the saved state lies in the middle of a later epoch than `epoch`."""
    deadline = time.monotonic() + LIMIT_SECONDS
    while time.monotonic() < deadline:
        assert launched.process.poll() is None, launched.said()
        if (out / "state.pt").exists():
            state = torch.load(out / "state.pt", weights_only=True)["state"]
            if state["epoch"] >= epoch and state["step"] > 0:
                return
        time.sleep(0.02)
    pytest.fail("the run never came that far")


@pytest.mark.parametrize("victim", [0, 1])
def test_a_group_that_lost_a_process_restarts_and_ends_with_the_same_weights(tiny_clips, whole, tmp_path, victim):
    out = tmp_path / "run"
    options = ["--standalone", "--nproc-per-node", 2, "--max-restarts", 2]
    with Launched(tmp_path, options, training(tiny_clips, out, tmp_path, devices=2)) as launched:
        wait_for_epoch(launched, out, 1)
        next(one for one in launched.workers() if one.environ()["RANK"] == str(victim)).kill()
        assert launched.finish() == 0, launched.said()
        said = launched.said()
    assert "restarted 1 of 2 times" in said
    assert "resumed after" in said
    assert same(load_file(out / "last.safetensors"), whole)
    require_rows(out)


def require_rows(out):
    rows = list(csv.DictReader((out / "metrics.csv").read_text().splitlines()))
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4"]


def test_a_process_that_dies_takes_the_group_down_in_words(tiny_clips, tmp_path):
    out = tmp_path / "run"
    options = ["--standalone", "--nproc-per-node", 2]
    with Launched(tmp_path, options, training(tiny_clips, out, tmp_path, devices=2, epochs=500)) as launched:
        wait_for_epoch(launched, out, 1)
        first, second = sorted(launched.workers(), key=lambda one: one.environ()["RANK"])
        second.kill()
        assert launched.finish() != 0
        assert not first.is_running()
        said = launched.said()
    assert "process 0 of 2: another process of the run has ended" in said


def test_notice_saves_the_state_of_all(tiny_clips, whole, tmp_path):
    """SIGTERM to torchrun, as Slurm and Kubernetes send it; the same command then goes on."""
    out = tmp_path / "run"
    options = ["--standalone", "--nproc-per-node", 2]
    program = training(tiny_clips, out, tmp_path, devices=2, save_seconds=1000)
    with Launched(tmp_path, options, program) as launched:
        deadline = time.monotonic() + LIMIT_SECONDS
        while not (out / "metrics.csv").exists():
            assert time.monotonic() < deadline
            assert launched.process.poll() is None, launched.said()
            time.sleep(0.02)
        launched.process.terminate()
        launched.finish()
        assert "go on with: kinema train --resume" in launched.said()
    assert torch.load(out / "state.pt", weights_only=True)["state"]["epoch"] >= 1
    with Launched(tmp_path, options, program) as again:
        assert again.finish() == 0, again.said()
    assert same(load_file(out / "last.safetensors"), whole)


READER = """
import json, sys
from pathlib import Path
from kinema.datasets.shards.index import read_index
from kinema.training.material import Seat, ShardMaterial
from kinema.training.processes import connect
from kinema.training.recipe import make_config
from kinema.transforms.presets import AugmentSpec, TrainTransform

if __name__ == "__main__":  # reader processes load this file, too
    config = make_config({"data": sys.argv[1], "frames": 8, "stride": 1, "size": 32, "batch_size": 2, "devices": 2,
                          "workers": 2, "device": "cpu"})
    fabric = connect(config)
    spec = config.input_spec
    seat = Seat(fabric.global_rank, fabric.world_size)
    feed = ShardMaterial(read_index(sys.argv[1])).feed(config, spec, TrainTransform(spec, AugmentSpec()), seat)
    rows = []
    for epoch in range(3):
        feed.go_to(epoch)
        rows.append([row for batch in feed for row in batch.rows])
    Path(sys.argv[2], f"{fabric.global_rank}.json").write_text(json.dumps(rows))
"""


def test_processes_and_their_readers_share_the_shards_without_overlap(packed_clips, tmp_path):
    (tmp_path / "reader.py").write_text(READER)
    options = ["--standalone", "--nproc-per-node", 2]
    with Launched(tmp_path, options, [tmp_path / "reader.py", packed_clips.address, tmp_path]) as launched:
        assert launched.finish() == 0, launched.said()
    seen = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1)]
    for epoch in range(3):
        shares = [rank[epoch] for rank in seen]
        assert all(set(one).isdisjoint(other) for one, other in combinations(shares, 2))
        assert len(shares[0]) == len(shares[1])
        assert sorted(shares[0] + shares[1]) == list(range(12))
    assert seen[0][0] != seen[0][1]
