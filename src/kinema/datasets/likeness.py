"""Which videos of a data set are copies of each other, near duplicates, or show one place.

Every pair of videos is compared, by matrix products over the bits of their backgrounds: exact, and
cheaper than decoding by far (`docs/results/near-duplicates.md`). Buckets would not help: at the
distance that tells one place from two, they would have to be so small that all pairs meet anyway.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement, pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from kinema.core.progress import Progress, Silent
from kinema.datasets.look import BITS, MOTION_STEPS, PERIODS, Look

__all__ = ["KINDS", "Alike", "Likeness", "Seen", "compare"]

KINDS = ("copy", "near duplicate", "same background")

# Bits of 128 in which two backgrounds of one place may differ; measured, see the page above.
SAME_PLACE_BITS = 30
# How alike the movement of two encodings of one film is, as a correlation.
SAME_MOTION = 0.7
# What moves less than this many grey levels (root mean square over cells) is noise.
STILL_LEVELS = 0.15
# Where nothing moves in either, a film in two encodings is told by backgrounds this near.
STILL_BITS = 6

_LEAST_OVERLAP = 8  # instants that two films must share to be compared in motion
_BLOCK = 512  # videos compared with as many others at once: 9 MB of distances
_MOST_COMPARED = 200_000  # pairs of one place whose movement is compared; the nearest


@dataclass(frozen=True)
class Seen:
    """One file, as far as comparing goes.

    Attributes:
        sha256: of its content.
        look: what it looks like; None where nothing decodes.
    """

    sha256: str
    look: Look | None


@dataclass(frozen=True)
class Alike:
    """Two files that show the same.

    Attributes:
        first: index of a file.
        second: index of another, larger.
        kind: `copy` (byte for byte), `near duplicate` (one film, coded, scaled or cut differently) or
            `same background` (one place, other movement).
        distance_bits: bits of 128 in which their nearest backgrounds differ.
        motion: correlation of their movement at the best shift, -1 to 1; None where it was not compared
            or there is none.
    """

    first: int
    second: int
    kind: str
    distance_bits: int
    motion: float | None = None


@dataclass(frozen=True, repr=False)
class Likeness:
    """What comparing all files has shown.

    Attributes:
        pairs: all that are alike, the strongest kind first, then the nearest.
        clusters: for each file the number of the cluster it is in, from 0 in order of first files;
            files linked by a chain of pairs are one cluster, a file like no other is one by itself.
        uncompared: pairs of one place, beyond the nearest 200,000, whose movement was not compared.
    """

    pairs: tuple[Alike, ...]
    clusters: tuple[int, ...]
    uncompared: int = 0

    def of_kind(self, kind: str) -> tuple[Alike, ...]:
        """The pairs of one of `KINDS`."""
        return tuple(pair for pair in self.pairs if pair.kind == kind)

    def __repr__(self) -> str:
        counts = ", ".join(f"{len(self.of_kind(kind))} {kind}" for kind in KINDS)
        return f"Likeness({len(self.clusters)} files in {len(set(self.clusters))} clusters; pairs: {counts})"


def compare(files: Sequence[Seen], progress: Progress | None = None) -> Likeness:
    """Compare every file with every other; `progress` shows how far it is."""
    firsts, seconds, distances = _same_places([file.look for file in files], progress or Silent())
    nearest = np.argsort(distances, kind="stable")
    pairs = [Alike(first, second, KINDS[0], 0) for first, second in _copies(files)]
    for number, at in enumerate(nearest.tolist()):
        first, second, distance = int(firsts[at]), int(seconds[at]), int(distances[at])
        if files[first].sha256 == files[second].sha256:
            continue
        one, other = files[first].look, files[second].look
        assert one is not None
        assert other is not None  # else there were no bits to compare
        kind, motion = (KINDS[2], None) if number >= _MOST_COMPARED else _kind(one, other, distance)
        pairs.append(Alike(first, second, kind, distance, motion))
    pairs.sort(key=lambda pair: (KINDS.index(pair.kind), pair.distance_bits, pair.first, pair.second))
    return Likeness(tuple(pairs), _clusters(len(files), pairs), max(0, len(distances) - _MOST_COMPARED))


def _copies(files: Sequence[Seen]) -> Iterator[tuple[int, int]]:
    """Each file with the next of the same content: a chain, as all pairs of many copies tell no more."""
    same: dict[str, list[int]] = {}
    for index, file in enumerate(files):
        if file.sha256:
            same.setdefault(file.sha256, []).append(index)
    for indices in same.values():
        yield from pairwise(indices)


def _same_places(
    looks: Sequence[Look | None], progress: Progress
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    """First and second index, and distance in bits, of all pairs with a background in common."""
    signs = np.zeros((len(looks), PERIODS, BITS), dtype=np.float32)
    for index, look in enumerate(looks):
        if look is not None:
            # A flat picture stays at zeros, half as far from everything as can be.
            told = look.backgrounds.any(axis=1, keepdims=True)
            signs[index] = (2.0 * look.backgrounds - 1.0) * told
    found: list[NDArray[np.int32]] = [np.empty((0, 3), dtype=np.int32)]
    blocks = list(combinations_with_replacement(range(0, len(looks), _BLOCK), 2))
    with progress.task("comparing", len(blocks), "blocks") as task:
        for top, left in blocks:
            found.append(_near(signs[top : top + _BLOCK], signs[left : left + _BLOCK], top, left))
            task.advance()
    rows = np.concatenate(found)
    return rows[:, 0], rows[:, 1], rows[:, 2]


def _near(some: NDArray[np.float32], others: NDArray[np.float32], top: int, left: int) -> NDArray[np.int32]:
    """int32 (P, 3): first, second, distance of the near pairs between two blocks (N, 3, 128) and (M, 3, 128)."""
    alike = some.reshape(-1, BITS) @ others.reshape(-1, BITS).T
    hits = np.flatnonzero(alike >= BITS - 2 * SAME_PLACE_BITS)  # few, so that all else is cheap
    row, column = np.divmod(hits, alike.shape[1])
    first, second = row // PERIODS + top, column // PERIODS + left
    distance = np.rint((BITS - alike.reshape(-1)[hits]) / 2)
    rows = np.stack([first, second, distance], axis=1).astype(np.int32)[first < second]
    # Two videos may meet in several of their periods: the nearest counts.
    rows = rows[np.lexsort(rows.T[::-1])]
    fresh = np.ones(len(rows), dtype=np.bool_)
    fresh[1:] = (rows[1:, :2] != rows[:-1, :2]).any(axis=1)
    return rows[fresh]


def _kind(one: Look, other: Look, distance_bits: int) -> tuple[str, float | None]:
    motion = _motion_alike(one, other)
    if motion is None:
        return (KINDS[1] if distance_bits <= STILL_BITS else KINDS[2]), None
    return (KINDS[1] if motion >= SAME_MOTION else KINDS[2]), round(motion, 3)


def _motion_alike(one: Look, other: Look) -> float | None:
    """The best correlation of two movements over all shifts; None where nothing moves in either."""
    step = max(one.step_seconds, other.step_seconds)
    first, second = (
        look.motion[:: round(step / look.step_seconds)].reshape(-1, look.motion[0].size).astype(np.float64)
        / MOTION_STEPS
        for look in (one, other)
    )
    if max(np.sqrt((moved**2).mean()) for moved in (first, second)) < STILL_LEVELS:
        return None
    products = first @ second.T
    energies = [np.concatenate([[0.0], np.cumsum((moved**2).sum(axis=1))]) for moved in (first, second)]
    shortest = min(len(first), len(second))
    least = min(shortest, max(_LEAST_OVERLAP, shortest // 2))
    floor = STILL_LEVELS**2 * first.shape[1]
    best = -1.0
    for shift in range(least - len(first), len(second) - least + 1):
        begin, end = max(0, -shift), min(len(first), len(second) - shift)
        power = [energies[0][end] - energies[0][begin], energies[1][end + shift] - energies[1][begin + shift]]
        if min(power) > floor * (end - begin):
            best = max(best, float(np.trace(products, shift)) / float(np.sqrt(power[0] * power[1])))
    return best


def _clusters(count: int, pairs: Sequence[Alike]) -> tuple[int, ...]:
    links = np.asarray([(pair.first, pair.second) for pair in pairs], dtype=np.int64).reshape(-1, 2)
    graph = coo_array((np.ones(len(links)), (links[:, 0], links[:, 1])), shape=(count, count))
    names = connected_components(graph, directed=False)[1] if count else []
    numbers: dict[int, int] = {}
    return tuple(numbers.setdefault(int(name), len(numbers)) for name in names)
