"""What packing brings: bytes, and random clips read a second, of shards against the files they were made from.

Run with `python benchmarks/pack.py [MANIFEST] [--json]`; without a manifest, on rendered clips
of 340x256 pixels and 10 s. Both ways take turns in one process and read a random clip of 16 frames from
every sample, so that the ratio holds on a machine whose speed drifts.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from kinema.clips.sampling import clip_at, start_count
from kinema.core.seeds import stream
from kinema.core.spec import ClipSpec, InputSpec
from kinema.datasets.manifest import Manifest, read_manifest
from kinema.datasets.shards.index import PackIndex
from kinema.datasets.shards.loader import PackedClips
from kinema.datasets.shards.pack import pack
from kinema.datasets.synthetic import render_dataset
from kinema.transforms.presets import AugmentSpec, TrainTransform
from kinema.video.source import open_recording

SPEC = InputSpec(clip=ClipSpec(frames=16, stride=2), size_px=112, short_side_px=128)
TRANSFORM = TrainTransform(SPEC, AugmentSpec())


def main() -> None:
    """Print a table, or with --json one object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("manifest", nargs="?")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        manifest = read_manifest(arguments.manifest or drawn(Path(folder) / "videos"), min_classes=1)
        began = time.perf_counter()
        index = pack(manifest, Path(folder) / "packed", workers=0)
        row = {"packing_seconds": time.perf_counter() - began, **measure(manifest, index, arguments.rounds)}
    if arguments.json:
        print(json.dumps(row))
        return
    for name, value in row.items():
        print(f"{name:<28}{value:>14,.2f}")


def drawn(folder: Path) -> Path:
    """16 rendered clips of 10 s."""
    return render_dataset(folder, scenes=4, clips_per_scene=4, seed=0, size=(340, 256), seconds=10.0)


def measure(manifest: Manifest, index: PackIndex, rounds: int) -> dict[str, float]:
    """Bytes of both, and medians over `rounds` of clips a second; the first round warms up."""
    ways: dict[str, Callable[[int], int]] = {
        "files": lambda epoch: from_files(manifest, epoch),
        "shards": lambda epoch: from_shards(index, epoch),
    }
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    for epoch in range(rounds + 1):
        for name, read in ways.items():
            began = time.perf_counter()
            clips = read(epoch)
            speeds[name].append(clips / (time.perf_counter() - began))
    ratios = [new / old for old, new in zip(speeds["files"][1:], speeds["shards"][1:], strict=True)]
    files_bytes = sum(path.stat().st_size for path in {sample.path for sample in manifest.samples})
    return {
        "files_bytes": files_bytes,
        "shards_bytes": index.size_bytes,
        "bytes_ratio": index.size_bytes / files_bytes,
        "files_clips_per_second": statistics.median(speeds["files"][1:]),
        "shards_clips_per_second": statistics.median(speeds["shards"][1:]),
        "speed_ratio": statistics.median(ratios),
    }


def from_files(manifest: Manifest, epoch: int) -> int:
    """Read one random clip of every sample from its file; how many."""
    for row, sample in enumerate(manifest.samples):
        rng = stream(0, "clip", epoch, row)
        with open_recording(sample.path, short_side_px=SPEC.short_side_px) as video:
            times = tuple(float((pts - video.pts[0]) * video.info.time_base) for pts in video.pts)
            start = int(rng.integers(start_count(times, SPEC.clip)))
            TRANSFORM.clip(video.read(clip_at(times, SPEC.clip, start)).data, rng)
    return len(manifest)


def from_shards(index: PackIndex, epoch: int) -> int:
    """Read one random clip of every sample from the shards; how many."""
    clips = [
        batch
        for split in index.splits
        for batch in PackedClips(index, split, SPEC, TRANSFORM, batch_size=1).read(epoch)
    ]
    return len(clips)


if __name__ == "__main__":
    main()
