"""Random 16-frame clips by several readers, all to the same output: ratios of the speeds, as a table or `--json`.

    python benchmarks/readers.py [FILE] [--rounds 9] [--json]

Each clip is what data loading does: open the file, take 16 frames from a random one on, as uint8 (16, 3, H, W) RGB
of 128 px on the short side. All readers are given the same clips and take turns, round by round; the ratios are medians
over the rounds, of the time that passed and of processor time, which other programs disturb less. Each reads with one
thread and with two, and is then compared at its best. kinema reads files for the first time, touched before each clip
so that nothing is remembered of them, and again, as training does from its second epoch on, with the times of pictures
remembered. OpenCV and torchcodec take part where they are installed (torchcodec needs FFmpeg's shared libraries, which
Debian's package `ffmpeg` brings). That the frames are the same is checked first. Without FILE, the film of `decode.py`
is made.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
import torch
from decode import CLIP_FRAMES, CLIPS, SETTLED_SECONDS, SHORT_SIDE_PX, make_film, median, touch

from kinema.video.file import VideoFile

Reader = Callable[[Path, int, tuple[int, int], int], torch.Tensor]
"""Takes the file, the first frame, the (width, height) wanted and how many threads may work."""

AGAIN, FIRST_TIME = "kinema, again", "kinema, first time"
THREADS = (1, 2)

SAME_WITHIN = 6.0
"""Mean difference, of 255, by which scaling may differ between readers; the next frame of the film is further."""


def kinema(path: Path, start: int, _: tuple[int, int], threads: int) -> torch.Tensor:
    """This project."""
    with VideoFile(path, short_side_px=SHORT_SIDE_PX, threads=threads) as video:
        return video.read(range(start, start + CLIP_FRAMES)).data


def pyav(path: Path, start: int, size: tuple[int, int], threads: int) -> torch.Tensor:
    """PyAV, decoding from the start."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_count = threads
        stream.thread_type = "AUTO"
        taken = []
        for number, frame in enumerate(container.decode(stream)):
            if number >= start:
                taken.append(frame.reformat(*size, format="rgb24", threads=1).to_ndarray())
            if len(taken) == CLIP_FRAMES:
                break
    return torch.from_numpy(np.stack(taken)).permute(0, 3, 1, 2).contiguous()


def opencv_reader() -> Reader:
    """OpenCV, seeking by frame number as its documentation says."""
    import cv2  # noqa: TID251  # measured against, not used; may be missing

    def read(path: Path, start: int, size: tuple[int, int], threads: int) -> torch.Tensor:
        cv2.setNumThreads(threads)
        capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, threads])
        capture.set(cv2.CAP_PROP_POS_FRAMES, start)
        taken = []
        for _ in range(CLIP_FRAMES):
            _, picture = capture.read()
            small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
            taken.append(cv2.cvtColor(small, cv2.COLOR_BGR2RGB))
        capture.release()
        return torch.from_numpy(np.stack(taken)).permute(0, 3, 1, 2).contiguous()

    return read


def torchcodec_reader(mode: str) -> Reader:
    """torchcodec, scaling inside its decoder where it can, so that no large picture is converted."""
    from torchcodec.decoders import VideoDecoder  # may be missing
    from torchcodec.transforms import Resize

    def read(path: Path, start: int, size: tuple[int, int], threads: int) -> torch.Tensor:
        small = Resize((size[1], size[0]))
        decoder = VideoDecoder(path, seek_mode=mode, num_ffmpeg_threads=threads, transforms=[small])
        return decoder.get_frames_in_range(start, start + CLIP_FRAMES).data

    return read


def available() -> tuple[dict[str, Reader], dict[str, str]]:
    """The readers that can run, and why the others cannot."""
    readers: dict[str, Reader] = {AGAIN: kinema, FIRST_TIME: kinema, "PyAV from the start": pyav}
    missing = {}
    for name, make in (
        ("OpenCV", opencv_reader),
        ("torchcodec, exact", lambda: torchcodec_reader("exact")),
        ("torchcodec, approximate", lambda: torchcodec_reader("approximate")),
    ):
        try:
            readers[name] = make()
        except (ImportError, OSError, RuntimeError) as error:  # noqa: PERF203  # three times
            missing[name] = str(error).strip().splitlines()[0]
    return readers, missing


