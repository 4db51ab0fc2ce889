"""Clips of noise, and runs on them."""

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from small_runs import PLAIN, Plain

from kinema.core.labels import LabelMap
from kinema.datasets.cache import FrameCache
from kinema.datasets.manifest import read_manifest
from kinema.datasets.sample import Sample
from kinema.datasets.shards.index import PackOptions
from kinema.datasets.shards.pack import pack
from kinema.models.weights import ModelCard
from kinema.models.zoo import full_options
from kinema.training import loop, parts
from kinema.training.material import FileMaterial
from kinema.training.parts import Job
from kinema.training.recipe import make_config
from kinema.training.run import RunFolder
from kinema.video.writer import VideoWriter


@pytest.fixture(scope="session")
def samples(tmp_path_factory):
    """Eleven videos of noise: six of class a, two of class b, three to validate on."""
    folder = tmp_path_factory.mktemp("noise")
    rng = np.random.default_rng(0)
    made = []
    for number, label in enumerate("aaaaaabbaab"):
        path = folder / f"{number}.mp4"
        with VideoWriter(path, fps=10, size=(16, 16)) as writer:
            writer.write(rng.integers(0, 255, (6, 16, 16, 3), dtype=np.uint8))
        made.append(Sample(path, label))
    return tuple(made)


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    return FrameCache(16, folder=tmp_path_factory.mktemp("frames"), limit_bytes=2**28)


@pytest.fixture
def grouped(tiny_clips, tmp_path):
    """The rendered clips with their scenes as groups and without a split column."""
    for label in ("normal", "selfharm"):
        shutil.copytree(tiny_clips.parent / label, tmp_path / "clips" / label)
    rows = list(csv.DictReader(tiny_clips.read_text().splitlines()))
    with (tmp_path / "clips" / "clips.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["path", "label", "group"], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return tmp_path / "clips" / "clips.csv"


@pytest.fixture(scope="module")
def own_cache(tmp_path_factory):
    """For tests that train as the command does: frames are kept in a folder of this file's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KINEMA_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def no_pictures(monkeypatch):
    monkeypatch.setattr(loop, "write_curves", lambda *_: None)


@pytest.fixture
def plain(monkeypatch):
    """Train the network that can be reckoned with; the zoo's weights files have no place for it."""
    monkeypatch.setattr(parts, "create_model", lambda *_, **__: Plain())
    monkeypatch.setattr(loop, "save_weights", lambda *_: None)


@pytest.fixture
def job_of(samples, cache, tmp_path):
    def build(name="run", *, train=8, val=0, **settings):
        config = make_config(PLAIN, settings)
        options = full_options(config.model, config.model_options)
        card = ModelCard(config.model, options, 3, LabelMap.of(["a", "b"]), config.input_spec, {})
        folder = RunFolder(tmp_path / name)
        folder.begin()
        learnt = FileMaterial(samples[:train], card.labels, cache)
        return Job(config, learnt, samples[8 : 8 + val], card, cache, folder, f"train {train}, val {val}")

    return build


@pytest.fixture(scope="session")
def packed_clips(tiny_clips, tmp_path_factory):
    """The rendered clips, packed: 12 to train on, 4 to validate on, 8 to test on, in several shards each."""
    options = PackOptions(shard_mib=0.02, short_side_px=48)
    return pack(read_manifest(tiny_clips), tmp_path_factory.mktemp("shards") / "tiny", options=options, workers=0)


@pytest.fixture(scope="session")
def two_processes():
    """What each of two processes found that were started to try what they share."""
    program = Path(__file__).with_name("two_processes.py")
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
