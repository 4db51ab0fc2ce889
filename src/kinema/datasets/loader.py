"""Manifest rows as batches of clips for training.

Every random choice of a clip follows from (seed, epoch, row) alone. So a run gives the same clips
with any number of worker processes, and can go on in the middle of an epoch as if nothing happened.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from kinema.clips.sampling import clip_at, grid, start_count
from kinema.core.errors import DataError, KinemaError, UsageError
from kinema.core.seeds import stream
from kinema.core.spec import ClipSpec, InputSpec
from kinema.datasets.balance import balanced_order
from kinema.datasets.cache import VideoShelf
from kinema.datasets.sample import Sample
from kinema.transforms.presets import TrainTransform

__all__ = [
    "Batch",
    "EpochSampler",
    "Failure",
    "Feed",
    "FileFeed",
    "TrainingClips",
    "raising",
    "require_length",
    "training_loader",
]


@dataclass(frozen=True, repr=False)
class Batch:
    """Clips on their way to the network.

    Attributes:
        clips: uint8 (N, T, C, S, S), cropped, not yet normalised.
        targets: int64 (N,), class indices.
        rows: N positions in the list of samples, to name a clip that makes trouble.
    """

    clips: torch.Tensor
    targets: torch.Tensor
    rows: tuple[int, ...]

    @classmethod
    def of(cls, items: Sequence[tuple[torch.Tensor, int, int]]) -> Batch:
        """Clips of one shape, uint8 (T, C, S, S), each with its class index and row."""
        clips, targets, rows = zip(*items, strict=True)
        # In a worker, torch puts these clips together in the shared memory that they travel in. A batch put together
        # in the heap and copied from there leaves a hole in which glibc cannot place the next one, as it wants some
        # bytes more to align it: the heap grows by one batch after the other, to hundreds of MiB.
        together: torch.Tensor = default_collate(list(clips))
        return cls(together, torch.tensor(targets), tuple(rows))

    def pin_memory(self) -> Batch:
        """This batch in page-locked memory, from which a GPU copies without waiting; the loader calls it."""
        return Batch(self.clips.pin_memory(), self.targets.pin_memory(), self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return f"Batch({tuple(self.clips.shape)})"


class Feed(Protocol):
    """Batches of one process, epoch after epoch: of files, or of shards. Each iteration is one epoch."""

    @property
    def batches(self) -> int:
        """Batches of a whole epoch; at least one."""
        ...

    def go_to(self, epoch: int, *, skip_batches: int = 0) -> None:
        """Make the next iteration that of `epoch`, leaving out its first `skip_batches` batches."""
        ...

    def __iter__(self) -> Iterator[Batch]: ...


@dataclass(frozen=True)
class Draw:
    """Which row to read, in which epoch: all that a clip's randomness depends on besides the seed.

    Attributes:
        epoch: from 0.
        row: position in the list of samples.
        turn: how often the row was drawn before in this epoch, where balancing repeats it.
    """

    epoch: int
    row: int
    turn: int = 0


class EpochSampler(Sampler[list[Draw]]):
    """Batches of rows in an order shuffled by (seed, epoch), for one of `ranks` processes.

    All processes shuffle alike and take every `ranks`-th row, so together they see each row once;
    the last rows that do not fill one batch on every process are left out of that epoch, and, as
    the order changes, of no row's training.

    Args:
        length: number of samples.
        batch_size: clips a batch and process.
        seed: of the run.
        rank: this process, in [0, ranks).
        ranks: how many processes share the rows.
        strata: N numbers, which stratum each row belongs to. An epoch then holds equally many
            draws of each stratum (`balance.balanced_order`): rows of small ones repeat, rows of large ones take turns.
    """

    def __init__(
        self,
        length: int,
        batch_size: int,
        seed: int,
        *,
        rank: int = 0,
        ranks: int = 1,
        strata: Sequence[int] | None = None,
    ) -> None:
        if length < ranks:
            raise UsageError(f"{length} samples for {ranks} processes", allowed="one sample or more a process")
        self.length = length
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.ranks = ranks
        self.strata = None if strata is None else np.asarray(strata)
        self.epoch = 0
        self.skip_batches = 0

    def go_to(self, epoch: int, *, skip_batches: int = 0) -> None:
        """Make the next iteration that of `epoch`, leaving out its first `skip_batches` batches."""
        self.epoch = epoch
        self.skip_batches = skip_batches

    @property
    def batches(self) -> int:
        """Batches of a whole epoch on each process; at least one."""
        return max(1, self.length // (self.batch_size * self.ranks))

    def __iter__(self) -> Iterator[list[Draw]]:
        rng = stream(self.seed, "order", self.epoch)
        if self.strata is None:
            order = [(int(row), 0) for row in rng.permutation(self.length)]
        else:
            order = balanced_order(self.strata, rng)
        mine = [Draw(self.epoch, row, turn) for row, turn in order[self.rank :: self.ranks]]
        for number in range(self.skip_batches, self.batches):
            yield mine[number * self.batch_size : (number + 1) * self.batch_size]

    def __len__(self) -> int:
        return self.batches - self.skip_batches


class TrainingClips(Dataset[Any]):
    """Random clips of samples: a random start, one random crop a clip.

    Args:
        samples: rows of a manifest.
        targets: class index of each.
        spec: what the network is fed.
        transform: crops clips.
        cache: opens the videos.
        seed: of the run.
        speed: strength s of the speed change: a clip runs exp(u) times as fast, u uniform in [-s, s].
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        targets: Sequence[int],
        spec: InputSpec,
        *,
        transform: TrainTransform,
        cache: VideoShelf,
        seed: int,
        speed: float = 0.0,
    ) -> None:
        self.samples = tuple(samples)
        self.targets = tuple(targets)
        self.spec = spec
        self.transform = transform
        self.cache = cache
        self.seed = seed
        self.speed = speed

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, draw: Draw) -> tuple[torch.Tensor, int, int]:
        """The clip of one draw: uint8 (T, C, S, S), its class index, its row.

        Raises:
            MediaError: the video cannot be read.
        """
        sample = self.samples[draw.row]
        again = (draw.turn,) if draw.turn else ()  # the first draw of a row is the same with and without balancing
        rng = stream(self.seed, "clip", draw.epoch, draw.row, *again)
        video = self.cache.open(sample.path, start_seconds=sample.start_seconds, end_seconds=sample.end_seconds)
        speed = float(np.exp(rng.uniform(-self.speed, self.speed)))
        start = int(rng.integers(start_count(video.times, self.spec.clip, speed=speed)))
        frames = video.read(clip_at(video.times, self.spec.clip, start, speed=speed))
        return self.transform.clip(frames.data, rng), self.targets[draw.row], draw.row


