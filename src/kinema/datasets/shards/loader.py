"""Packed samples as batches of random clips: what `datasets.loader` is for files, for shards.

Every random choice of a clip follows from (seed, epoch, sample), the order of samples from (seed,
epoch, ranks, workers). So a run can go on in the middle of an epoch as if nothing had happened.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from kinema.clips.sampling import clip_at, start_count
from kinema.core.errors import DataError, KinemaError, UsageError
from kinema.core.seeds import stream
from kinema.core.spec import InputSpec
from kinema.datasets.loader import Batch, Failure, raising
from kinema.datasets.shards.blocks import BlockReader, Retry
from kinema.datasets.shards.decode import opened
from kinema.datasets.shards.index import PackIndex
from kinema.datasets.shards.order import Course, Share
from kinema.datasets.shards.read import PackedSample, read_course
from kinema.transforms.presets import TrainTransform

__all__ = ["PackedClips", "PackedLoader", "random_clip"]


def random_clip(
    sample: PackedSample, spec: InputSpec, transform: TrainTransform, rng: np.random.Generator, *, speed: float = 0.0
) -> torch.Tensor:
    """One random clip of a packed sample: uint8 (T, C, S, S). Decodes from the keyframe before it to its end.

    Args:
        sample: with its video.
        spec: what the network is fed.
        transform: crops the clip.
        rng: the source of chance.
        speed: strength s of the speed change: a clip runs exp(u) times as fast, u uniform in [-s, s].

    Raises:
        MediaError: the video does not decode.
        DataError: it is shorter than a clip where the clip may not be padded.
    """
    factor = float(np.exp(rng.uniform(-speed, speed)))
    with opened(sample, spec.short_side_px) as video:
        base = video.info.time_base
        times = tuple(float((pts - video.pts[0]) * base) for pts in video.pts)
        start = int(rng.integers(start_count(times, spec.clip, speed=factor)))
        try:
            chosen = clip_at(times, spec.clip, start, speed=factor)
        except DataError as error:
            raise DataError(
                f"{sample.name}: {error.given}", allowed=error.allowed, next_step=error.next_step
            ) from error
        frames = video.read(chosen)
    return transform.clip(frames.data, rng)


@dataclass(frozen=True)
class PackedClips:
    """What is read from a packed data set, and how it is cut.

    Attributes:
        index: of the packed data set.
        split: its name in the index.
        spec: what the network is fed.
        transform: crops clips.
        batch_size: clips a batch and process.
        seed: of the run.
        speed: strength of the speed change, see `random_clip`.
        rank: this process, in [0, ranks).
        ranks: how many processes share the samples.
        buffer_samples: samples each worker holds to draw from.
        retry: how often a failed read is tried again.
    """

    index: PackIndex
    split: str
    spec: InputSpec
    transform: TrainTransform
    batch_size: int
    seed: int = 0
    speed: float = 0.0
    rank: int = 0
    ranks: int = 1
    buffer_samples: int = 256
    retry: Retry = field(default_factory=Retry)

    def __post_init__(self) -> None:
        samples = self.index.split(self.split).samples
        if self.batch_size < 1:
            raise UsageError(f"batches of {self.batch_size} clips", allowed="one clip or more")
        if samples < self.ranks:
            raise UsageError(f"{samples} samples for {self.ranks} processes", allowed="one sample or more a process")

    @property
    def batches(self) -> int:
        """Batches of a whole epoch on each process; at least one."""
        return max(1, self.index.split(self.split).samples // (self.batch_size * self.ranks))

    def read(self, epoch: int, *, worker: int = 0, workers: int = 1, skip_batches: int = 0) -> Iterator[Batch]:
        """The batches of one worker of this process: of all, every `workers`-th from `worker` on.

        Args:
            epoch: from 0.
            worker: in [0, workers).
            workers: how many read together.
            skip_batches: leave out so many of this worker's own.

        Raises:
            DataError: a sample cannot be read.
            MediaError: a video does not decode.
        """
        split = self.index.split(self.split)
        begin, end = Share(self.rank, self.ranks).slice(split.samples)
        before = sum(self._batches_of(other, workers) for other in range(worker)) * self.batch_size
        mine = self._batches_of(worker, workers) * self.batch_size
        first = min(end, begin + before)
        course = Course(split, epoch, first, min(end, first + mine), self.seed, self.buffer_samples)
        reader = BlockReader(self.index.address, self.retry)
        items = []
        skipped = min(skip_batches * self.batch_size, course.last - course.first)
        for sample in read_course(self.index, self.split, course, reader, given=skipped):
            rng = stream(self.seed, "clip", epoch, sample.number)
            clip = random_clip(sample, self.spec, self.transform, rng, speed=self.speed)
            items.append((clip, sample.target, sample.number))
            if len(items) == self.batch_size:
                yield Batch.of(items)
                items = []
        if items:
            yield Batch.of(items)  # of a split that is smaller than one batch

    def _batches_of(self, worker: int, workers: int) -> int:
        return len(range(worker, self.batches, workers))


class PackedLoader:
    """Batches of one process, epoch after epoch, read by worker processes; each iteration is one epoch.

    The samples that do not fill a batch on every process are left out of that epoch. Each epoch begins
    elsewhere in the data set, so that these are others every time.

    Args:
        clips: what is read.
        workers: processes that read; 0: this one. They are started afresh (spawn).
        pin_memory: put batches where a GPU copies from without waiting.
    """

    def __init__(self, clips: PackedClips, *, workers: int = 0, pin_memory: bool = False) -> None:
        self.clips = clips
        self._turn = _Turn(clips)
        self._loader: DataLoader[Batch | Failure] = DataLoader(
            self._turn,
            batch_size=None,
            num_workers=workers,
            pin_memory=pin_memory,
            persistent_workers=workers > 0,
            generator=torch.Generator(),  # else every epoch's start would draw from torch's own generator
            multiprocessing_context="spawn" if workers else None,
        )

    @property
    def batches(self) -> int:
        """Batches of a whole epoch."""
        return self.clips.batches

    def go_to(self, epoch: int, *, skip_batches: int = 0) -> None:
        """Make the next iteration that of `epoch`, leaving out its first `skip_batches` batches."""
        self._turn.go_to(epoch, skip_batches)

    def __iter__(self) -> Iterator[Batch]:
        return raising(self._loader)

    def __len__(self) -> int:
        return self.batches - self._turn.skip_batches


class _Turn(IterableDataset[Any]):
    """What the workers read next; they see `go_to` through memory that they share with this process."""

    def __init__(self, clips: PackedClips) -> None:
        self._clips = clips
        self._next = torch.zeros(2, dtype=torch.int64)  # epoch, batches to skip
        self._next.share_memory_()  # type: ignore[no-untyped-call]  # torch has left it without types

    def go_to(self, epoch: int, skip_batches: int) -> None:
        self._next[0], self._next[1] = epoch, skip_batches

    @property
    def skip_batches(self) -> int:
        return int(self._next[1])

    def __iter__(self) -> Iterator[Batch | Failure]:
        epoch, skip = (int(number) for number in self._next)
        info = get_worker_info()
        workers = info.num_workers if info else 1
        # The loader asks its workers in turn, beginning with the first: that one has to hold the next batch.
        worker = ((info.id if info else 0) + skip) % workers
        skipped = len(range(worker, skip, workers))
        return _told(self._clips.read(epoch, worker=worker, workers=workers, skip_batches=skipped))


def _told(batches: Iterator[Batch]) -> Iterator[Batch | Failure]:
    """`batches`, and instead of an error what it was."""
    try:
        yield from batches
    except KinemaError as error:
        yield Failure(error)
