"""Which videos of a data set are copies of each other, near duplicates, or show one place.

In two steps, so that it costs less than decoding by far (`docs/results/near-duplicates.md`): all pairs
are compared by the coarse edges of their mean backgrounds, and each video with the 64 that look nearest
by the fine edges of all of its backgrounds. Movement then tells one film from one place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement, pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from kinema.core.progress import Progress, Silent
from kinema.datasets.look import MOTION_STEPS, PERIODS, Look, mirrored_motion
from kinema.datasets.place import CELLS, DIRECTIONS, alike, coarse, mirrored, near

__all__ = ["KINDS", "Alike", "Likeness", "Seen", "compare"]

KINDS = ("copy", "near duplicate", "same background")

# How alike two backgrounds of one place are (`place.alike`); measured, see the page above.
SAME_PLACE = 0.4
# How alike the movement of two encodings of one film is, as a correlation.
SAME_MOTION = 0.7
# What moves less than this many grey levels (root mean square over cells) is noise.
STILL_LEVELS = 0.15
# Where nothing moves in either, a film in two encodings is told by backgrounds this alike.
STILL_PLACE = 0.9

# Each video is compared closely with so many others, those that are nearest by coarse edges, and
# with none that is further than this; of mirrored ones only copies are looked for, which are near.
_NEIGHBOURS, _LEAST_NEAR = 64, 0.25
_MIRRORED_NEIGHBOURS, _LEAST_NEAR_MIRRORED = 4, 0.6
_LEAST_OVERLAP = 8  # instants that two films must share to be compared in motion
_BLOCK = 512  # videos compared with as many others at once
_BATCH = 256  # pairs compared closely at once: 30 MB
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
        kind: `copy` (byte for byte), `near duplicate` (one film, coded, scaled, cut or mirrored differently)
            or `same background` (one place, other movement).
        background: how alike their nearest backgrounds are, 0 to 1 (`place.alike`).
        motion: correlation of their movement at the best shift, -1 to 1; None where it was not compared
            or there is none.
        mirrored: whether the one is the other's mirror image.
    """

    first: int
    second: int
    kind: str
    background: float
    motion: float | None = None
    mirrored: bool = False


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
    progress = progress or Silent()
    looks = [file.look for file in files]
    places = _places(looks)
    found = {(pair.first, pair.second): pair for pair in _same_places(looks, places, progress)}
    for mirror in _mirror_images(looks, places, progress):
        known = found.get((mirror.first, mirror.second))
        if known is None or known.kind != KINDS[1]:
            found[mirror.first, mirror.second] = mirror
    pairs = [Alike(first, second, KINDS[0], 1.0) for first, second in _copies(files)]
    pairs += [pair for pair in found.values() if files[pair.first].sha256 != files[pair.second].sha256]
    pairs.sort(key=lambda pair: (KINDS.index(pair.kind), -pair.background, pair.first, pair.second))
    return Likeness(tuple(pairs), _clusters(len(files), pairs), max(0, len(found) - _MOST_COMPARED))


def _copies(files: Sequence[Seen]) -> Iterator[tuple[int, int]]:
    """Each file with the next of the same content: a chain, as all pairs of many copies tell no more."""
    same: dict[str, list[int]] = {}
    for index, file in enumerate(files):
        if file.sha256:
            same.setdefault(file.sha256, []).append(index)
    for indices in same.values():
        yield from pairwise(indices)


def _places(looks: Sequence[Look | None]) -> torch.Tensor:
    """int8 (N, 3, 8, 16, 16); zeros, like nothing, where there is no look."""
    places = torch.zeros(len(looks), PERIODS, DIRECTIONS, CELLS, CELLS, dtype=torch.int8)
    for index, look in enumerate(looks):
        if look is not None:
            places[index] = torch.from_numpy(look.backgrounds)
    return places