def require_length(samples: Sequence[Sample], cache: VideoShelf, spec: ClipSpec) -> None:
    """Refuse videos shorter than a clip where the clip may not be padded.

    Raises:
        DataError: naming them all.
    """
    if spec.padding != "none":
        return
    short = []
    for sample in samples:
        video = cache.open(sample.path, start_seconds=sample.start_seconds, end_seconds=sample.end_seconds)
        held = len(grid(video.times, spec))
        if held < spec.frames:
            short.append(f"  {sample.path}: {held}")
    if short:
        raise DataError(
            f"{len(short)} of {len(samples)} videos have too few frames on the clip grid:\n" + "\n".join(short),
            allowed=f"{spec.frames} frames or more, as clip_padding is 'none'",
            next_step="pad them with --set clip_padding=loop, or take fewer --frames or a smaller --stride",
        )


@dataclass(frozen=True)
class Failure:
    """What a worker could not read. Raised there, an error would come here as its traceback's text."""

    error: KinemaError


class _Told(Dataset[Any]):
    """The clips of a batch at once, or what was wrong with one of them."""

    def __init__(self, clips: TrainingClips) -> None:
        self._clips = clips

    def __len__(self) -> int:
        return len(self._clips)

    def __getitems__(self, draws: list[Draw]) -> list[tuple[torch.Tensor, int, int]] | Failure:
        try:
            return [self._clips[draw] for draw in draws]
        except KinemaError as error:
            return Failure(error)


def _together(items: list[tuple[torch.Tensor, int, int]] | Failure) -> Batch | Failure:
    return items if isinstance(items, Failure) else Batch.of(items)


def training_loader(
    clips: TrainingClips, sampler: EpochSampler, *, workers: int, pin_memory: bool
) -> DataLoader[Batch | Failure]:
    """Batches as the sampler says, read by `workers` processes (0: by this one)."""
    return DataLoader(
        _Told(clips),
        batch_sampler=sampler,
        num_workers=workers,
        collate_fn=_together,
        pin_memory=pin_memory,
        persistent_workers=workers > 0,
        generator=torch.Generator(),  # else every epoch's start would draw from torch's own generator
        multiprocessing_context="spawn" if workers else None,
    )


def raising(batches: Iterable[Batch | Failure]) -> Iterator[Batch]:
    """`batches`, and the error where one of them is none."""
    for batch in batches:
        if isinstance(batch, Failure):
            raise batch.error
        yield batch


class FileFeed:
    """The `Feed` of files: a sampler and the loader that follows it.

    Args:
        clips: what is read.
        sampler: in which order.
        workers: processes that read; 0: this one.
        pin_memory: put batches where a GPU copies from without waiting.
    """

    def __init__(self, clips: TrainingClips, sampler: EpochSampler, *, workers: int, pin_memory: bool) -> None:
        self._sampler = sampler
        self._loader = training_loader(clips, sampler, workers=workers, pin_memory=pin_memory)

    @property
    def batches(self) -> int:
        """Batches of a whole epoch."""
        return self._sampler.batches

    def go_to(self, epoch: int, *, skip_batches: int = 0) -> None:
        """Make the next iteration that of `epoch`, leaving out its first `skip_batches` batches."""
        self._sampler.go_to(epoch, skip_batches=skip_batches)

    def __iter__(self) -> Iterator[Batch]:
        return raising(self._loader)