@dataclass
class Taken:
    """Seconds of one reader with so many threads, one number a round."""

    passed: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)

    def times_as_long_as(self, other: Taken) -> tuple[float, float]:
        """Medians over the rounds, by passed and by processor time."""
        return tuple(
            median(own / to for own, to in zip(mine, theirs, strict=True))
            for mine, theirs in ((self.passed, other.passed), (self.processor, other.processor))
        )


def measure(path: Path, readers: dict[str, Reader], rounds: int) -> list[dict[str, object]]:
    """Median clips a second of each reader, and how many times as fast kinema is."""
    touched = path.with_name(f"touched_{path.name}")
    shutil.copy(path, touched)
    time.sleep(SETTLED_SECONDS)
    with VideoFile(path, short_side_px=SHORT_SIDE_PX) as video:
        count = len(video.pts)
        height, width = video.read([0]).data.shape[2:]
    chance = random.Random(0)
    starts = [chance.randrange(max(1, count - CLIP_FRAMES)) for _ in range(CLIPS)]
    size = (width, height)
    check(path, readers, starts[:3], size)
    taken = {(name, threads): Taken() for threads in THREADS for name in readers}
    for _ in range(rounds):
        for (name, threads), of_reader in taken.items():
            passed = worked = 0.0
            for start in starts:
                own = touched if name == FIRST_TIME else path
                if own is touched:
                    touch(own)
                began, before = time.perf_counter(), time.process_time()
                readers[name](own, start, size, threads)
                passed, worked = passed + time.perf_counter() - began, worked + time.process_time() - before
            of_reader.passed.append(passed)
            of_reader.processor.append(worked)
    best = {
        name: min((taken[name, threads] for threads in THREADS), key=lambda each: median(each.passed))
        for name in readers
    }
    by_threads: dict[str, dict[str, Taken]] = {
        **{str(threads): {name: taken[name, threads] for name in readers} for threads in THREADS},
        "best": best,
    }
    return [
        {
            "threads": threads,
            "reader": name,
            "clips_per_second": round(CLIPS / median(each.passed), 1),
            "again": each.times_as_long_as(of_all[AGAIN]),
            "first_time": each.times_as_long_as(of_all[FIRST_TIME]),
        }
        for threads, of_all in by_threads.items()
        for name, each in of_all.items()
    ]


def check(path: Path, readers: dict[str, Reader], starts: list[int], size: tuple[int, int]) -> None:
    """Stop unless all give the same frames, but for how they scale."""
    for start in starts:
        own = kinema(path, start, size, 1)
        for name, threads in ((name, threads) for name in readers for threads in THREADS):
            other = readers[name](path, start, size, threads)
            if other.shape != own.shape or other.dtype != torch.uint8:
                raise SystemExit(f"{name} gives {tuple(other.shape)} of {other.dtype}, not {tuple(own.shape)}")
            apart = (other.float() - own.float()).abs().mean().item()
            if apart > SAME_WITHIN:
                raise SystemExit(f"{name} gives other frames from {start} on: {apart:.1f} of 255 apart")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    readers, missing = available()
    with tempfile.TemporaryDirectory() as folder:
        path = options.file or Path(folder, "film.mp4")
        if options.file is None:
            make_film(path)
        rows = measure(path, readers, options.rounds)
    if options.json:
        print(json.dumps({"rows": rows, "missing": missing}, indent=2))
        return
    print(f"{'':<32}{'':>9}   kinema is so many times as fast: passed (processor) time")
    print(f"{'threads':<9}{'reader':<26}{'clips/s':>9}{'again':>16}{'first time':>16}")
    for row in rows:
        again, first_time = ("{} ({})".format(*row[which]) for which in ("again", "first_time"))
        print(f"{row['threads']:<9}{row['reader']:<26}{row['clips_per_second']:>9}{again:>16}{first_time:>16}")
    for name, why in missing.items():
        print(f"{name}: not measured: {why}")


if __name__ == "__main__":
    main()
