"""How fast videos are read, against FFmpeg alone: frames a second, as a table or `--json`.

    python benchmarks/decode.py [FILE] [--rounds 5] [--json]

Without FILE, a ten-second H.264 film of 340x256 is made. All rows are measured in turn, round by round; speeds are
those of the best round, ratios the medians of the rounds' own, so that another program on the machine disturbs them
least. A ratio compares two ways of as many decoder threads. `processor` is the same ratio of processor time instead of
time that passed, which another program disturbs less still.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np

from kinema.video.file import VideoFile
from kinema.video.writer import VideoWriter

CLIP_FRAMES = 16
CLIPS = 20
SHORT_SIDE_PX = 128


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


def whole(path: Path, threads: int = 1) -> int:
    """Every frame, scaled, as tensors."""
    with VideoFile(path, short_side_px=SHORT_SIDE_PX, threads=threads) as video:
        return sum(len(frames) for frames in video.frames())


def whole_plainly(path: Path, size: tuple[int, int]) -> int:
    """The same with PyAV's defaults: scaled into interleaved RGB, one array a frame."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_count = 1
        pictures = [frame.reformat(*size, format="rgb24", threads=1).to_ndarray() for frame in container.decode(stream)]
    return len(pictures)


def clips(path: Path, starts: list[int]) -> int:
    """Clips as data loading reads them: each opens the file anew."""
    for start in starts:
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


def measure(path: Path, rounds: int) -> list[dict[str, object]]:
    """Frames a second of each way, and what share of its bound that is."""
    with VideoFile(path, short_side_px=SHORT_SIDE_PX) as video:
        count = len(video.pts)
        height, width = video.read([0]).data.shape[2:]
    chance = random.Random(0)
    starts = [chance.randrange(max(1, count - CLIP_FRAMES)) for _ in range(CLIPS)]
    rows: dict[str, tuple[Callable[[], int], str]] = {
        "decode only (bound)": (lambda: decode_only(path), "decode only (bound)"),
        "decode only, 2 threads": (lambda: decode_only(path, 2), "decode only (bound)"),
        f"whole file at {SHORT_SIDE_PX} px": (lambda: whole(path), "decode only (bound)"),
        f"whole file at {SHORT_SIDE_PX} px, 2 threads": (lambda: whole(path, 2), "decode only, 2 threads"),
        "whole file, plain PyAV": (lambda: whole_plainly(path, (width, height)), "decode only (bound)"),
        f"random clips of {CLIP_FRAMES}": (lambda: clips(path, starts), "random clips, plain PyAV from the start"),
        "random clips, plain PyAV from the start": (
            lambda: clips_plainly(path, starts, (width, height)),
            "random clips, plain PyAV from the start",
        ),
    }
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in rows}
    frames = dict.fromkeys(rows, 0)
    for _ in range(rounds):
        for name, (way, _) in rows.items():
            began, worked = time.perf_counter(), time.process_time()
            frames[name] = way()
            taken[name].append((time.perf_counter() - began, time.process_time() - worked))
    return [
        {
            "way": name,
            "frames_per_second": round(max(frames[name] / passed for passed, _ in taken[name])),
            "ratio": _ratio(taken, name, to, 0),
            "processor": _ratio(taken, name, to, 1),
            "to": to,
        }
        for name, (_, to) in rows.items()
    ]


def _ratio(taken: dict[str, list[tuple[float, float]]], name: str, to: str, which: int) -> float:
    """Median over the rounds of the speed of `name` by that of `to`, in passed (0) or processor (1) time."""
    return round(statistics.median(b[which] / a[which] for a, b in zip(taken[name], taken[to], strict=True)), 2)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = options.file or Path(folder, "film.mp4")
        if options.file is None:
            make_film(path)
        rows = measure(path, options.rounds)
    if options.json:
        print(json.dumps({"file": str(options.file or "made: h264, 340x256, 10 s"), "rows": rows}, indent=2))
        return
    print(f"{'way':<42}{'frames/s':>10}{'ratio':>8}{'processor':>11}  to")
    for row in rows:
        print(f"{row['way']:<42}{row['frames_per_second']:>10}{row['ratio']:>8}{row['processor']:>11}  {row['to']}")


if __name__ == "__main__":
    main()
