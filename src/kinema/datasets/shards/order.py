"""Which samples of a packed split are read when, by whom: arithmetic on the index, before a byte is read.

An epoch is the split's samples shard after shard, in an order of shards that follows from (seed,
epoch), and begins anywhere in it: what lies before goes behind the end. Readers take slices of it next
to each other, cut at any sample, so that together they read every sample once, however many readers or
shards there are. Each shuffles its slice through a buffer.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from kinema.core.errors import UsageError
from kinema.core.seeds import stream
from kinema.datasets.shards.index import PackedSplit

__all__ = ["Course", "Place", "Share", "place_of"]


@dataclass(frozen=True)
class Place:
    """One sample.

    Attributes:
        shard: which of the split's shards.
        sample: which of the shard's samples.
    """

    shard: int
    sample: int


def place_of(split: PackedSplit, number: int) -> Place:
    """Where sample `number` of `split`, in [0, samples), lies."""
    ends = list(accumulate(shard.samples for shard in split.shards))
    shard = bisect_right(ends, number)
    return Place(shard, number - (ends[shard - 1] if shard else 0))


@dataclass(frozen=True)
class Share:
    """One of several readers of the same epoch: process `rank` of `ranks`, and in it worker `worker` of `workers`.

    Raises:
        UsageError: a number out of its range.
    """

    rank: int = 0
    ranks: int = 1
    worker: int = 0
    workers: int = 1

    def __post_init__(self) -> None:
        if not (0 <= self.rank < self.ranks and 0 <= self.worker < self.workers):
            raise UsageError(f"{self}", allowed="0 <= rank < ranks and 0 <= worker < workers")

    def slice(self, length: int) -> tuple[int, int]:
        """This reader's part [first, last) of an epoch; parts differ by one sample at most."""
        number, readers = self.rank * self.workers + self.worker, self.ranks * self.workers
        return number * length // readers, (number + 1) * length // readers


@dataclass(frozen=True)
class Course:
    """One reader's way through one epoch.

    Attributes:
        split: what is read.
        epoch: from 0.
        first: where in the epoch's order it begins.
        last: where it ends, exclusive.
        seed: of the order.
        buffer_samples: how many are held back to draw from; 1 keeps the order of the shards.
    """

    split: PackedSplit
    epoch: int
    first: int
    last: int
    seed: int
    buffer_samples: int

    def __post_init__(self) -> None:
        if self.buffer_samples < 1:
            raise UsageError(f"a shuffle buffer of {self.buffer_samples} samples", allowed="one sample or more")

    def places(self) -> list[Place]:
        """The samples in the order in which their bytes lie."""
        counts = [shard.samples for shard in self.split.shards]
        order = [int(shard) for shard in stream(self.seed, "shards", self.epoch).permutation(len(counts))]
        # Whoever leaves out the end of an epoch leaves out others in the next one, even of a single shard.
        offset = int(stream(self.seed, "offset", self.epoch).integers(max(1, sum(counts))))
        first, last = self.first + offset, self.last + offset
        twice = order + order  # an epoch that begins in the middle goes on at the beginning
        places = []
        for shard, end in zip(twice, accumulate(counts[shard] for shard in twice), strict=True):
            begin = end - counts[shard]
            taken = range(max(first, begin), min(last, end))
            places += [Place(shard, position - begin) for position in taken]
        return places

    def shuffled(self) -> list[int]:
        """Positions in `places()`, in the order in which they are given out.

        Position k is given out after at most k + `buffer_samples` samples have been read.
        """
        rng = stream(self.seed, "buffer", self.epoch, self.first)
        return list(_through_buffer(self.last - self.first, self.buffer_samples, rng))


def _through_buffer(count: int, size: int, rng: np.random.Generator) -> Iterator[int]:
    held: list[int] = []
    for position in range(count):
        if len(held) < size:
            held.append(position)
            continue
        drawn = int(rng.integers(size))
        yield held[drawn]
        held[drawn] = position
    for drawn in rng.permutation(len(held)):
        yield held[drawn]
