"""Whether the loader's memory stays flat over many epochs: resident memory and its slope, as a table or `--json`.

    python benchmarks/loader_memory.py [--epochs 300] [--videos 32] [--workers 2] [--json]

Makes small films and reads random clips of them, epoch after epoch, through the loader that trains, without a network.
After each epoch the memory of this process and its workers is added up: what belongs to each alone (USS), as pages of
kept frames that are mapped, which the system may take back, would count in every process. The first tenth of the
epochs warms up; the slope is the line of least squares through the rest.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

from kinema.core.spec import InputSpec
from kinema.datasets.cache import FrameCache
from kinema.datasets.loader import EpochSampler, TrainingClips, training_loader
from kinema.datasets.manifest import read_manifest
from kinema.transforms.presets import AugmentSpec, TrainTransform
from kinema.video.writer import VideoWriter

SIZE = (170, 128)
FRAMES = 40


def make_films(folder: Path, count: int) -> None:
    """Class folders of short films of noise."""
    chance = np.random.default_rng(0)
    for number in range(count):
        path = folder / ("calm", "fight")[number % 2] / f"{number:03}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        with VideoWriter(path, fps=25, size=SIZE) as writer:
            writer.write(chance.integers(0, 255, (FRAMES, SIZE[1], SIZE[0], 3), np.uint8))


def alone_mib() -> float:
    """Memory of this process and its workers that they share with none."""
    own = psutil.Process()
    return sum(each.memory_full_info().uss for each in (own, *own.children(recursive=True))) / 2**20


def resident_mib() -> float:
    """All memory of this process and its workers, shared pages counted in each."""
    own = psutil.Process()
    return sum(each.memory_info().rss for each in (own, *own.children(recursive=True))) / 2**20


def measure(data: Path, kept: Path, epochs: int, workers: int) -> dict[str, float]:
    """Read `epochs` times and say what became of the memory."""
    manifest = read_manifest(data)
    spec = InputSpec()
    clips = TrainingClips(
        manifest.samples,
        [manifest.labels.index(sample.label) for sample in manifest.samples],
        spec,
        transform=TrainTransform(spec, AugmentSpec()),
        cache=FrameCache(spec.short_side_px, folder=kept),
        seed=0,
    )
    sampler = EpochSampler(len(manifest.samples), 8, 0)
    loader = training_loader(clips, sampler, workers=workers, pin_memory=False)
    alone, resident = [], []
    began = time.perf_counter()
    for epoch in range(epochs):
        sampler.go_to(epoch)
        for _ in loader:
            pass
        alone.append(alone_mib())
        resident.append(resident_mib())
    seconds = time.perf_counter() - began
    warm = epochs // 10
    later = np.arange(warm, epochs)
    per_epoch = float(np.polyfit(later, alone[warm:], 1)[0])
    return {
        "epochs": epochs,
        "clips": epochs * len(manifest.samples),
        "workers": workers,
        "seconds": round(seconds, 1),
        "alone_warm_mib": round(alone[warm], 1),
        "alone_end_mib": round(alone[-1], 1),
        "alone_slope_kib_an_epoch": round(per_epoch * 1024, 2),
        "resident_warm_mib": round(resident[warm], 1),
        "resident_end_mib": round(resident[-1], 1),
        "resident_slope_kib_an_epoch": round(float(np.polyfit(later, resident[warm:], 1)[0]) * 1024, 2),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=300)
    parser.add_argument("--videos", type=int, default=32)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data, kept = Path(folder, "data"), Path(folder, "kept")
        make_films(data, options.videos)
        row = measure(data, kept, options.epochs, options.workers)
    if options.json:
        print(json.dumps(row, indent=2))
        return
    for figure, value in row.items():
        print(f"{figure:<30}{value:>12}")


if __name__ == "__main__":
    main()
