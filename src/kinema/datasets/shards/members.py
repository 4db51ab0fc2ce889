"""Samples of a packed data set as rows of a manifest, so that they are validated and tested on like files.

Their labels, paths and groups stand in the shards, beside the videos. The first time a split is
asked for, its shards are read from end to end: frames go to the frame cache, and what the samples
are called beside them. After that nothing is read, until the cache is deleted.
"""

from __future__ import annotations

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeAlias

from kinema.core.atomic import replacing
from kinema.core.errors import DataError
from kinema.core.progress import Progress
from kinema.datasets.cache import CachedVideo, FrameCache, readers
from kinema.datasets.sample import Sample
from kinema.datasets.shards.blocks import BlockReader, Retry
from kinema.datasets.shards.decode import opened
from kinema.datasets.shards.index import ALL, PackIndex
from kinema.datasets.shards.order import Course
from kinema.datasets.shards.read import PackedSample, read_course, read_one
from kinema.video.frame import Frames
from kinema.video.source import is_url

__all__ = ["PackedVideos"]

# Raised whenever decoding changes what a frame looks like, so that old files go unused.
_FORMAT = 1

# What a manifest's row says: path, label, group, start_seconds, end_seconds, dataset.
_Facts: TypeAlias = tuple[str, str, str | None, float | None, float | None, str | None]


class PackedVideos:
    """The samples of a packed data set, and the frames of each.

    Args:
        index: of the packed data set.
        cache: keeps frames, at its short side.
        retry: how often a failed read is tried again; as `Retry()` says unless given.
    """

    def __init__(self, index: PackIndex, cache: FrameCache, *, retry: Retry | None = None) -> None:
        self.index = index
        self.cache = cache
        # Where nothing lies: paths only say what a sample was made from.
        self.root = Path(os.sep if is_url(index.address) else index.address).absolute()
        self._reader = BlockReader(index.address, retry or Retry())
        self._members: dict[tuple[Path, float | None, float | None], tuple[str, int]] = {}

    def samples(self, split: str, progress: Progress) -> tuple[Sample, ...]:
        """All samples of `split`, as packed; a path is that of the video each was made from, below `root`.

        Raises:
            DataError: no such split, or something cannot be read.
            MediaError: a video does not decode.
        """
        count = self.index.split(split).samples
        told = self._remembered(split)
        if told is None or not all(self.cache.holds(self._key(split, number)) for number in range(count)):
            told = self._read(split, progress)
        rows = tuple(self._row(split, *facts) for facts in told)
        for number, row in enumerate(rows):
            self._members.setdefault((row.path, row.start_seconds, row.end_seconds), (split, number))
        return rows

    def open(self, path: Path, *, start_seconds: float | None = None, end_seconds: float | None = None) -> CachedVideo:
        """The frames of a sample that `samples` gave, called by its path and times.

        Raises:
            DataError: no such sample, or it cannot be read.
            MediaError: its video does not decode.
        """
        member = self._members.get((path, start_seconds, end_seconds))
        if member is None:
            raise DataError(f"no sample {path} in {self.index.address}", allowed="samples of splits that were read")
        return self.cache.keep(self._key(*member), partial(self._fetch, *member))

    def _read(self, split: str, progress: Progress) -> list[_Facts]:
        """Every sample of `split` once, its frames into the cache, and what it is called beside them."""
        packed = self.index.split(split)
        facts: dict[int, _Facts] = {}
        # A buffer of one keeps the order of the shards, so that as little as possible is held.
        stream = read_course(self.index, split, Course(packed, 0, 0, packed.samples, 0, 1), self._reader)
        with progress.task(f"reading {split}", packed.samples, "videos") as task, ThreadPoolExecutor(readers()) as pool:
            while held := list(islice(stream, 4 * readers())):
                for sample, _ in zip(held, pool.map(partial(self._keep, split), held), strict=True):
                    times = sample.start_seconds, sample.end_seconds
                    facts[sample.number] = (sample.path, sample.label, sample.group, *times, sample.dataset)
                    task.advance()
        told = [facts[number] for number in range(packed.samples)]
        with replacing(self._note(split)) as beside:
            beside.write_text(json.dumps(told, ensure_ascii=False), encoding="utf-8")
        return told

    def _remembered(self, split: str) -> list[_Facts] | None:
        """What `_read` wrote down; None where it is gone."""
        try:
            return [tuple(row) for row in json.loads(self._note(split).read_text(encoding="utf-8"))]
        except (OSError, ValueError):
            return None

    def _row(
        self,
        split: str,
        path: str,
        label: str,
        group: str | None,
        start_seconds: float | None,
        end_seconds: float | None,
        dataset: str | None,
    ) -> Sample:
        named = None if split == ALL else split
        return Sample(self.root / path, label, named, group, start_seconds, end_seconds, dataset)

    def _keep(self, split: str, sample: PackedSample) -> None:
        self.cache.keep(self._key(split, sample.number), partial(_decode, sample, self.cache.short_side_px))

    def _fetch(self, split: str, number: int) -> CachedVideo:
        """The frames of one sample that were deleted, or never kept."""
        return _decode(read_one(self.index, split, number, self._reader), self.cache.short_side_px)

    def _note(self, split: str) -> Path:
        return self.cache.folder / f"{self.index.sha256[:32]}-{split}.json"

    def _key(self, split: str, number: int) -> str:
        what = ("packed", _FORMAT, self.index.sha256, split, number, self.cache.short_side_px)
        return hashlib.sha256(repr(what).encode()).hexdigest()[:32]


def _decode(sample: PackedSample, short_side_px: int) -> CachedVideo:
    with opened(sample, short_side_px) as video:
        frames = Frames.join(list(video.frames()))
    return CachedVideo(frames.data, frames.pts, frames.time_base)
