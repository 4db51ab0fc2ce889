"""Whether reading keeps within its memory, handles and threads: figures as a table or `--json`.

    python benchmarks/leaks.py [--hours 2] [--reads 200] [--clips 10000] [--json]

Makes a long film of small pictures, reads all of it in order, then clips of it at random, then opens and reads a
short film again and again. Each part runs in a process of its own, so that its peak is its own.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from kinema.video.file import VideoFile
from kinema.video.writer import VideoWriter

FPS = 25
SIZE = (160, 120)
SHORT_SIDE_PX = 128
CLIP_FRAMES = 16


def make_film(path: Path, seconds: float) -> None:
    """Blocks that move, a keyframe every ten seconds as cameras write them."""
    width, height = SIZE
    scene = np.random.default_rng(0).integers(0, 255, (height // 8, width // 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    turn = np.stack([np.roll(scene, (i, 2 * i), (0, 1)) for i in range(120)])
    with VideoWriter(path, fps=FPS, size=SIZE, crf=30, keyframe_interval_frames=10 * FPS) as writer:
        frames = round(seconds * FPS)
        for start in range(0, frames, len(turn)):
            writer.write(turn[: frames - start])


def in_order(path: Path, _: int) -> int:
    """Read the whole film."""
    with VideoFile(path, short_side_px=SHORT_SIDE_PX) as video:
        return sum(len(frames) for frames in video.frames())


def at_random(path: Path, reads: int) -> int:
    """Read clips anywhere in the film, through one open file."""
    chance = random.Random(0)
    with VideoFile(path, short_side_px=SHORT_SIDE_PX) as video:
        for _ in range(reads):
            start = chance.randrange(len(video.pts) - CLIP_FRAMES)
            video.read(range(start, start + CLIP_FRAMES))
    return reads * CLIP_FRAMES


def again_and_again(path: Path, clips: int) -> int:
    """Open the film, read a clip, close it; every other time with two decoder threads."""
    for number in range(clips):
        with VideoFile(path, short_side_px=SHORT_SIDE_PX, threads=1 + number % 2) as video:
            start = number % (len(video.pts) - CLIP_FRAMES)
            video.read(range(start, start + CLIP_FRAMES))
    return clips * CLIP_FRAMES


def entries(folder: str) -> int:
    """Open handles (`fd`) or threads (`task`) of this process."""
    return len(list(Path("/proc/self", folder).iterdir()))


def resident_mib() -> float:
    """Memory of this process now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


def observed(work: Callable[[Path, int], int], path: Path, amount: int) -> dict[str, float]:
    """Run `work` and say what it used; after a first small run, for which FFmpeg and torch set themselves up."""
    again_and_again(path.with_name("short.mp4"), 20)
    before = {"handles": entries("fd"), "threads": entries("task"), "rss": resident_mib()}
    started = time.perf_counter()
    frames = work(path, amount)
    return {
        "frames": frames,
        "seconds": round(time.perf_counter() - started, 1),
        "rss_before_mib": round(before["rss"]),
        "rss_after_mib": round(resident_mib()),
        "rss_peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "handles_before": before["handles"],
        "handles_after": entries("fd"),
        "threads_before": before["threads"],
        "threads_after": entries("task"),
    }


def main() -> None:
    """Make the films, run the parts, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--reads", type=int, default=200)
    parser.add_argument("--clips", type=int, default=10_000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows: dict[str, dict[str, float]] = {}
    fresh = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        long, short = Path(folder, "long.mp4"), Path(folder, "short.mp4")
        with fresh.Pool(1, maxtasksperchild=1) as pool:
            pool.starmap(make_film, [(long, options.hours * 3600), (short, 10.0)])
            for name, work, path, amount in (
                (f"{options.hours:g} h in order", in_order, long, 0),
                (f"{options.reads} clips of it at random", at_random, long, options.reads),
                (f"{options.clips} clips opened and closed", again_and_again, short, options.clips),
            ):
                rows[name] = pool.apply(observed, (work, path, amount))
    if options.json:
        print(json.dumps(rows, indent=2))
        return
    for name, row in rows.items():
        print(f"{name}:")
        for figure, value in row.items():
            print(f"  {figure:<18}{value:>12}")


if __name__ == "__main__":
    main()
