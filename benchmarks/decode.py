"""How fast videos are read, against FFmpeg alone: frames a second, as a table or `--json`.

    python benchmarks/decode.py [FILE] [--rounds 5] [--json]

Without FILE, a ten-second H.264 film of 340x256 is made. All rows are measured in turn, round by round; speeds are
those of the best round, ratios the medians of the rounds' own, so that another program on the machine disturbs them
least. The bound of whole files is FFmpeg decoding and nothing else, with one thread or two, whichever is faster in the
round. `processor` is the ratio of processor time, of all threads, to that of the bound with one thread, and `caller`
the same of the calling thread alone: it decodes and is the busier one of two, so that no machine does better than that
and one with nothing else to do comes near. Other programs disturb these two less. Each file is read as for the first
time: it is touched before, so that nothing of it is remembered; clips `again` are read with what is.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from kinema.video.file import VideoFile
from kinema.video.writer import VideoWriter

CLIP_FRAMES = 16
CLIPS = 20
SHORT_SIDE_PX = 128
SETTLED_SECONDS = 2.5
"""After which kinema trusts that a file will not change unseen."""


def make_film(path: Path, *, seconds: int = 10, fps: int = 25, width: int = 340, height: int = 256) -> None:
    """Blocks that move over noise: about as much to decode as a street scene."""
    chance = np.random.default_rng(0)
    scene = chance.integers(0, 255, (height // 16 + 1, width // 16 + 1, 3), np.uint8).repeat(16, 0).repeat(16, 1)
    with VideoWriter(path, fps=fps, size=(width, height), keyframe_interval_frames=4 * fps) as writer:
        for number in range(seconds * fps):
            moved = np.roll(scene, (number, 2 * number), (0, 1))[:height, :width].astype(np.int16)
            noise = chance.integers(-6, 7, (height, width, 1), np.int16)
            writer.write(np.clip(moved + noise, 0, 255).astype(np.uint8)[None])


def decode_only(path: Path, threads: int = 1) -> int:
    """The bound: FFmpeg decodes, nobody looks at the pictures."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_count, stream.thread_type = threads, "AUTO"
        return sum(1 for _ in container.decode(stream))


def touch(path: Path) -> None:
    """Make a file one that was never read: what kinema remembers is of files that have not changed."""
    os.utime(path)


def whole(path: Path, threads: int = 1) -> int:
    """Every frame, scaled, as tensors."""
    touch(path)
    with VideoFile(path, short_side_px=SHORT_SIDE_PX, threads=threads) as video:
        return sum(len(frames) for frames in video.frames())


def whole_plainly(path: Path, size: tuple[int, int]) -> int:
    """The same with PyAV's defaults: scaled into interleaved RGB, one array a frame."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_count = 1
        pictures = [frame.reformat(*size, format="rgb24", threads=1).to_ndarray() for frame in container.decode(stream)]
    return len(pictures)


def clips(path: Path, starts: list[int], *, again: bool = False) -> int:
    """Clips as data loading reads them: each opens the file anew."""
    for start in starts:
        if not again:
            touch(path)
        with VideoFile(path, short_side_px=SHORT_SIDE_PX) as video:
            video.read(range(start, start + CLIP_FRAMES))
    return len(starts) * CLIP_FRAMES


def clips_plainly(path: Path, starts: list[int], size: tuple[int, int]) -> int:
    """The same clips by decoding from the start up to them."""
    for start in starts:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            stream.thread_count = 1
            taken = []
            for number, frame in enumerate(container.decode(stream)):
                if number >= start:
                    taken.append(frame.reformat(*size, format="rgb24", threads=1).to_ndarray())
                if len(taken) == CLIP_FRAMES:
                    break
            np.stack(taken)
    return len(starts) * CLIP_FRAMES


@dataclass(frozen=True)
class Taken:
    """Seconds of one round.

    Attributes:
        passed: on the clock.
        processor: of all threads.
        caller: of the calling thread.
    """

    passed: float
    processor: float
    caller: float


BOUND, BOUND_2 = "decode only", "decode only, 2 threads"
PLAINLY = "random clips, plain PyAV from the start"


def measure(path: Path, rounds: int) -> list[dict[str, object]]:
    """Frames a second of each way, and what share of its bound that is."""
    known = path.with_name(f"known_{path.name}")
    shutil.copy(path, known)
    time.sleep(SETTLED_SECONDS)
    with VideoFile(known, short_side_px=SHORT_SIDE_PX) as video:
        count = len(video.pts)
        height, width = video.read([0]).data.shape[2:]
    chance = random.Random(0)
    starts = [chance.randrange(max(1, count - CLIP_FRAMES)) for _ in range(CLIPS)]
    bounds = (BOUND, BOUND_2)
    rows: dict[str, tuple[Callable[[], int], tuple[str, ...]]] = {
        BOUND: (lambda: decode_only(path), bounds),
        BOUND_2: (lambda: decode_only(path, 2), bounds),
        f"whole file at {SHORT_SIDE_PX} px": (lambda: whole(path), bounds),
        f"whole file at {SHORT_SIDE_PX} px, 2 threads": (lambda: whole(path, 2), bounds),
        "whole file, plain PyAV": (lambda: whole_plainly(path, (width, height)), bounds),
        f"random clips of {CLIP_FRAMES}": (lambda: clips(path, starts), (PLAINLY,)),
        f"random clips of {CLIP_FRAMES}, again": (lambda: clips(known, starts, again=True), (PLAINLY,)),
        PLAINLY: (lambda: clips_plainly(path, starts, (width, height)), (PLAINLY,)),
    }
    taken: dict[str, list[Taken]] = {name: [] for name in rows}
    frames = dict.fromkeys(rows, 0)
    for _ in range(rounds):
        for name, (way, _) in rows.items():
            began, worked, called = time.perf_counter(), time.process_time(), time.thread_time()
            frames[name] = way()
            taken[name].append(
                Taken(time.perf_counter() - began, time.process_time() - worked, time.thread_time() - called)
            )
    return [
        {
            "way": name,
            "frames_per_second": round(max(frames[name] / each.passed for each in taken[name])),
            "ratio": median(
                min(to.passed for to in of_round) / own.passed
                for own, *of_round in zip(taken[name], *(taken[to] for to in against), strict=True)
            ),
            "processor": median(
                to.processor / own.processor for own, to in zip(taken[name], taken[against[0]], strict=True)
            ),
            "caller": median(to.processor / own.caller for own, to in zip(taken[name], taken[against[0]], strict=True)),
            "to": "the bound" if against == bounds else against[0],
        }
        for name, (_, against) in rows.items()
    ]


def median(ratios: Iterable[float]) -> float:
    """The middle one, with two digits."""
    return round(statistics.median(ratios), 2)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "film.mp4" if options.file is None else options.file.name)
        if options.file is None:
            make_film(path)
        else:
            shutil.copy(options.file, path)  # it will be touched
        rows = measure(path, options.rounds)
    if options.json:
        print(json.dumps({"file": str(options.file or "made: h264, 340x256, 10 s"), "rows": rows}, indent=2))
        return
    print(f"{'way':<42}{'frames/s':>10}{'ratio':>8}{'processor':>11}{'caller':>8}  to")
    for row in rows:
        print(
            f"{row['way']:<42}{row['frames_per_second']:>10}{row['ratio']:>8}{row['processor']:>11}{row['caller']:>8}"
            f"  {row['to']}"
        )


if __name__ == "__main__":
    main()
