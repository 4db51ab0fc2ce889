"""A labelled data set as one table, from a CSV or Parquet file or a folder of class folders.

Class indices follow the sorted label names, so that they do not depend on the order of rows; or
the order that a file beside the table gives (`kinema.datasets.classes`). Names are kept in
Unicode's composed form (NFC), because some systems store file names decomposed, and one label must
be one label on all of them.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any
from unicodedata import normalize

from kinema.core.errors import DataError, MediaError, nearest
from kinema.core.labels import LabelMap
from kinema.datasets.absolute import are_absolute_paths_allowed
from kinema.datasets.classes import read_classes, write_classes
from kinema.datasets.content import content_size_bytes
from kinema.datasets.folder import read_folder
from kinema.datasets.parquet import PARQUET_SUFFIX, read_parquet, require_pyarrow, write_parquet
from kinema.datasets.sample import Sample, listing
from kinema.datasets.shards.index import is_packed
from kinema.datasets.table import read_table, write_table
from kinema.video.flow_record import is_flow, read_record

__all__ = ["Manifest", "Sample", "read_manifest"]

_TABLES = {".csv": read_table, PARQUET_SUFFIX: read_parquet}


@dataclass(frozen=True, repr=False)
class Manifest:
    """A labelled data set.

    Attributes:
        source: absolute path of the folder or table it was read from. Relative paths begin at
            this folder, or at the folder of this file.
        samples: one a row, in the order of the file; sorted by path when read from a folder.
        labels: all class names of the data set; index = class index. Sorted, unless the table
            came with an order of its own, which may name classes that no sample has.
        ignored: what lies in the folder and is no sample: files that are not videos, and folders
            that hold no video. Hidden files are not looked at. Empty for a table.
    """

    source: Path
    samples: tuple[Sample, ...]
    labels: LabelMap
    ignored: tuple[Path, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        unnamed = sorted({sample.label for sample in self.samples} - set(self.labels.require()))
        if unnamed:
            raise DataError(
                f"samples of classes that the label map lacks: {', '.join(unnamed)}",
                allowed=", ".join(self.labels.require()),
            )

    @classmethod
    def of(
        cls, source: Path, samples: Iterable[Sample], *, ignored: Iterable[Path] = (), labels: LabelMap | None = None
    ) -> Manifest:
        """A manifest of at least one sample; without `labels`, its map is the sorted names that the samples bear."""
        rows = tuple(samples)
        return cls(source, rows, labels or _sorted_labels(rows), tuple(ignored))

    @cached_property
    def root(self) -> Path:
        """The folder that relative paths begin at."""
        return self.source if self.source.is_dir() else self.source.parent

    @cached_property
    def _below(self) -> _Below:
        return _Below(self.root)

    @cached_property
    def targets(self) -> tuple[int, ...]:
        """Class index of every sample."""
        indices = {name: index for index, name in enumerate(self.labels.require())}
        return tuple(indices[sample.label] for sample in self.samples)

    @cached_property
    def units(self) -> tuple[str, ...]:
        """What every sample must stay together with: its group, or its file where it has none.

        Written `group:NAME` or `file:RELATIVE-PATH`.
        """
        return tuple(
            f"file:{self.relative(sample.path)}" if sample.group is None else f"group:{sample.group}"
            for sample in self.samples
        )

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256, in hexadecimal, over every sample's relative path, label, times and file size.

        The same on every machine and in every order of rows. No content is read: a file altered
        without changing its size goes unnoticed. Of stored flow, what its record says counts in place of
        the size: how it was computed, and from which video.

        Raises:
            DataError: a file is gone.
        """
        rows = sorted(
            json.dumps([self.relative(one.path), one.label, one.start_seconds, one.end_seconds, _extent(one.path)])
            for one in self.samples
        )
        return hashlib.sha256("\n".join(rows).encode()).hexdigest()

    def relative(self, path: Path) -> str:
        """`path` from the root on, with `/`, composed (NFC); in full where it lies elsewhere."""
        return normalize("NFC", self._below.name(path))

    def take(self, indices: Iterable[int]) -> Manifest:
        """The samples at `indices`, in that order, under the same label map."""
        return replace(self, samples=tuple(self.samples[index] for index in indices))

    def filter(self, split: str) -> Manifest:
        """The samples that the manifest itself puts into `split`, under the same label map.

        Raises:
            DataError: there is none.
        """
        kept = [index for index, sample in enumerate(self.samples) if sample.split == split]
        if not kept:
            present = sorted({sample.split for sample in self.samples if sample.split})
            raise DataError(
                f"no sample of {self.source} is in split '{split}'{nearest(split, present)}",
                allowed=", ".join(present) or "manifests with a split column",
            )
        return self.take(kept)

    def write(self, path: Path | str, *, allow_absolute: bool | None = None) -> None:
        """Write a table, whole or not at all, with paths relative to its folder: Parquet as `.parquet`, else CSV.

        Where classes are not in the order of their sorted names, the file that says so goes beside.

        Raises:
            DataError: a video lies outside that folder, and `allow_absolute` is not set; the name of one is no
                valid text; the folder cannot be written to; or a table of the same name in the other form has
                another order of classes.
            UsageError: Parquet, and pyarrow is not installed.
        """
        target = _absolute(path)
        below = _Below(target.parent)
        outside = [sample.path for sample in self.samples if not below.holds(sample.path)]
        if outside and not are_absolute_paths_allowed(asked=allow_absolute):
            raise DataError(
                f"{len(outside)} videos lie outside {target.parent}, such as {outside[0]}",
                allowed="a manifest in a folder that holds all its videos",
                next_step=f"write it to {self.root / target.name}",
            )
        names = [below.name(sample.path) for sample in self.samples]
        _require_text(target, names)
        usual = self.labels == _sorted_labels(self.samples) and not self.labels.parts
        order = None if usual else self.labels
        in_parquet = target.suffix.lower() == PARQUET_SUFFIX
        if in_parquet:
            require_pyarrow()
        _require_same_order(target, order)
        write = write_parquet if in_parquet else write_table
        if order is not None:
            write_classes(target, order)  # first: a table without its order is in another one
        write(target, self.samples, names)
        if order is None:
            write_classes(target, None)  # last: it is the order of the table that was there before

    def __len__(self) -> int:
        return len(self.samples)

    def __repr__(self) -> str:
        return f"Manifest({self.source.name}: {len(self)} samples, {self.labels!r})"


