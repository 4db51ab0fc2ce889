"""Damages videos in every way there is and watches what reading them does: counts as a table or `--json`.

    python benchmarks/fuzz.py [--files 2400] [--seed 0] [--clips FOLDER ...] [--keep FOLDER] [--json]

Clips of nine codecs and containers are made; videos below `--clips` come on top. Each damaged copy is read in a process
of its own, under a limit of time and memory: from front to back, at random places, its times, its description, and by
`inspect_file`. File N of a seed is the same whenever it is made, so one that went wrong can be made again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import random
import resource
import select
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch

from kinema.core.errors import MediaError
from kinema.datasets.inspection import inspect_file
from kinema.video.file import VideoFile
from kinema.video.source import VIDEO_SUFFIXES
from kinema.video.writer import VideoWriter

WALL_SECONDS = 60.0
CPU_SECONDS = 30
MEMORY_MIB = 512
ADDRESS_SPACE_BYTES = 3 * 2**30
CHUNK_FRAMES = 8
LARGEST_CLIP_BYTES = 700_000

# A container and codec each; `crf` only where the encoder knows one.
MADE: dict[str, dict[str, Any]] = {
    "h264.mp4": {},
    "h264.mkv": {},
    "h264.ts": {},
    "h264.flv": {},
    "mpeg4.avi": {"codec": "mpeg4", "crf": None},
    "mpeg2.mpg": {"codec": "mpeg2video", "crf": None},
    "vp9.webm": {"codec": "libvpx-vp9"},
    "mjpeg.avi": {"codec": "mjpeg", "crf": None, "pixel_format": "yuvj420p"},
    "gif.gif": {"codec": "gif", "crf": None, "pixel_format": "rgb8"},
}

FATAL = ("crash", "hang", "memory", "foreign error", "contradiction")
"""What may never happen, whatever the bytes."""
SILENT = ("silent: fewer frames", "silent: more frames", "silent: other times", "silent: other pixels")
TOLD = ("refused", "reported")
OUTCOMES = (*TOLD, "unchanged", *SILENT, *FATAL)


@dataclass(frozen=True)
class Reading:
    """What one process found in one file.

    Attributes:
        refusal: why it cannot be opened at all; None where it can.
        damage: every broken place told.
        pts: time of each frame that came.
        pixels: a digest of each.
        contradictions: where two ways of reading the same file disagree.
        error: the traceback of an exception that is none of kinema's.
        end: how the process ended: "well", "crash", "hang" or "memory".
        peak_mib: its memory above what it started with.
        seconds: how long it took.
    """

    refusal: str | None = None
    damage: tuple[str, ...] = ()
    pts: tuple[int, ...] = ()
    pixels: tuple[str, ...] = ()
    contradictions: tuple[str, ...] = ()
    error: str | None = None
    end: str = "well"
    peak_mib: float = 0.0
    seconds: float = 0.0


@dataclass
class Tally:
    """Counts of mutation x outcome, and the files worth a look."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    by_clip: Counter[tuple[str, str]] = field(default_factory=Counter)
    found: list[dict[str, object]] = field(default_factory=list)
    peak_mib: float = 0.0
    slowest_seconds: float = 0.0


# --- how bytes are damaged ---


def _place(chance: random.Random, size: int) -> int:
    """A place in the file; every third time near an end, where headers and indices are."""
    near = min(size, 4096)
    return chance.choice([chance.randrange(size), chance.randrange(size), chance.randrange(near), size - near])


