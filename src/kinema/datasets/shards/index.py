"""What a packed data set consists of: `index.json`, schema version 1.

    schema       "kinema.pack"
    version      1
    source       name of the folder or CSV file that was packed
    fingerprint  SHA-256 over what was packed, in which order and how
    labels       [class name]; index = class index, as in the manifest
    options      {"shard_mib", "short_side_px", "crf", "keyframe_interval_frames", "seed"}
    splits       {split: {"samples", "classes": {label: samples}, "shards": [{"name", "size_bytes", "sha256",
                 "samples", "offsets"}]}}; samples that the manifest gives no split are in "all"
    leaks        [sentence]: ways in which splits share groups or files; what was tested would have been trained on
    ungrouped    samples whose group the manifest does not name
    broken       [{"path", "start_seconds", "end_seconds", "reason"}]: left out, as they cannot be decoded

A shard is a tar file in the layout of WebDataset: `000012.json` and `000012.mp4` are sample 12 of
its split. `offsets` are the bytes at which its samples begin, and the one at which the last ends.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from kinema.core.errors import DataError, KinemaError, UsageError, nearest
from kinema.core.labels import LabelMap
from kinema.datasets.shards.blocks import BlockReader, Retry
from kinema.video.source import is_url

__all__ = [
    "ALL",
    "INDEX_NAME",
    "PARTS_NAME",
    "BrokenSample",
    "PackIndex",
    "PackOptions",
    "PackedSplit",
    "Shard",
    "is_packed",
    "read_index",
]

INDEX_NAME = "index.json"
PARTS_NAME = ".parts"
"""A folder beside the shards, as long as packing is not finished."""
ALL = "all"

_SCHEMA, _VERSION = "kinema.pack", 1


@dataclass(frozen=True)
class PackOptions:
    """How a data set is packed.

    Attributes:
        shard_mib: a shard is closed once it holds so many MiB.
        short_side_px: videos are scaled down so that their shorter side has this many pixels, an even
            number; smaller ones keep their size.
        crf: x264's constant-quality factor, 0 (lossless) to 51.
        keyframe_interval_frames: most frames from one keyframe to the next: what the reader of one
            clip decodes in vain at most.
        seed: of the order of samples.

    Raises:
        UsageError: a value out of its range.
    """

    shard_mib: float = 256
    short_side_px: int = 128
    crf: int = 23
    keyframe_interval_frames: int = 12
    seed: int = 0

    def __post_init__(self) -> None:
        checks = (
            ("shard_mib", self.shard_mib > 0, "above 0"),
            ("short_side_px", self.short_side_px >= 2 and self.short_side_px % 2 == 0, "an even number of pixels"),
            ("crf", 0 <= self.crf <= 51, "0 to 51"),
            ("keyframe_interval_frames", self.keyframe_interval_frames >= 1, "one frame or more"),
            ("seed", self.seed >= 0, "0 or more"),
        )
        for name, holds, allowed in checks:
            if not holds:
                raise UsageError(f"{name} {getattr(self, name)}", allowed=allowed)


@dataclass(frozen=True)
class Shard:
    """One tar file.

    Attributes:
        name: of the file, beside the index.
        size_bytes: of the file.
        sha256: of its content, in hexadecimal.
        offsets: N + 1 ascending bytes; sample i lies in [offsets[i], offsets[i + 1]).
    """

    name: str
    size_bytes: int
    sha256: str
    offsets: tuple[int, ...] = field(repr=False)

    @property
    def samples(self) -> int:
        """How many there are in it."""
        return len(self.offsets) - 1

    def to_json(self) -> dict[str, Any]:
        """As in the index."""
        return {
            "name": self.name,
            "size_bytes": self.size_bytes,
            "sha256": self.sha256,
            "samples": self.samples,
            "offsets": list(self.offsets),
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Shard:
        """The inverse of `to_json`; ValueError for offsets that do not ascend or fit, or a name with a folder."""
        offsets = tuple(int(offset) for offset in value["offsets"])
        ascending = all(earlier < later for earlier, later in pairwise(offsets))
        if not ascending or len(offsets) != int(value["samples"]) + 1 or offsets[-1] > int(value["size_bytes"]):
            raise ValueError(f"offsets of {value['name']} that do not fit")
        if set(str(value["name"])) & set("/\\"):  # an index from elsewhere names files beside it and nowhere else
            raise ValueError(f"a shard in another folder, {value['name']}")
        return cls(str(value["name"]), int(value["size_bytes"]), str(value["sha256"]), offsets)


@dataclass(frozen=True)
class PackedSplit:
    """One split's shards.

    Attributes:
        shards: in order of their names.
        classes: samples of each class, in index order.
    """

    shards: tuple[Shard, ...]
    classes: tuple[int, ...]

    @property
    def samples(self) -> int:
        """How many there are."""
        return sum(shard.samples for shard in self.shards)


@dataclass(frozen=True)
class BrokenSample:
    """A sample that was left out.

    Attributes:
        path: of its video, from the manifest's folder on.
        start_seconds: of the segment; None: the beginning.
        end_seconds: of the segment, exclusive; None: the end.
        reason: why it cannot be decoded.
    """

    path: str
    start_seconds: float | None
    end_seconds: float | None
    reason: str


@dataclass(frozen=True, repr=False)
class PackIndex:
    """A packed data set.

    Attributes:
        address: path or URL of the folder that holds it.
        source: name of what was packed.
        fingerprint: SHA-256 over what was packed and how; equal fingerprints, equal shards.
        labels: class names, as in the manifest.
        options: how it was packed.
        splits: `train`, `val`, `test` or `all`, as far as there are samples.
        broken: what was left out.
        leaks: a sentence for each way in which two splits share groups or files.
        ungrouped: samples whose group the manifest does not name.
        sha256: of the bytes of `index.json`, in hexadecimal: says what exactly is read. Empty before it is written.
    """

    address: str
    source: str
    fingerprint: str
    labels: LabelMap
    options: PackOptions
    splits: dict[str, PackedSplit]
    broken: tuple[BrokenSample, ...] = ()
    leaks: tuple[str, ...] = ()
    ungrouped: int = 0
    sha256: str = field(default="", compare=False)

    def split(self, name: str) -> PackedSplit:
        """The shards of split `name`.

        Raises:
            DataError: there are none.
        """
        if name not in self.splits:
            raise DataError(
                f"no split '{name}' in {self.address}{nearest(name, self.splits)}", allowed=", ".join(self.splits)
            )
        return self.splits[name]

    @property
    def size_bytes(self) -> int:
        """Of all shards."""
        return sum(shard.size_bytes for split in self.splits.values() for shard in split.shards)

    def to_json(self) -> dict[str, Any]:
        """The documented form (see the module)."""
        names = self.labels.require()
        return {
            "schema": _SCHEMA,
            "version": _VERSION,
            "source": self.source,
            "fingerprint": self.fingerprint,
            "labels": list(names),
            "options": asdict(self.options),
            "splits": {
                name: {
                    "samples": split.samples,
                    "classes": dict(zip(names, split.classes, strict=True)),
                    "shards": [shard.to_json() for shard in split.shards],
                }
                for name, split in self.splits.items()
            },
            "leaks": list(self.leaks),
            "ungrouped": self.ungrouped,
            "broken": [asdict(one) for one in self.broken],
        }

    @classmethod
    def from_json(cls, value: dict[str, Any], address: str, *, sha256: str = "") -> PackIndex:
        """The inverse of `to_json`; KeyError, TypeError or ValueError where it is not that form."""
        if (value["schema"], value["version"]) != (_SCHEMA, _VERSION):
            raise ValueError(f"schema {value['schema']} version {value['version']}")
        labels = LabelMap.of(value["labels"])
        splits = {
            str(name): PackedSplit(
                tuple(Shard.from_json(shard) for shard in split["shards"]),
                tuple(int(split["classes"][label]) for label in labels.require()),
            )
            for name, split in value["splits"].items()
        }
        broken = tuple(BrokenSample(**one) for one in value["broken"])
        options = PackOptions(**value["options"])
        return cls(
            address,
            str(value["source"]),
            str(value["fingerprint"]),
            labels,
            options,
            splits,
            broken,
            leaks=tuple(map(str, value["leaks"])),
            ungrouped=int(value["ungrouped"]),
            sha256=sha256,
        )

    def __repr__(self) -> str:
        held = ", ".join(f"{split.samples} {name}" for name, split in self.splits.items())
        return f"PackIndex({self.address}: {held})"


def is_packed(data: str | Path) -> bool:
    """Whether `data` names a packed data set, finished or not: a URL, an `index.json`, or a folder of shards."""
    given = str(data)
    if is_url(given):
        return True
    entries = _entries(given)
    if Path(given).name == INDEX_NAME:
        return not entries
    return PARTS_NAME in entries or (INDEX_NAME in entries and any(name.endswith(".tar") for name in entries))


def read_index(address: str, *, retry: Retry | None = None) -> PackIndex:
    """The index of the packed data set at `address`.

    Args:
        address: path or URL of the folder, or of the `index.json` in it.
        retry: how often a failed read is tried again; as `Retry()` says unless given.

    Raises:
        DataError: there is none, it is no index, or packing is not finished.
        UsageError: a URL of a kind that cannot be read here.
    """
    folder = address.removesuffix(INDEX_NAME).rstrip("/\\") or ("." if address == INDEX_NAME else "/")
    if not is_url(folder) and PARTS_NAME in (entries := _entries(folder)) and INDEX_NAME not in entries:
        raise DataError(
            f"{folder} is not packed to its end",
            allowed=f"a packed data set with its {INDEX_NAME}, which is written last",
            next_step="run the same `kinema data pack` again: it goes on where it stopped",
        )
    text = BlockReader(folder, retry or Retry()).read_whole(INDEX_NAME)
    try:
        return PackIndex.from_json(json.loads(text), folder, sha256=hashlib.sha256(text).hexdigest())
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError, KinemaError) as error:
        raise DataError(
            f"{folder}/{INDEX_NAME} is no index of shards: {_first_line(error)}",
            allowed=f"what `kinema data pack` writes, {_SCHEMA} version {_VERSION}",
            next_step="pack the data set again",
        ) from error


def _entries(folder: str) -> set[str]:
    """Names in a folder; none where it is none, cannot be one, or may not be entered."""
    try:
        return {entry.name for entry in Path(folder).iterdir()}
    except (OSError, ValueError):
        return set()


def _first_line(error: Exception) -> str:
    lines: Sequence[str] = str(error).splitlines() or [type(error).__name__]
    return f"no {lines[0]}" if isinstance(error, KeyError) else lines[0]