def read_manifest(path: Path | str, *, allow_absolute: bool | None = None, min_classes: int = 2) -> Manifest:
    """Read a CSV file (`kinema.datasets.table`), a Parquet file (`.parquet`) or a folder (`.folder`) of class folders.

    Args:
        path: the file or folder.
        allow_absolute: accept videos outside the table's folder. Fingerprints then hold their
            full paths, and are good for one machine only. None: inside a block of `absolute_paths`.
        min_classes: fewest different labels; 1 where a model brings its classes along.

    Raises:
        DataError: nothing is there, a row cannot be used (all of them are named), a video does not
            exist, there is no video at all, or there are too few classes.
        UsageError: a Parquet file, and pyarrow is not installed.
    """
    if is_packed(path):
        raise DataError(
            f"{path} is a packed data set, or nothing that this command reads",
            allowed="a folder of class folders, or a manifest",
            next_step="name what it was packed from; kinema train, evaluate and predict read shards themselves",
        )
    source = _absolute(path)
    ignored: list[Path] = []
    labels: LabelMap | None = None
    try:
        if source.is_dir():
            samples, ignored = read_folder(source)
        elif source.suffix.lower() in _TABLES and source.exists():
            samples = _TABLES[source.suffix.lower()](
                source, allow_absolute=are_absolute_paths_allowed(asked=allow_absolute)
            )
            labels = read_classes(source)
        else:
            raise _no_manifest(Path(path), source)
    except OSError as error:
        raise DataError(f"cannot read {error.filename or source}: {error.strerror or error}") from error
    manifest = Manifest.of(source, samples, ignored=ignored, labels=labels)
    if len({sample.label for sample in samples}) < min_classes:
        raise DataError(
            f"all {len(manifest)} videos of {path} are labelled '{samples[0].label}'",
            allowed=f"{min_classes} classes or more",
            next_step="add videos of a second class, such as ordinary scenes in which it does not happen",
        )
    return manifest


