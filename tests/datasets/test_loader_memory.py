"""That readers of many epochs hold no more than readers of a few.

The machine's other work changes no figure here: bytes, handles and mappings of the worker are counted, not time.
"""

import multiprocessing
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import torch

from kinema.core.spec import InputSpec
from kinema.datasets.cache import FrameCache
from kinema.datasets.loader import Batch, EpochSampler, TrainingClips, training_loader
from kinema.datasets.manifest import read_manifest
from kinema.datasets.sample import Sample
from kinema.datasets.shards.index import ALL
from kinema.datasets.shards.loader import PackedClips, PackedLoader
from kinema.datasets.shards.pack import pack
from kinema.transforms.presets import AugmentSpec, TrainTransform
from kinema.video.writer import VideoWriter

SPEC = InputSpec()
TRANSFORM = TrainTransform(SPEC, AugmentSpec())
BATCH = 8
BATCH_MIB = BATCH * SPEC.clip.frames * 3 * SPEC.size_px**2 / 2**20
WARM_EPOCHS = 5


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    path = tmp_path_factory.mktemp("film") / "calm" / "a.mp4"
    path.parent.mkdir()
    levels = np.random.default_rng(0).integers(0, 256, (20, 8, 11, 3), dtype=np.uint8)
    with VideoWriter(path, fps=10, size=(176, 128)) as writer:
        writer.write(levels.repeat(16, axis=1).repeat(16, axis=2))
    return path


@pytest.mark.parametrize("in_worker", [False, True])
def test_workers_put_batches_together_in_shared_memory(monkeypatch, in_worker):
    """From the heap they would be copied there, and their holes in the heap fit no later batch."""
    if in_worker:
        monkeypatch.setattr(torch.utils.data, "get_worker_info", lambda: SimpleNamespace(id=0, num_workers=1))
    items = [(torch.full((2, 3, 4, 4), row, dtype=torch.uint8), 7 - row, row) for row in range(3)]
    batch = Batch.of(items)
    assert batch.clips.is_shared() is in_worker
    assert (batch.clips.shape, batch.clips.dtype) == ((3, 2, 3, 4, 4), torch.uint8)
    assert batch.clips[:, 0, 0, 0, 0].tolist() == [0, 1, 2]
    assert (batch.targets.tolist(), batch.rows) == ([7, 6, 5], (0, 1, 2))


def held_by(process):
    """MiB of heap and shared memory, open handles, threads, and mappings of a process."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{process.pid}/status").read_text().splitlines())
    mib = sum(int(status[key].split()[0]) for key in ("RssAnon", "RssShmem")) / 1024
    mappings = len(Path(f"/proc/{process.pid}/maps").read_text().splitlines())
    return np.array([mib, process.num_fds(), process.num_threads(), mappings])


def growth(loader, go_to, epochs):
    """What a loader's one worker holds more after `epochs` than after a few, and what this process does."""
    before = set(multiprocessing.active_children())
    watched = [psutil.Process()]
    for epoch in range(epochs):
        go_to(epoch)
        assert sum(len(batch) for batch in loader) == BATCH
        if epoch == WARM_EPOCHS:
            (worker,) = set(multiprocessing.active_children()) - before
            watched.append(psutil.Process(worker.pid))
            warm = [held_by(process) for process in watched]
    return [held_by(process) - first for process, first in zip(watched, warm, strict=True)]


def loader_of_files(film, folder, *, keep):
    cache = FrameCache(SPEC.short_side_px, folder=folder, limit_bytes=2**30 if keep else 0)
    clips = TrainingClips([Sample(film, "calm")] * BATCH, [0] * BATCH, SPEC, transform=TRANSFORM, cache=cache, seed=0)
    sampler = EpochSampler(BATCH, BATCH, seed=0)
    return training_loader(clips, sampler, workers=1, pin_memory=False), sampler.go_to


def loader_of_shards(film, folder):
    names = [f"{label}/{number}.mp4" for number, label in enumerate(["calm", "fight"] * (BATCH // 2))]
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(film.read_bytes())
    index = pack(read_manifest(folder), folder.parent / f"{folder.name}-packed", workers=0)
    loader = PackedLoader(PackedClips(index, ALL, SPEC, TRANSFORM, BATCH), workers=1)
    return loader, loader.go_to


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells what a process holds in /proc")
@pytest.mark.parametrize(
    ("reading", "epochs"),
    [
        ("kept", 45),
        pytest.param("anew", 45, marks=pytest.mark.slow),
        pytest.param("packed", 45, marks=pytest.mark.slow),
    ],
)
def test_a_worker_holds_no_more_after_many_epochs(film, tmp_path, reading, epochs):
    """Forty batches of 4.6 MiB pass by; a heap that keeps a hole for each grows by 180 MiB."""
    if reading == "packed":
        loader, go_to = loader_of_shards(film, tmp_path)
    else:
        loader, go_to = loader_of_files(film, tmp_path / "kept", keep=reading == "kept")
    for mib, handles, threads, mappings in growth(loader, go_to, epochs):
        assert mib < 10 * BATCH_MIB
        assert abs(handles) <= 6  # a batch on its way is open at both ends
        assert abs(threads) <= 1
        assert mappings < 30
