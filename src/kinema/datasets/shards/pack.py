"""A manifest -> shards of small videos, in an order shuffled once.

Any number of processes gives the same bytes. Work that stops goes on at the first shard that is not
finished: every finished shard leaves a note in `.parts`, which goes when the index is written, last.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tarfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from kinema.core.atomic import replacing
from kinema.core.errors import DataError, UsageError
from kinema.core.progress import Progress, Silent, Task
from kinema.core.seeds import stream
from kinema.datasets.manifest import Manifest
from kinema.datasets.processes import read_apart
from kinema.datasets.sample import SPLITS, Sample
from kinema.datasets.shards.encode import EncodedClip, EncodeJob, died, encode
from kinema.datasets.shards.index import (
    ALL,
    INDEX_NAME,
    PARTS_NAME,
    BrokenSample,
    PackedSplit,
    PackIndex,
    PackOptions,
    Shard,
    read_index,
)
from kinema.datasets.splits import shared_by_parts

__all__ = ["pack"]

_STAGED = ".staged"
_LOCK_NAME = ".pack.lock"
_MOST_WORKERS = 8
_MIB = 2**20


def pack(
    manifest: Manifest,
    out: Path | str,
    *,
    options: PackOptions | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> PackIndex:
    """Write `manifest` as shards and an index into the folder `out`, or finish writing it.

    Args:
        manifest: the data set.
        out: a folder that is new, empty, or holds what an earlier call with the same data set and
            options has left.
        options: size, quality and order; as `PackOptions()` says unless given.
        workers: processes that encode; None: one a processor, at most 8. 0 encodes in this process,
            which a damaged file may then take down. Else see `processes.read_apart`.
        progress: shows how far it is.

    Returns:
        The index; what could not be decoded stands in its `broken`.

    Raises:
        DataError: `out` holds another data set or something else, cannot be written to, is written to by
            another process, or not one video can be decoded.
        UsageError: the processes cannot be started.
    """
    count = min(_MOST_WORKERS, os.cpu_count() or 1) if workers is None else workers
    if count < 0:
        raise UsageError(f"{count} workers", allowed="0 or more")
    packing = _Packing.plan(manifest, Path(out), options or PackOptions())
    if (packing.folder / INDEX_NAME).exists():
        return packing.finished()
    try:
        with _alone_in(packing.folder):
            return packing.write(count, progress or Silent())
    except OSError as error:
        raise DataError(
            f"cannot write shards to {packing.folder}: {error.strerror or error}",
            allowed="a folder that may be written to, on a disk with room",
            next_step="make room and run the same command again: it goes on where it stopped",
        ) from error


@contextmanager
def _alone_in(out: Path) -> Iterator[None]:
    """Keep a second run out of a folder for as long as the block runs."""
    lock = FileLock(out / _LOCK_NAME, timeout=0)
    out.mkdir(parents=True, exist_ok=True)
    try:
        lock.acquire()
    except Timeout as error:
        raise DataError(
            f"another process writes shards to {out}", next_step="wait for it, or name another folder"
        ) from error
    try:
        yield
    finally:
        (out / _LOCK_NAME).unlink(missing_ok=True)  # before others may have it; no part of what is packed
        lock.release()


@dataclass(frozen=True)
class _Part:
    """One finished shard, and how many samples of its split it has used up.

    Attributes:
        shard: the file.
        labels: of its samples.
        broken: samples met on the way that cannot be decoded.
    """

    shard: Shard
    labels: tuple[str, ...]
    broken: tuple[BrokenSample, ...]

    @property
    def taken(self) -> int:
        """Samples used up, broken ones included."""
        return self.shard.samples + len(self.broken)


@dataclass(frozen=True)
class _Packing:
    """What is packed where, in which order."""

    manifest: Manifest
    folder: Path
    options: PackOptions
    orders: dict[str, tuple[int, ...]]
    fingerprint: str

    @classmethod
    def plan(cls, manifest: Manifest, folder: Path, options: PackOptions) -> _Packing:
        """The order of every split, drawn from the seed, and the fingerprint of it all."""
        orders = {}
        for number, name in enumerate((*SPLITS, ALL)):
            held = [index for index, sample in enumerate(manifest.samples) if (sample.split or ALL) == name]
            if held:
                # By name first, so that the order of rows in a file makes no difference.
                held.sort(key=lambda index: _identity(manifest, manifest.samples[index]))
                shuffled = stream(options.seed, "pack", number).permutation(len(held))
                orders[name] = tuple(held[place] for place in shuffled)
        what = [
            [name, *(_identity(manifest, manifest.samples[index]) for index in order)] for name, order in orders.items()
        ]
        text = json.dumps([manifest.fingerprint, manifest.labels.require(), asdict(options), what], sort_keys=True)
        return cls(manifest, folder, options, orders, hashlib.sha256(text.encode()).hexdigest())

    def finished(self) -> PackIndex:
        """The index that is there already, if it is of the same packing."""
        index = read_index(str(self.folder))
        if index.fingerprint != self.fingerprint:
            raise _occupied(self.folder)
        return index

    def write(self, workers: int, progress: Progress) -> PackIndex:
        """Write what is still missing, the index last."""
        done = self._resume()
        left = {name: self.orders[name][sum(part.taken for part in done[name]) :] for name in self.orders}
        jobs = [self._job(index) for order in left.values() for index in order]
        held = len(self.manifest) - len(jobs)
        broken: list[BrokenSample] = []
        with progress.task("packing", len(self.manifest), "videos", held) as task:
            clips = _in_order(jobs, workers)
            for name, order in left.items():
                writer = _SplitWriter(self, name, clips, task)
                broken += writer.write(order, done[name])
        splits = {name: self._split(parts) for name, parts in done.items() if parts}
        broken = [one for parts in done.values() for part in parts for one in part.broken] + broken
        index = PackIndex(
            str(self.folder),
            self.manifest.source.name,
            self.fingerprint,
            self.manifest.labels,
            self.options,
            splits,
            tuple(broken),
            leaks=self._leaks(),
            ungrouped=sum(sample.group is None for sample in self.manifest.samples),
        )
        if not splits:
            raise DataError(
                f"none of the {len(self.manifest)} videos of {self.manifest.source} can be decoded",
                allowed="one that can, or more",
                next_step="see what is wrong with them: kinema data check",
            )
        _write_json(self.folder / INDEX_NAME, index.to_json())
        shutil.rmtree(self.folder / PARTS_NAME)
        shutil.rmtree(self.folder / _STAGED)
        return read_index(str(self.folder))

    def _leaks(self) -> tuple[str, ...]:
        """What the splits share: readers of the shards see no groups before they have read them all."""
        return tuple(shared_by_parts(self.manifest, [self.orders.get(name, ()) for name in SPLITS]))

    def _resume(self) -> dict[str, list[_Part]]:
        """The finished parts of each split, up to the first that is not whole."""
        note = self.folder / PARTS_NAME / "fingerprint"
        if any(entry.name != _LOCK_NAME for entry in self.folder.iterdir()):
            if not note.exists() or note.read_text(encoding="utf-8") != self.fingerprint:
                raise _occupied(self.folder)
        else:
            with replacing(note) as beside:
                beside.write_text(self.fingerprint, encoding="utf-8")
        shutil.rmtree(self.folder / _STAGED, ignore_errors=True)
        (self.folder / _STAGED).mkdir()
        done: dict[str, list[_Part]] = {}
        for name in self.orders:
            parts = done.setdefault(name, [])
            while (part := self._finished_part(name, len(parts))) is not None:
                parts.append(part)
        return done

    def _finished_part(self, split: str, number: int) -> _Part | None:
        note = self.folder / PARTS_NAME / f"{_shard_name(split, number)}.json"
        if not note.exists():
            return None
        value = json.loads(note.read_text(encoding="utf-8"))
        shard = Shard.from_json(value["shard"])
        path = self.folder / shard.name
        # The note is written after the shard, so only something outside can have changed that since.
        if not path.exists() or path.stat().st_size != shard.size_bytes:
            return None
        return _Part(shard, tuple(value["labels"]), tuple(BrokenSample(**one) for one in value["broken"]))

    def _job(self, index: int) -> EncodeJob:
        sample = self.manifest.samples[index]
        target = self.folder / _STAGED / f"{index}.mp4"
        return EncodeJob(index, sample.path, sample.start_seconds, sample.end_seconds, target, self.options)

    def _split(self, parts: Sequence[_Part]) -> PackedSplit:
        counts = Counter(label for part in parts for label in part.labels)
        classes = tuple(counts[label] for label in self.manifest.labels.require())
        return PackedSplit(tuple(part.shard for part in parts), classes)


class _SplitWriter:
    """Takes clips as they come and fills the shards of one split."""

    def __init__(self, packing: _Packing, split: str, clips: Iterator[EncodedClip], task: Task) -> None:
        self._packing = packing
        self._split = split
        self._clips = clips
        self._task = task
        self._broken: list[BrokenSample] = []

    def write(self, order: Sequence[int], parts: list[_Part]) -> list[BrokenSample]:
        """Add a part for each further shard; returns what was broken after the last one."""
        coming = self._good(len(order))
        number = sum(part.shard.samples for part in parts)
        while (first := next(coming, None)) is not None:
            part = self._write_shard(len(parts), number, first, coming)
            note = {
                "shard": part.shard.to_json(),
                "labels": part.labels,
                "broken": [asdict(one) for one in part.broken],
            }
            _write_json(self._packing.folder / PARTS_NAME / f"{part.shard.name}.json", note)
            parts.append(part)
            number += part.shard.samples
        return self._broken

    def _good(self, count: int) -> Iterator[EncodedClip]:
        """The next `count` clips without the broken ones, which are noted."""
        for _ in range(count):
            clip = next(self._clips)
            sample = self._packing.manifest.samples[clip.position]
            self._task.advance()
            if clip.reason is None:
                yield clip
                continue
            relative = self._packing.manifest.relative(sample.path)
            self._broken.append(BrokenSample(relative, sample.start_seconds, sample.end_seconds, clip.reason))

    def _write_shard(self, shard: int, number: int, first: EncodedClip, coming: Iterator[EncodedClip]) -> _Part:
        """A shard of `first` and as many more clips as it takes to fill it."""
        packing = self._packing
        path = packing.folder / _shard_name(self._split, shard)
        offsets: list[int] = [0]
        labels: list[str] = []
        clip: EncodedClip | None = first
        with replacing(path) as beside:
            with (
                beside.open("wb") as opened,
                tarfile.open(fileobj=opened, mode="w", format=tarfile.USTAR_FORMAT) as tar,
            ):
                while clip is not None:
                    sample = packing.manifest.samples[clip.position]
                    self._add(tar, number + len(labels), clip, sample)
                    offsets.append(opened.tell())
                    labels.append(sample.label)
                    clip = next(coming, None) if offsets[-1] < packing.options.shard_mib * _MIB else None
            sha256, size_bytes = _digest(beside)
        broken, self._broken = tuple(self._broken), []
        return _Part(Shard(path.name, size_bytes, sha256, tuple(offsets)), tuple(labels), broken)

    def _add(self, tar: tarfile.TarFile, number: int, clip: EncodedClip, sample: Sample) -> None:
        staged = self._packing.folder / _STAGED / f"{clip.position}.mp4"
        video = staged.read_bytes()
        facts = {
            "label": sample.label,
            "split": sample.split,
            "group": sample.group,
            "dataset": sample.dataset,
            "path": self._packing.manifest.relative(sample.path),
            "start_seconds": sample.start_seconds,
            "end_seconds": sample.end_seconds,
            "fps": str(clip.fps),
            "frames": clip.frames,
            "width_px": clip.width_px,
            "height_px": clip.height_px,
            "sha256": hashlib.sha256(video).hexdigest(),
        }
        for suffix, content in (("json", json.dumps(facts, ensure_ascii=False).encode()), ("mp4", video)):
            member = tarfile.TarInfo(f"{number:06}.{suffix}")  # no dates, no owners: the same bytes each time
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        staged.unlink()


def _in_order(jobs: Sequence[EncodeJob], workers: int) -> Iterator[EncodedClip]:
    """What becomes of each job, in the order of jobs; clips that are ready early wait on the disk."""
    if workers == 0:
        yield from map(encode, jobs)
        return
    ready: dict[int, EncodedClip] = {}
    coming = read_apart(encode, jobs, workers=workers, died=died)
    for job in jobs:
        while job.position not in ready:
            clip = next(coming)
            ready[clip.position] = clip
        yield ready.pop(job.position)


def _identity(manifest: Manifest, sample: Sample) -> tuple[str, str, str, str, float, float]:
    start, end = sample.start_seconds, sample.end_seconds
    return (
        manifest.relative(sample.path),
        sample.label,
        sample.group or "",
        sample.dataset or "",
        start if start is not None else -1.0,
        end if end is not None else -1.0,
    )


def _shard_name(split: str, number: int) -> str:
    return f"{split}-{number:06}.tar"


def _digest(path: Path) -> tuple[str, int]:
    digest, size_bytes = hashlib.sha256(), 0
    with path.open("rb") as opened:
        while chunk := opened.read(_MIB):
            digest.update(chunk)
            size_bytes += len(chunk)
    return digest.hexdigest(), size_bytes


def _write_json(path: Path, value: object) -> None:
    with replacing(path) as beside:
        beside.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")


def _occupied(folder: Path) -> DataError:
    return DataError(
        f"{folder} holds something else than these samples packed in this way",
        allowed="a folder that is new or empty, or in which the same command was stopped",
        next_step="name another folder, or remove this one",
    )