def _run(chance: random.Random, data: bytes) -> tuple[int, int]:
    """A short or a long run of bytes, [start, end)."""
    start = _place(chance, len(data))
    return start, min(len(data), start + chance.choice([1, 4, 64, 1024, max(1, len(data) // 20)]))


def cut(data: bytes, chance: random.Random) -> bytes:
    """The end is missing."""
    return data[: chance.randrange(1, len(data))]


def remove(data: bytes, chance: random.Random) -> bytes:
    """A run is missing, and what follows moves up."""
    start, end = _run(chance, data)
    return data[:start] + data[end:]


def flip(data: bytes, chance: random.Random) -> bytes:
    """One bit to twenty are the other way round."""
    changed = bytearray(data)
    for _ in range(chance.choice([1, 1, 3, 20])):
        changed[_place(chance, len(data))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def zero(data: bytes, chance: random.Random) -> bytes:
    """A run is zero."""
    start, end = _run(chance, data)
    return data[:start] + bytes(end - start) + data[end:]


def noise(data: bytes, chance: random.Random) -> bytes:
    """A run is random."""
    start, end = _run(chance, data)
    return data[:start] + chance.randbytes(end - start) + data[end:]


def insert(data: bytes, chance: random.Random) -> bytes:
    """Random bytes come in between."""
    start, end = _run(chance, data)
    return data[:start] + chance.randbytes(end - start) + data[start:]


def duplicate(data: bytes, chance: random.Random) -> bytes:
    """A run is there twice."""
    start, end = _run(chance, data)
    return data[:end] + data[start:]


def reorder(data: bytes, chance: random.Random) -> bytes:
    """Two blocks have changed places."""
    size = chance.choice([16, 188, 512, 4096])
    blocks = [data[at : at + size] for at in range(0, len(data), size)]
    one, other = chance.randrange(len(blocks)), chance.randrange(len(blocks))
    blocks[one], blocks[other] = blocks[other], blocks[one]
    return b"".join(blocks)


MUTATIONS: dict[str, Callable[[bytes, random.Random], bytes]] = {
    each.__name__: each for each in (cut, remove, flip, zero, noise, insert, duplicate, reorder)
}


def damaged(number: int, seed: int, originals: Sequence[Path]) -> tuple[str, Path, bytes]:
    """Mutation, clip and bytes of file `number`; the bytes differ from the clip's."""
    chance = random.Random(f"{seed}:{number}")
    mutation = list(MUTATIONS)[number % len(MUTATIONS)]
    clip = originals[number // len(MUTATIONS) % len(originals)]
    data = clip.read_bytes()
    changed = data
    while changed == data:
        changed = MUTATIONS[mutation](data, chance)
    return mutation, clip, changed


def make_clips(folder: Path, frames: int = 24, size: tuple[int, int] = (96, 64)) -> list[Path]:
    """A small clip of each of `MADE`."""
    width, height = size
    blocks = np.random.default_rng(0).integers(0, 255, (height // 8, width // 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    pictures = np.stack([np.roll(blocks, (i, 2 * i), (0, 1)) for i in range(frames)])
    for name, settings in MADE.items():
        with VideoWriter(folder / name, 25, size, keyframe_interval_frames=8, **settings) as writer:
            writer.write(pictures)
    return [folder / name for name in MADE]


# --- how they are read ---


def read_every_way(path: Path, seed: int) -> Reading:
    """Read `path` as kinema's users do; every exception but a `MediaError` is an error of kinema's."""
    try:
        with VideoFile(path, strict=False) as video:
            pts: list[int] = []
            pixels: list[str] = []
            for frames in video.frames(chunk_frames=CHUNK_FRAMES):
                pts.extend(frames.pts)
                pixels.extend(hashlib.sha1(each.numpy().tobytes()).hexdigest()[:12] for each in frames.data)
            whole = tuple(map(str, video.damage))
            clips = list(_of_clips(video, pts, pixels, random.Random(seed)))
            damage = tuple(map(str, video.damage))
            # What lies behind a broken place depends on where decoding began, and was told of.
            contradictions = [*_of_times(video, pts), *([] if whole else clips)]
    except MediaError as error:
        report = inspect_file(path)
        missed = () if report.reason else (f"refused ({error.reason}), yet inspect_file finds nothing",)
        return Reading(refusal=error.reason, contradictions=missed)
    report = inspect_file(path)
    if bool(report.reason) != bool(damage):
        contradictions.append(f"inspect_file says {report.reason}, reading {damage}")
    if report.frames_decoded not in {len(pts), 0}:
        contradictions.append(f"inspect_file decodes {report.frames_decoded} frames, reading {len(pts)}")
    if len(pts) != len(video.pts) and not damage:
        contradictions.append(f"{len(pts)} of {len(video.pts)} frames come, and nothing is told")
    return Reading(None, damage, tuple(pts), tuple(pixels), tuple(contradictions))


def _of_times(video: VideoFile, pts: list[int]) -> Iterable[str]:
    if list(video.pts) != sorted(set(video.pts)):
        yield "times that do not ascend"
    if not set(pts) <= set(video.pts):
        yield "a frame at a time that the file does not announce"
    if not 0 < video.info.duration_seconds < float("inf"):
        yield f"a duration of {video.info.duration_seconds} s"


def _of_clips(video: VideoFile, pts: list[int], pixels: list[str], chance: random.Random) -> Iterable[str]:
    known = dict(zip(pts, pixels, strict=True))
    for _ in range(3):
        start = chance.randrange(len(video.pts))
        indices = range(start, min(len(video.pts), start + 4))
        try:
            clip = video.read(indices)
        except MediaError:
            if all(video.pts[index] in known for index in indices):
                yield f"frames {indices} come in order, but not when asked for"
            continue
        for time_, picture in zip(clip.pts, clip.data, strict=True):
            if known.get(time_) != hashlib.sha1(picture.numpy().tobytes()).hexdigest()[:12]:
                yield f"the frame at {time_} is another when asked for than in order"


def read_apart(path: Path, seed: int) -> Reading:
    """`read_every_way` in a process of its own, forked from this one, which has no threads; never raises."""
    started = time.perf_counter()
    get, give = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(get)
        _read_and_leave(path, seed, give)
    os.close(give)
    answer, hung = _answer(get, started + WALL_SECONDS, child)
    status = os.waitpid(child, 0)[1]
    seconds = round(time.perf_counter() - started, 3)
    if hung or (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU):
        return Reading(end="hang", seconds=seconds)
    if os.WIFSIGNALED(status) or not answer:
        return Reading(end="crash", error=f"ended with status {status}", seconds=seconds)
    said: dict[str, Any] = json.loads(answer)
    known: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in said.items()}
    reading = Reading(**known)
    told = str((reading.refusal, reading.damage, reading.error)).lower()
    if reading.peak_mib > MEMORY_MIB or "memory" in told:
        reading = replace(reading, end="memory")
    return replace(reading, seconds=seconds)


def _read_and_leave(path: Path, seed: int, give: int) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 5))
    in_use, resident = (pages * resource.getpagesize() for pages in _pages())
    resource.setrlimit(resource.RLIMIT_AS, (in_use + ADDRESS_SPACE_BYTES,) * 2)
    try:
        reading = read_every_way(path, seed)
    except BaseException:  # noqa: BLE001 - what comes here is what is looked for
        reading = Reading(error=traceback.format_exc())
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    with os.fdopen(give, "w") as pipe:
        json.dump(asdict(replace(reading, peak_mib=round((peak_bytes - resident) / 2**20, 1))), pipe)
    os._exit(0)


def _pages() -> tuple[int, int]:
    """Pages of address space and of memory of this process."""
    in_use, resident, *_ = Path("/proc/self/statm").read_text().split()
    return int(in_use), int(resident)


def _answer(get: int, until: float, child: int) -> tuple[bytes, bool]:
    """What the child says before `until`, and whether it had to be ended."""
    parts: list[bytes] = []
    with os.fdopen(get, "rb", buffering=0) as pipe:
        while select.select([pipe], [], [], max(0.0, until - time.perf_counter()))[0]:
            part = pipe.read(1 << 16)
            if not part:
                return b"".join(parts), False
            parts.append(part)
    os.kill(child, signal.SIGKILL)
    return b"", True


def outcome(reading: Reading, original: Reading) -> str:
    """Which of `OUTCOMES` this is: the worst that holds."""
    times_same = [pts - reading.pts[0] for pts in reading.pts] == [pts - original.pts[0] for pts in original.pts]
    cases = (
        (reading.end != "well", reading.end),
        (reading.error is not None, "foreign error"),
        (bool(reading.contradictions), "contradiction"),
        (reading.refusal is not None, "refused"),
        (bool(reading.damage), "reported"),
        (len(reading.pts) < len(original.pts), "silent: fewer frames"),
        (len(reading.pts) > len(original.pts), "silent: more frames"),
        (reading.pixels != original.pixels, "silent: other pixels"),
        (not times_same, "silent: other times"),
    )
    return next((name for holds, name in cases if holds), "unchanged")


def fuzz(originals: Sequence[Path], numbers: Iterable[int], seed: int, *, keep: Path | None = None) -> Tally:
    """Damage and read; files of the worst outcomes are kept in `keep`."""
    tally, whole = Tally(), {clip: read_apart(clip, seed) for clip in originals}
    for clip, reading in whole.items():
        if outcome(reading, reading) not in {"unchanged", "reported"}:
            raise SystemExit(f"{clip} does not read even undamaged: {reading}")
    with tempfile.TemporaryDirectory() as folder:
        for number in numbers:
            mutation, clip, data = damaged(number, seed, originals)
            path = Path(folder, f"{number}{clip.suffix}")
            path.write_bytes(data)
            reading = read_apart(path, number)
            named = outcome(reading, whole[clip])
            tally.counts[mutation, named] += 1
            tally.by_clip[clip.name, named] += 1
            tally.peak_mib = max(tally.peak_mib, reading.peak_mib)
            tally.slowest_seconds = max(tally.slowest_seconds, reading.seconds)
            if named in FATAL or named in {"silent: fewer frames", "silent: more frames"}:
                tally.found.append(
                    {"number": number, "mutation": mutation, "clip": clip.name, "outcome": named}
                    | {"frames": f"{len(reading.pts)} of {len(whole[clip].pts)}", "error": reading.error}
                    | {"contradictions": reading.contradictions[:2], "refusal": reading.refusal}
                    | {"damage": reading.damage[:2], "seconds": reading.seconds, "peak_mib": reading.peak_mib}
                )
                if keep is not None:
                    (keep / f"{seed}-{number}-{mutation}-{clip.name}").write_bytes(data)
            path.unlink()
    return tally


def table(counts: Counter[tuple[str, str]]) -> str:
    """Counts as a Markdown table, a row for each first key."""
    shown = [name for name in OUTCOMES if any(key[1] == name for key in counts)]
    lines = [f"| | {' | '.join(shown)} |", f"|---|{'---:|' * len(shown)}"]
    rows = sorted({key[0] for key in counts})
    lines += [f"| {row} | {' | '.join(str(counts[row, name]) for name in shown)} |" for row in rows]
    totals = [str(sum(count for key, count in counts.items() if key[1] == name)) for name in shown]
    return "\n".join([*lines, f"| **all** | {' | '.join(totals)} |"])


def main() -> None:
    """Make the clips, damage and read them, print; leaves with 1 where what may never happen did."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=2400)
    parser.add_argument("--first", type=int, default=0, help="number of the first file")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--clips", type=Path, nargs="*", default=[], help="videos, or folders of them, to damage, too")
    parser.add_argument("--keep", type=Path, help="where files that went wrong are kept")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)  # a process with threads must not fork
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
    given = [path for each in options.clips for path in (sorted(each.rglob("*")) if each.is_dir() else [each])]
    given = [path for path in given if path.suffix in VIDEO_SUFFIXES]
    with tempfile.TemporaryDirectory() as folder:
        small = [path for path in given if path.stat().st_size <= LARGEST_CLIP_BYTES]
        numbers = range(options.first, options.first + options.files)
        tally = fuzz([*make_clips(Path(folder)), *small], numbers, options.seed, keep=options.keep)
    if options.json:
        counted = (("counts", tally.counts), ("clips", tally.by_clip))
        rows = {name: {", ".join(key): count for key, count in sorted(counts.items())} for name, counts in counted}
        used = {"seed": options.seed, "peak_mib": tally.peak_mib, "slowest_seconds": tally.slowest_seconds}
        print(json.dumps(used | rows | {"found": tally.found}, indent=2))
    else:
        versions = f"PyAV {av.__version__}, FFmpeg {av.ffmpeg_version_info}, Python {platform.python_version()}"
        print(f"{options.files} files, seed {options.seed}, {versions}")
        print(f"peak {tally.peak_mib:.0f} MiB above the start, slowest {tally.slowest_seconds:.1f} s\n")
        print(f"{table(tally.counts)}\n\n{table(tally.by_clip)}\n")
        for each in tally.found:
            print(json.dumps(each))
    sys.exit(any(named in FATAL for _, named in tally.counts))


if __name__ == "__main__":
    main()