def _same_places(looks: Sequence[Look | None], places: torch.Tensor, progress: Progress) -> list[Alike]:
    """All pairs with a background in common, the movement of the nearest compared."""
    candidates = _candidates(coarse(places), coarse(places), _NEIGHBOURS, _LEAST_NEAR, progress)
    backgrounds = _closely(places, places, candidates, progress)
    rows = np.flatnonzero(backgrounds >= SAME_PLACE)
    nearest = rows[np.argsort(-backgrounds[rows], kind="stable")].tolist()
    pairs = []
    with progress.task("comparing movement", len(nearest), "pairs") as task:
        for number, at in enumerate(nearest):
            first, second = candidates[at].tolist()
            one, other = looks[first], looks[second]
            assert one is not None
            assert other is not None  # else there were no backgrounds to compare
            background = round(float(backgrounds[at]), 3)
            kind, motion = (KINDS[2], None) if number >= _MOST_COMPARED else _kind(one, other, background)
            pairs.append(Alike(first, second, kind, background, motion))
            task.advance()
    return pairs


def _mirror_images(looks: Sequence[Look | None], places: torch.Tensor, progress: Progress) -> Iterator[Alike]:
    """Films that are others mirrored. Their movement must say so: places may be symmetrical."""
    flipped = mirrored(places)
    candidates = _candidates(coarse(flipped), coarse(places), _MIRRORED_NEIGHBOURS, _LEAST_NEAR_MIRRORED, progress)
    backgrounds = _closely(flipped, places, candidates, progress)
    for (first, second), background in zip(candidates.tolist(), backgrounds.tolist(), strict=True):
        one, other = looks[first], looks[second]
        if background < SAME_PLACE or one is None or other is None:
            continue
        motion = _motion_alike(mirrored_motion(one), other)
        straight = _motion_alike(one, other)
        if motion is not None and straight is not None and motion >= max(SAME_MOTION, straight):
            yield Alike(first, second, KINDS[1], round(background, 3), round(motion, 3), mirrored=True)


def _candidates(
    some: torch.Tensor, others: torch.Tensor, neighbours: int, least: float, progress: Progress
) -> NDArray[np.int64]:
    """Pairs (C, 2), the first below the second, of which either is among the nearest of the other.

    Args:
        some: coarse places (N, 8, 8, 8).
        others: the same files; as they are, or mirrored.
        neighbours: how many nearest of each file.
        least: how near they have to be.
        progress: shows how far it is.
    """
    count = len(some)
    held = torch.full((count, neighbours), -2.0)
    names = torch.zeros((count, neighbours), dtype=torch.int64)
    blocks = list(combinations_with_replacement(range(0, count, _BLOCK), 2))

    def keep(at: slice, score: torch.Tensor, begin: int) -> None:
        new = torch.arange(begin, begin + score.shape[1]).expand(score.shape)
        best, picked = torch.cat([held[at], score], dim=1).topk(neighbours, dim=1)
        held[at], names[at] = best, torch.cat([names[at], new], dim=1).gather(1, picked)

    with progress.task("comparing places", len(blocks), "blocks") as task:
        for top, left in blocks:
            rows, columns = slice(top, min(count, top + _BLOCK)), slice(left, min(count, left + _BLOCK))
            score = near(some[rows], others[columns])
            if top == left:
                score = torch.maximum(score, score.T).fill_diagonal_(-2.0)
            else:
                keep(columns, score.T, top)
            keep(rows, score, left)
            task.advance()
    first, place = torch.nonzero(held >= least, as_tuple=True)
    second = names[first, place]
    pairs = torch.stack([torch.minimum(first, second), torch.maximum(first, second)], dim=1)
    return np.unique(pairs.numpy(), axis=0)


def _closely(
    some: torch.Tensor, others: torch.Tensor, pairs: NDArray[np.int64], progress: Progress
) -> NDArray[np.float32]:
    """How alike the places of each pair (C, 2) are, float32 (C,)."""
    found = [np.empty(0, dtype=np.float32)]
    with progress.task("comparing places closely", len(pairs), "pairs") as task:
        for begin in range(0, len(pairs), _BATCH):
            first, second = torch.from_numpy(pairs[begin : begin + _BATCH]).T
            found.append(alike(some[first], others[second]).numpy())
            task.advance(len(first))
    return np.concatenate(found)


def _kind(one: Look, other: Look, background: float) -> tuple[str, float | None]:
    motion = _motion_alike(one, other)
    if motion is None:
        return (KINDS[1] if background >= STILL_PLACE else KINDS[2]), None
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
