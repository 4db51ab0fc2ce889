"""Samples of a packed data set, streamed from a disk or a URL in a shuffled order that can be gone on with.

index = read_index("https://server/packed")
stream = ShardStream(index, "train", seed=1)
for sample in stream:  # one epoch
    ...
kept = stream.position.to_json()  # at any moment; go_to(Position.from_json(kept)) goes on from there
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from itertools import accumulate, groupby
from typing import Any

from kinema.core.errors import DataError, UsageError
from kinema.datasets.shards.blocks import BlockReader, Retry
from kinema.datasets.shards.index import PackIndex, Shard
from kinema.datasets.shards.order import Course, Place, Share, place_of

__all__ = ["PackedSample", "Position", "ShardStream", "member_name", "read_course", "read_one"]

# Bytes asked for at once, as far as samples lie next to each other.
_SPAN_BYTES = 8 * 2**20


@dataclass(frozen=True)
class PackedSample:
    """One sample of a shard.

    Attributes:
        number: its place in the split as packed, from 0: the same in every epoch.
        name: URL or path of the shard, and the member in it, for messages.
        label: class name.
        target: class index.
        group: as in the manifest.
        dataset: as in the manifest.
        path: of the video it was made from, from the manifest's folder on.
        start_seconds: of the segment in that video; None: its beginning.
        end_seconds: of the segment, exclusive; None: its end.
        fps: exact frames a second of that video.
        frames: pictures.
        video: an MP4 file's bytes.
    """

    number: int
    name: str
    label: str
    target: int
    group: str | None
    dataset: str | None
    path: str
    start_seconds: float | None
    end_seconds: float | None
    fps: Fraction
    frames: int
    video: bytes = field(repr=False)


@dataclass(frozen=True)
class Position:
    """Where a `ShardStream` is.

    Attributes:
        epoch: which pass over the split.
        given: samples of it already given out.
        stream: what the stream reads and how; a position is good for no other.
    """

    epoch: int
    given: int
    stream: str

    def to_json(self) -> dict[str, Any]:
        """As plain numbers and text."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Position:
        """The inverse of `to_json`."""
        return cls(int(value["epoch"]), int(value["given"]), str(value["stream"]))


class ShardStream:
    """The samples of one split that fall to one reader, epoch after epoch.

    Each iteration gives the rest of the epoch at `position` and ends at the next one's beginning.
    All readers of one (seed, epoch) together give every sample once. The order depends on nothing
    but the index, the seed, the epoch, the share and the buffer.

    Args:
        index: of the packed data set.
        split: its name in the index.
        seed: of the order.
        share: which reader this is, of how many.
        buffer_samples: samples held in memory to draw from. Shards are random samples of the data
            set already, so a small buffer will do.
        retry: how often a failed read is tried again; as `Retry()` says unless given.

    Raises:
        DataError: no such split.
        UsageError: no buffer.
    """

    def __init__(
        self,
        index: PackIndex,
        split: str,
        *,
        seed: int = 0,
        share: Share | None = None,
        buffer_samples: int = 256,
        retry: Retry | None = None,
    ) -> None:
        self.index = index
        self.split = split
        self.seed = seed
        self.share = share or Share()
        self.buffer_samples = buffer_samples
        self._reader = BlockReader(index.address, retry or Retry())
        self._identity = self._name_identity()
        self.position = Position(0, 0, self._identity)
        self._course(0)  # refuses what cannot be read, now rather than later

    def go_to(self, position: Position) -> None:
        """Go on from `position`.

        Raises:
            UsageError: it is of a stream with another data set, seed, share or buffer, or beyond its epoch.
        """
        if position.stream != self._identity:
            raise UsageError(
                f"a position in the stream {position.stream} for the stream {self._identity}",
                allowed="the same packed data set, split, seed, share and buffer",
            )
        course = self._course(0)
        if position.epoch < 0 or not 0 <= position.given <= course.last - course.first:
            raise UsageError(f"{position}", allowed=f"0 to {course.last - course.first} samples given")
        self.position = position

    def __iter__(self) -> Iterator[PackedSample]:
        epoch, given = self.position.epoch, self.position.given
        for sample in read_course(self.index, self.split, self._course(epoch), self._reader, given=given):
            given += 1
            self.position = Position(epoch, given, self._identity)
            yield sample
        self.position = Position(epoch + 1, 0, self._identity)

    def __len__(self) -> int:
        """Samples of a whole epoch."""
        course = self._course(0)
        return course.last - course.first

    def _course(self, epoch: int) -> Course:
        split = self.index.split(self.split)
        first, last = self.share.slice(split.samples)
        return Course(split, epoch, first, last, self.seed, self.buffer_samples)

    def _name_identity(self) -> str:
        share = self.share
        readers = f"{share.rank}/{share.ranks}-{share.worker}/{share.workers}"
        return f"{self.index.fingerprint[:16]}-{self.split}-{self.seed}-{readers}-{self.buffer_samples}"


