"""Files that show the same and stand on two sides of a split, or in two groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kinema.datasets.likeness import KINDS, Alike, Likeness
from kinema.datasets.manifest import Manifest

__all__ = ["Crossing", "find_crossings"]


@dataclass(frozen=True)
class Crossing:
    """Two files that are alike, where a manifest tells them apart.

    Attributes:
        pair: the files, as indices into the paths that were compared, and how they are alike.
        splits: whether they stand in different splits; False where one has none.
        groups: whether they stand in different groups; likewise.
    """

    pair: Alike
    splits: bool
    groups: bool

    @property
    def leaks(self) -> bool:
        """Whether one film stands in two splits: a score on it is worth nothing."""
        return self.splits and self.pair.kind != KINDS[-1]


def find_crossings(manifest: Manifest, paths: Sequence[Path], likeness: Likeness) -> tuple[Crossing, ...]:
    """The pairs of `likeness` that `manifest` puts into different splits or groups, in the same order.

    Args:
        manifest: with splits and groups, as far as it has any.
        paths: of the files that were compared, in that order.
        likeness: what comparing them has shown.
    """
    splits: dict[Path, set[str]] = {path: set() for path in paths}
    groups: dict[Path, set[str]] = {path: set() for path in paths}
    for sample in manifest.samples:
        if sample.split is not None:
            splits[sample.path].add(sample.split)
        if sample.group is not None:
            groups[sample.path].add(sample.group)
    found = (
        Crossing(
            pair,
            splits=_apart(splits[paths[pair.first]], splits[paths[pair.second]]),
            groups=_apart(groups[paths[pair.first]], groups[paths[pair.second]]),
        )
        for pair in likeness.pairs
    )
    return tuple(crossing for crossing in found if crossing.splits or crossing.groups)


def _apart(some: set[str], others: set[str]) -> bool:
    """Whether anything of the one is not where all of the other is; segments of one file may be in two splits."""
    return bool(some) and bool(others) and len(some | others) > 1
