"""How well videos of one place, and films coded again, are told from others: `docs/results/near-duplicates.md`.

    python benchmarks/likeness.py MANIFEST.csv [--copies 40] [--cost 10000] [--json]

MANIFEST needs groups: videos of one group are taken to show one place. Every fifth video is also coded again, scaled,
and cut (`--copies` in all at most), and each is to be found as a near duplicate of its original. `--cost` times the
comparison of so many made-up videos.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import torch

from kinema.core.progress import Silent
from kinema.datasets import likeness
from kinema.datasets.inspection import FileReport, inspect_files
from kinema.datasets.likeness import Likeness, Seen, compare
from kinema.datasets.look import BITS, PERIODS, Look
from kinema.datasets.manifest import Manifest, read_manifest
from kinema.video.file import VideoFile
from kinema.video.frame import Frames
from kinema.video.writer import VideoWriter

THRESHOLDS_BITS = (20, 24, 28, 30, 32, 36, 40)


@dataclass(frozen=True)
class Row:
    """What one distance gives: of pairs as found, and of all pairs that are then in one cluster."""

    bits: int
    precision: float
    recall: float
    cluster_precision: float
    cluster_recall: float


def by_threshold(files: list[Seen], groups: list[str | None]) -> list[Row]:
    """Precision and recall of "one place" against groups, for each distance."""
    rows, used = [], likeness.SAME_PLACE_BITS
    for bits in THRESHOLDS_BITS:
        likeness.SAME_PLACE_BITS = bits
        rows.append(Row(bits, *measure(compare(files), groups)))
    likeness.SAME_PLACE_BITS = used
    return rows


def measure(found: Likeness, groups: list[str | None]) -> tuple[float, float, float, float]:
    """Precision and recall of pairs, then of pairs by clusters."""
    same = {pair for pair in combinations(range(len(groups)), 2) if groups[pair[0]] == groups[pair[1]]}
    pairs = {(pair.first, pair.second) for pair in found.pairs}
    clusters = found.clusters
    joined = {pair for pair in combinations(range(len(groups)), 2) if clusters[pair[0]] == clusters[pair[1]]}
    return tuple(len(told & same) / max(1, whole) for told in (pairs, joined) for whole in (len(told), len(same)))


def copies(paths: list[Path], folder: Path) -> list[tuple[str, Path, Path]]:
    """(how, original, copy) of each video, coded harder, at 0.6 of its size, and without a quarter of its beginning."""
    made = []
    for path in paths:
        with VideoFile(path) as video:
            frames = Frames.join(list(video.frames()))
            fps = max(1, round(video.info.average_fps))
        small = torch.nn.functional.interpolate(frames.data.float(), scale_factor=0.6, mode="bilinear", antialias=True)
        cut = slice(len(frames) // 4, None)
        for how, data in (("coded", frames.data), ("scaled", small.byte()), ("cut", frames.data[cut])):
            even = data[:, :, : data.shape[2] // 2 * 2, : data.shape[3] // 2 * 2]
            target = folder / f"{how}-{path.name}"
            with VideoWriter(target, fps=fps, size=(even.shape[3], even.shape[2]), crf=33, preset="veryfast") as writer:
                writer.write(even.contiguous())
            made.append((how, path, target))
    return made


def found_copies(reports: dict[Path, FileReport], made: list[tuple[str, Path, Path]]) -> dict[str, str]:
    """How many copies of each kind are found as near duplicates of their originals."""
    told: dict[str, list[bool]] = {}
    for (how, original, _), report in zip(
        made, inspect_files([copy for _, _, copy in made], workers=None, progress=Silent()), strict=True
    ):
        pairs = compare([Seen("a", reports[original].look), Seen("b", report.look)]).pairs
        told.setdefault(how, []).append(bool(pairs) and pairs[0].kind == "near duplicate")
    return {how: f"{sum(found)} of {len(found)}" for how, found in told.items()}


def cost_seconds(count: int) -> float:
    """Seconds that comparing `count` videos of different places takes."""
    rng = np.random.default_rng(0)
    motion = np.zeros((16, 8, 8), np.int8)
    files = [Seen(str(n), Look(rng.random((PERIODS, BITS)) < 0.5, motion, 0.125, 0.0, 0.0)) for n in range(count)]
    start = time.perf_counter()
    compare(files)
    return time.perf_counter() - start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--copies", type=int, default=40)
    parser.add_argument("--cost", type=int, default=10_000)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    manifest: Manifest = read_manifest(given.manifest)
    start = time.perf_counter()
    reports = inspect_files([one.path for one in manifest.samples], workers=None, progress=Silent())
    decoding = time.perf_counter() - start
    files = [Seen(report.sha256, report.look) for report in reports]
    rows = by_threshold(files, [sample.group for sample in manifest.samples])
    with tempfile.TemporaryDirectory() as folder:
        made = copies([sample.path for sample in manifest.samples[::5]][: given.copies], Path(folder))
        found = found_copies({report.path: report for report in reports}, made)
    near = len(compare(files).of_kind("near duplicate"))
    cost = cost_seconds(given.cost)
    if given.json:
        print(json.dumps({"rows": [asdict(row) for row in rows], "copies": found, "near": near, "cost_seconds": cost}))
        return
    print(f"{len(files)} videos decoded in {decoding:.1f} s; {near} pairs of originals taken for near duplicates")
    print("bits  pairs: precision recall   clusters: precision recall")
    for row in rows:
        pairs, clusters = (row.precision, row.recall), (row.cluster_precision, row.cluster_recall)
        print(f"{row.bits:4} {pairs[0]:16.3f} {pairs[1]:6.3f} {clusters[0]:21.3f} {clusters[1]:6.3f}")
    print("copies found:", ", ".join(f"{how} {share}" for how, share in found.items()))
    print(f"{given.cost} videos compared in {cost:.1f} s")


if __name__ == "__main__":
    main()