def read_course(
    index: PackIndex, split: str, course: Course, reader: BlockReader, *, given: int = 0
) -> Iterator[PackedSample]:
    """The samples of `course` in its shuffled order, without the first `given`, whose bytes are not read again.

    Raises:
        DataError: bytes that cannot be read, or are not those that were packed.
    """
    shuffled = course.shuffled()[given:]
    places = course.places()
    shards = index.split(split).shards
    before = [0, *accumulate(shard.samples for shard in shards)]
    coming = _blobs(index, split, places, sorted(shuffled), reader)
    held: dict[int, bytes] = {}
    for position in shuffled:
        while position not in held:
            found, blob = next(coming)
            held[found] = blob
        place = places[position]
        shard = reader.address(shards[place.shard].name)
        yield _sample(index, before[place.shard] + place.sample, shard, held.pop(position))


def read_one(index: PackIndex, split: str, number: int, reader: BlockReader) -> PackedSample:
    """Sample `number` of `split` alone; raises as `read_course` does."""
    place = place_of(index.split(split), number)
    shard = index.split(split).shards[place.shard]
    blob = reader.read(shard.name, shard.offsets[place.sample], shard.offsets[place.sample + 1])
    return _sample(index, number, reader.address(shard.name), blob)


def member_name(index: PackIndex, split: str, number: int) -> str:
    """What messages call sample `number` of `split`: its shard's address, and the file in it."""
    place = place_of(index.split(split), number)
    return f"{index.address}/{index.split(split).shards[place.shard].name}:{number:06}.mp4"


def _blobs(
    index: PackIndex, split: str, places: list[Place], positions: list[int], reader: BlockReader
) -> Iterator[tuple[int, bytes]]:
    """The bytes of the samples at ascending `positions`, those next to each other asked for at once."""
    shards = index.split(split).shards
    # Samples next to each other in a shard differ as much in their place there as among `positions`.
    runs = groupby(enumerate(positions), key=lambda item: (places[item[1]].shard, places[item[1]].sample - item[0]))
    for (number, _), members in runs:
        shard = shards[number]
        run = [position for _, position in members]
        while run:
            span = _fitting(shard, [places[position].sample for position in run])
            first, last = places[run[0]].sample, places[run[span - 1]].sample + 1
            begin = shard.offsets[first]
            read = memoryview(reader.read(shard.name, begin, shard.offsets[last]))
            for position in run[:span]:
                sample = places[position].sample
                yield position, bytes(read[shard.offsets[sample] - begin : shard.offsets[sample + 1] - begin])
            run = run[span:]


def _fitting(shard: Shard, samples: list[int]) -> int:
    """How many of these neighbours are asked for at once; at least one."""
    begin = shard.offsets[samples[0]]
    return max(1, sum(shard.offsets[sample + 1] - begin <= _SPAN_BYTES for sample in samples))


def _sample(index: PackIndex, number: int, shard: str, blob: bytes) -> PackedSample:
    """Sample `number` of its split, whose bytes are `blob`; `shard` is the address of its shard."""
    name = f"{shard}:{number:06}.mp4"
    try:
        with tarfile.open(fileobj=io.BytesIO(blob)) as tar:
            members = {member.name: tar.extractfile(member) for member in tar}
            facts_file, video_file = members[f"{number:06}.json"], members[f"{number:06}.mp4"]
            assert facts_file is not None  # both are plain files
            assert video_file is not None
            facts, video = json.loads(facts_file.read()), video_file.read()
        sample = PackedSample(
            number=number,
            name=name,
            label=facts["label"],
            target=index.labels.index(facts["label"]),
            group=facts["group"],
            dataset=facts["dataset"],
            path=facts["path"],
            start_seconds=_seconds(facts["start_seconds"]),
            end_seconds=_seconds(facts["end_seconds"]),
            fps=Fraction(facts["fps"]),
            frames=facts["frames"],
            video=video,
        )
        expected = facts["sha256"]
    except (tarfile.TarError, LookupError, TypeError, ValueError, ArithmeticError, AssertionError, DataError) as error:
        raise _damaged(name, f"no sample where the index says one is ({error})") from error
    if hashlib.sha256(video).hexdigest() != expected:
        raise _damaged(name, "other bytes than were packed")
    return sample


def _seconds(value: float | None) -> float | None:
    return None if value is None else float(value)


def _damaged(name: str, reason: str) -> DataError:
    return DataError(
        f"cannot read {name}: {reason}",
        allowed="shards as `kinema data pack` wrote them",
        next_step="copy the shard and its index again from where they came",
    )