def _require_text(target: Path, names: Sequence[str]) -> None:
    """Refuse names that a file in UTF-8 cannot hold, so that it would lead to no video."""
    odd = [name.encode("utf-8", "backslashreplace").decode() for name in names if not _is_text(name)]
    if odd:
        raise DataError(
            f"{len(odd)} videos in {target.name} would have names that are not UTF-8:\n{listing(odd)}",
            allowed="file and folder names in UTF-8",
            next_step="rename them",
        )


def _is_text(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:  # a lone surrogate, for a byte that is no text
        return False
    return True


def _require_same_order(target: Path, order: LabelMap | None) -> None:
    """`a.csv` and `a.parquet` share `a.classes.json`: to write one must not give the other's classes other indices."""
    others = [target.with_suffix(suffix) for suffix in _TABLES if suffix != target.suffix.lower()]
    held = [other for other in others if other.exists()]
    if held and read_classes(target) != order:
        raise DataError(
            f"{held[0]} lies beside {target.name}, and has its classes in another order",
            allowed="one order of classes for both forms of a manifest",
            next_step="choose another name with --out, or remove the older file",
        )


def _sorted_labels(samples: Iterable[Sample]) -> LabelMap:
    return LabelMap.of(sorted({sample.label for sample in samples}))


def _no_manifest(given: Path, source: Path) -> DataError:
    names = [entry.name for entry in source.parent.iterdir()] if source.parent.is_dir() else []
    what = (
        f"{given} is no CSV or Parquet file" if source.exists() else f"there is no {given}{nearest(given.name, names)}"
    )
    return DataError(
        what,
        allowed="a folder of class folders, or a .csv or .parquet file with the columns path and label",
        next_step="see docs/concepts/data.md for both layouts",
    )


def _absolute(path: Path | str) -> Path:
    # Without following links: what lies beside a linked manifest is what it names.
    return Path(os.path.normpath(Path(path).absolute()))


class _Below:
    """Names of absolute paths as seen from a folder, told by their texts: pathlib takes ten times as long."""

    def __init__(self, folder: Path) -> None:
        self._start = folder.as_posix().rstrip("/") + "/"

    def holds(self, path: Path) -> bool:
        """Whether `path` lies in the folder, or below."""
        return path.as_posix().startswith(self._start)

    def name(self, path: Path) -> str:
        """`path` from the folder on; in full where it lies elsewhere."""
        return path.as_posix().removeprefix(self._start)


def _extent(path: Path) -> int | dict[str, Any]:
    """What stands for the content of `path`: its size, or of stored flow the record without the place of its video."""
    if is_flow(path):
        try:
            record = read_record(path)
        except MediaError:
            return _size_bytes(path)  # told with all broken files, when it is read
        return replace(record, source=replace(record.source, path=None)).to_json()
    return _size_bytes(path)


def _size_bytes(path: Path) -> int:
    try:
        status = path.stat()
        return status.st_size if stat.S_ISREG(status.st_mode) else content_size_bytes(path)
    except (OSError, MediaError) as error:
        reason = error.reason if isinstance(error, MediaError) else error.strerror
        raise DataError(f"cannot read {path}: {reason}", next_step="put it back, or remove its row") from error
