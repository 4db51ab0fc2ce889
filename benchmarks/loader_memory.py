"""Whether the loaders' memory stays flat over many epochs: memory and its slope, as a table or `--json`. Linux only.

    python benchmarks/loader_memory.py [--epochs 300] [--videos 32] [--workers 2] [--reading kept] [--json]

Makes small films and reads random clips of them, epoch after epoch, through the loaders that train, without a network:
frames that were kept (`kept`), the films decoded anew each time (`anew`), or shards (`packed`). Two hundred times on
the way it asks what this process and each worker hold that no file backs: heaps, stacks, and batches in shared memory.
Libraries and kept frames, which the system may take back, do not count. The first tenth of the epochs warms up; the
slope is the line of least squares through the rest.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil

from kinema.core.spec import InputSpec
from kinema.datasets.cache import FrameCache
from kinema.datasets.loader import EpochSampler, TrainingClips, training_loader
from kinema.datasets.manifest import Manifest, read_manifest
from kinema.datasets.shards.index import ALL
from kinema.datasets.shards.loader import PackedClips, PackedLoader
from kinema.datasets.shards.pack import pack
from kinema.transforms.presets import AugmentSpec, TrainTransform
from kinema.video.writer import VideoWriter

SIZE = (176, 128)
BLOCK_PX = 8
FRAMES = 40
BATCH = 8
LOOKS = 200


def make_films(folder: Path, count: int) -> None:
    """Class folders of short films of coloured blocks, all others in each frame."""
    chance = np.random.default_rng(0)
    for number in range(count):
        path = folder / ("calm", "fight")[number % 2] / f"{number:03}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        with VideoWriter(path, fps=25, size=SIZE) as writer:
            blocks = chance.integers(0, 255, (FRAMES, SIZE[1] // BLOCK_PX, SIZE[0] // BLOCK_PX, 3), np.uint8)
            writer.write(blocks.repeat(BLOCK_PX, 1).repeat(BLOCK_PX, 2))


@dataclass
class Watch:
    """What one process held each time it was looked at."""

    name: str
    process: psutil.Process
    epochs: list[int] = field(default_factory=list)
    held_mib: list[float] = field(default_factory=list)
    handles: list[int] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)

    def look(self, epoch: int) -> None:
        """Note what is held after `epoch`."""
        status = dict(line.split(":", 1) for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines())
        self.epochs.append(epoch)
        self.held_mib.append(sum(int(status[key].split()[0]) for key in ("RssAnon", "RssShmem")) / 1024)
        self.handles.append(self.process.num_fds())
        self.threads.append(self.process.num_threads())

    def row(self, warm_epochs: int) -> dict[str, str | float]:
        """What became of it after the first `warm_epochs`."""
        first = int(np.searchsorted(self.epochs, warm_epochs))
        later, held = self.epochs[first:], self.held_mib[first:]
        slope = float(np.polyfit(later, held, 1)[0]) if len(later) > 1 else 0.0
        return {
            "process": self.name,
            "warm_mib": round(held[0], 1),
            "most_mib": round(max(held), 1),
            "end_mib": round(held[-1], 1),
            "slope_kib_an_epoch": round(slope * 1024, 3),
            "handles_warm": self.handles[first],
            "handles_end": self.handles[-1],
            "threads_warm": self.threads[first],
            "threads_end": self.threads[-1],
        }


def open_loader(
    reading: str, folder: Path, manifest: Manifest, workers: int
) -> tuple[Iterable[object], Callable[[int], None]]:
    """The loader, and what sends it to an epoch."""
    spec = InputSpec()
    transform = TrainTransform(spec, AugmentSpec())
    if reading == "packed":
        index = pack(manifest, folder / "packed")
        packed = PackedLoader(PackedClips(index, ALL, spec, transform, BATCH), workers=workers)
        return packed, packed.go_to
    clips = TrainingClips(
        manifest.samples,
        [manifest.labels.index(sample.label) for sample in manifest.samples],
        spec,
        transform=transform,
        cache=FrameCache(spec.short_side_px, folder=folder / "kept", limit_bytes=0 if reading == "anew" else None),
        seed=0,
    )
    sampler = EpochSampler(len(manifest.samples), BATCH, 0)
    return training_loader(clips, sampler, workers=workers, pin_memory=False), sampler.go_to


def measure(options: argparse.Namespace, folder: Path) -> dict[str, object]:
    """Read `--epochs` times and say what became of the memory."""
    make_films(folder / "data", options.videos)
    loader, go_to = open_loader(options.reading, folder, read_manifest(folder / "data"), options.workers)
    own = psutil.Process()
    before = set(own.children())
    watches = [Watch("main", own)]
    every = max(1, options.epochs // LOOKS)
    clips = 0
    began = time.perf_counter()
    for epoch in range(options.epochs):
        go_to(epoch)
        clips += sum(len(batch) for batch in loader)  # type: ignore[arg-type]
        if epoch == 0:
            started = [
                each for each in own.children() if each not in before and "spawn_main" in "".join(each.cmdline())
            ]
            watches += [Watch(f"worker {number}", each) for number, each in enumerate(started, 1)]
        if epoch % every == 0 or epoch == options.epochs - 1:
            for watch in watches:
                watch.look(epoch)
    warm = options.epochs // 10
    return {
        "reading": options.reading,
        "workers": options.workers,
        "epochs": options.epochs,
        "warm_up_epochs": warm,
        "clips": clips,
        "seconds": round(time.perf_counter() - began, 1),
        "processes": [watch.row(warm) for watch in watches],
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=300)
    parser.add_argument("--videos", type=int, default=32)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--reading", choices=("kept", "anew", "packed"), default="kept")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(options, Path(folder))
    if options.json:
        print(json.dumps(figures, indent=2))
        return
    rows = figures.pop("processes")
    print(", ".join(f"{name} {value}" for name, value in figures.items()))
    for row in rows:  # type: ignore[attr-defined]
        print("  ".join(f"{name} {value}" for name, value in row.items()))


if __name__ == "__main__":
    main()
