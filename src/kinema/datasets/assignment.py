"""Splits written down: the manifest of each split, and groups made of what videos look like."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from kinema.core.errors import DataError, UsageError, nearest
from kinema.core.progress import Progress, Silent
from kinema.datasets.inspection import inspect_files
from kinema.datasets.likeness import Seen, compare
from kinema.datasets.manifest import Manifest
from kinema.datasets.sample import SPLITS, listing
from kinema.datasets.splits import Split, SplitRule, make_splits

__all__ = ["GROUP_BY", "Assignment", "PartCount", "assign", "fold_path"]

GROUP_BY = ("column", "clusters")

_TORN_BY = "random"  # the one rule that knows nothing of groups


@dataclass(frozen=True)
class PartCount:
    """How many samples of a class are in each part of a split."""

    label: str
    train: int
    val: int
    test: int


@dataclass(frozen=True, repr=False)
class Assignment:
    """A split, as a manifest that says it.

    Attributes:
        split: the rule, the parts, what is to be said of them.
        manifest: the samples with their part under `split`, and their group as it was split by.
        counts: for each class, in index order.
        notes: sentences beside the split's own warnings.
    """

    split: Split
    manifest: Manifest
    counts: tuple[PartCount, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The split's own form, with the counts of each class and the notes."""
        counts = {count.label: {name: getattr(count, name) for name in SPLITS} for count in self.counts}
        return self.split.to_json() | {"classes": counts, "notes": list(self.notes)}

    def __repr__(self) -> str:
        return f"Assignment({self.split!r})"


def assign(
    manifest: Manifest,
    rule: SplitRule,
    *,
    group_by: str = "column",
    workers: int | None = None,
    progress: Progress | None = None,
) -> tuple[Assignment, ...]:
    """Split `manifest` by `rule`: one assignment, or one for each of K folds.

    Args:
        manifest: the data set.
        rule: how it is split.
        group_by: `column`: by the manifest's groups. `clusters`: every video is decoded, and files that
            show one film or one place (`kinema.datasets.likeness`) become a group, together with what
            the manifest's own groups hold.
        workers: processes that decode (`inspect_files`).
        progress: shows how far it is.

    Raises:
        UsageError: an unknown `group_by`; or clusters for a rule that does not heed groups.
        DataError: `make_splits` refuses; or the split is at random, and files that show one film or one
            place would stand in two parts, and `rule.allow_leak` is not set.
    """
    if group_by not in GROUP_BY:
        raise UsageError(f"groups by '{group_by}'{nearest(group_by, GROUP_BY)}", allowed=", ".join(GROUP_BY))
    progress = progress or Silent()
    notes: list[str] = []
    if group_by == "clusters":
        if rule.by not in {"auto", "group"}:
            raise UsageError(
                f"groups by clusters, and a split by {rule.by}",
                allowed="a split by group, where groups are asked for",
                next_step="leave out --split-by",
            )
        clusters = _clusters(manifest, workers, progress)
        manifest = _grouped(manifest, clusters)
        notes.append(
            f"{len(clusters)} videos look like {len(set(clusters.values()))} different places; each is a group. "
            "A place seen from another side, or by a moving camera, may count as two"
        )
        rule = replace(rule, by="group")
    splits = make_splits(manifest, rule)
    if splits[0].rule.by == _TORN_BY:
        notes += _torn(manifest, splits, _clusters(manifest, workers, progress), allow_leak=rule.allow_leak)
    return tuple(_assigned(manifest, split, notes) for split in splits)


def fold_path(target: Path, fold: int | None) -> Path:
    """Where the manifest of a fold goes when `target` was asked for: `splits.csv` as `splits-fold1.csv`."""
    return target if fold is None else target.with_name(f"{target.stem}-fold{fold + 1}{target.suffix}")


def _clusters(manifest: Manifest, workers: int | None, progress: Progress) -> dict[Path, int]:
    """The cluster of each file, by decoding all of them; a file that does not decode is like no other."""
    paths = list(dict.fromkeys(sample.path for sample in manifest.samples))
    files = inspect_files(paths, workers=workers, progress=progress)
    likeness = compare([Seen(file.sha256, file.look) for file in files], progress)
    return dict(zip(paths, likeness.clusters, strict=True))


def _grouped(manifest: Manifest, clusters: dict[Path, int]) -> Manifest:
    """`manifest` with a group for every sample: what shares a cluster or a group, or a chain of both, is one."""
    samples = manifest.samples
    units = {unit: number for number, unit in enumerate(dict.fromkeys(manifest.units))}
    links = [
        (clusters[sample.path], len(samples) + units[unit])
        for sample, unit in zip(samples, manifest.units, strict=True)
    ]
    firsts, seconds = np.asarray(links, dtype=np.int64).T
    size = len(samples) + len(units)
    graph = coo_array((np.ones(len(links)), (firsts, seconds)), shape=(size, size))
    component = connected_components(graph, directed=False)[1]
    members: dict[int, list[int]] = {}
    for index, sample in enumerate(samples):
        members.setdefault(int(component[clusters[sample.path]]), []).append(index)
    taken = {sample.group for sample in samples}
    fresh = (name for name in (f"place-{number:04}" for number in count(1)) if name not in taken)
    names: dict[int, str] = {}
    for own in members.values():
        told = sorted({group for index in own if (group := samples[index].group) is not None})
        names.update(dict.fromkeys(own, told[0] if told else next(fresh)))
    return replace(manifest, samples=tuple(replace(one, group=names[index]) for index, one in enumerate(samples)))


def _torn(manifest: Manifest, splits: Sequence[Split], clusters: dict[Path, int], *, allow_leak: bool) -> list[str]:
    """Refuse splits that part a cluster; where that is allowed, the sentence that says so."""
    files: dict[int, list[Path]] = {}
    for path, cluster in clusters.items():
        files.setdefault(cluster, []).append(path)
    torn: dict[int, None] = {}
    for split in splits:
        part_of = {manifest.samples[index].path: name for name in SPLITS for index in getattr(split, name)}
        torn.update(dict.fromkeys(key for key, own in files.items() if len({part_of[path] for path in own}) > 1))
    if not torn:
        return []
    words = f"{len(torn)} places with several videos have some of them in two parts"
    if allow_leak:
        return [f"{words}: scores will be too good"]
    examples = [", ".join(manifest.relative(path) for path in files[key][:4]) for key in torn]
    raise DataError(
        f"this split at random would test on what was trained: {words}:\n{listing(examples)}",
        allowed="splits that keep videos of one film or one place together",
        next_step="use --group-by clusters, or a manifest with a group column; --allow-leak goes on all the same",
    )


def _assigned(manifest: Manifest, split: Split, notes: Sequence[str]) -> Assignment:
    part_of = {index: name for name in SPLITS for index in getattr(split, name)}
    samples = tuple(replace(sample, split=part_of[index]) for index, sample in enumerate(manifest.samples))
    told = replace(manifest, samples=samples)
    held = Counter((sample.label, sample.split) for sample in samples)
    counts = tuple(
        PartCount(label, **{name: held[label, name] for name in SPLITS}) for label in manifest.labels.require()
    )
    return Assignment(split, told, counts, tuple(notes))
