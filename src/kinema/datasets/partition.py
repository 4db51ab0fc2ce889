"""Dealing groups of labelled samples out to parts of given shares, as evenly as may be. Pure arithmetic.

scikit-learn's StratifiedGroupKFold makes equal folds only, and its result may change with its
version. A split that travels in a weights file has to come out the same wherever it is made again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["deal"]

# What a class missing from a part costs: more than any unevenness of numbers can.
_MISSING = 1e6
# Differences below this many decimals are ties, whatever order a processor adds numbers in.
_DECIMALS = 6
_ROUNDS = 20
# Among more kinds of units than this, dealing and moving leave nothing worth the time of swaps.
_SWAPPED_KINDS = 500


def deal(units: Sequence[str], targets: Sequence[int], shares: Sequence[float], *, seed: int) -> NDArray[np.int64]:
    """The part that each sample goes to, so that samples of one unit stay together.

    Every part comes as near as greedy dealing and single moves and swaps of units can bring it to
    its share of all samples and of each class, measured by chi-square; above that, no class is
    missing from a part if it can be helped. The result depends on which samples bear which
    unit and class and on the seed, not on their order.

    Args:
        units: N names.
        targets: N class indices.
        shares: P numbers above 0 that sum to 1.
        seed: which of the equally good ways.

    Returns:
        int64 (N,), part indices in [0, P).
    """
    names = sorted(set(units), key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).digest())
    index = {name: number for number, name in enumerate(names)}
    counts = np.zeros((len(names), max(targets) + 2))  # (U, K + 1): samples a class, and in all
    for name, target in zip(units, targets, strict=True):
        counts[index[name], target] += 1
        counts[index[name], -1] += 1
    counts = counts[:, counts.any(axis=0)]
    table = _Table(counts, np.asarray(shares, dtype=np.float64))
    # Large units first, while there is room for them everywhere; the hash decides among equals.
    for unit in np.argsort(-counts[:, -1], kind="stable"):
        table.put(unit, int(np.argmin(table.added(unit))))
    for _ in range(_ROUNDS):
        changes = sum(table.improve(unit) for part in range(len(shares)) for unit in table.distinct(part))
        if not changes:
            break
    return np.asarray([table.part_of[index[name]] for name in units], dtype=np.int64)


class _Table:
    """Units on their way to parts.

    Attributes:
        counts: (U, C) samples of each unit in each column (classes, then all).
        wanted: (P, C) samples that each part should get.
        held: (P, C) samples that it has.
        part_of: (U,) the part of each unit; -1 before it is dealt.
        kind: (U,) the same number for units of the same counts, which are worth the same to any part.
    """

    def __init__(self, counts: NDArray[np.float64], shares: NDArray[np.float64]) -> None:
        self.counts = counts
        self.wanted = shares[:, None] * counts.sum(axis=0)
        self.held = np.zeros_like(self.wanted)
        self.part_of = np.full(len(counts), -1)
        self.kind = np.unique(counts, axis=0, return_inverse=True)[1].reshape(-1)

    def cost(self, held: NDArray[np.float64], wanted: NDArray[np.float64]) -> NDArray[np.float64]:
        """Unevenness (...,) of parts that hold (..., C) samples."""
        cost: NDArray[np.float64] = ((held - wanted) ** 2 / wanted + _MISSING * (held == 0)).sum(axis=-1)
        return cost

    def added(self, unit: int) -> NDArray[np.float64]:
        """What putting `unit` to each part (P,) adds to the cost."""
        return (self.cost(self.held + self.counts[unit], self.wanted) - self.cost(self.held, self.wanted)).round(
            _DECIMALS
        )

    def put(self, unit: int, part: int) -> None:
        """Give `unit` to `part`, taking it from where it is."""
        if self.part_of[unit] >= 0:
            self.held[self.part_of[unit]] -= self.counts[unit]
        self.held[part] += self.counts[unit]
        self.part_of[unit] = part

    def distinct(self, part: int) -> NDArray[np.int64]:
        """The first unit of each kind that `part` holds."""
        held = np.flatnonzero(self.part_of == part)
        return held[np.unique(self.kind[held], return_index=True)[1]]

    def improve(self, unit: int) -> bool:
        """Do the best move of `unit`, or swap of it with another unit, that lowers the cost."""
        home = self.part_of[unit]
        best_gain, best_part, best_other = 0.0, -1, -1
        for part in range(len(self.wanted)):
            if part == home:
                continue
            # The first candidate is a move: a swap with nothing.
            others = self.distinct(part) if self.kind.max() < _SWAPPED_KINDS else np.empty(0, dtype=np.int64)
            coming = np.vstack([np.zeros_like(self.counts[:1]), self.counts[others]])  # (1 + O, C)
            moved = coming - self.counts[unit]
            before = self.cost(self.held[[home, part]], self.wanted[[home, part]]).sum()
            after = self.cost(self.held[home] + moved, self.wanted[home]) + self.cost(
                self.held[part] - moved, self.wanted[part]
            )
            gains = (before - after).round(_DECIMALS)
            best = int(np.argmax(gains))
            if gains[best] > best_gain:
                best_gain, best_part = float(gains[best]), part
                best_other = int(others[best - 1]) if best else -1
        if best_part < 0:
            return False
        self.put(unit, best_part)
        if best_other >= 0:
            self.put(best_other, home)
        return True
