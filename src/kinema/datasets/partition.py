"""Dealing groups of labelled samples out to parts of given shares, as evenly as may be. Pure arithmetic.

scikit-learn's StratifiedGroupKFold makes equal folds only, and its result may change with its
version. A split that travels in a weights file has to come out the same wherever it is made again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from heapq import heappop, heappush

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
    # A file name that is no valid text counts by its bytes.
    names = sorted(
        set(units), key=lambda name: hashlib.sha256(f"{seed}/{name}".encode("utf-8", "surrogateescape")).digest()
    )
    index = {name: number for number, name in enumerate(names)}
    owned = [index[name] for name in units]
    kinds, kind = _kinds(owned, targets, len(names))
    table = _Table(kinds, kind, np.asarray(shares, dtype=np.float64))
    # Large units first, while there is room for them everywhere; the hash decides among equals.
    for unit in np.argsort(-kinds[kind, -1], kind="stable").tolist():
        table.put(unit, int(np.argmin(table.added(unit))))
    table.settle()
    for _ in range(_ROUNDS):
        changes = sum(table.improve(unit) for part in range(len(shares)) for unit in table.distinct(part))
        if not changes:
            break
    return table.part_of[np.asarray(owned, dtype=np.int64)]


def _kinds(
    owned: Sequence[int], targets: Sequence[int], unit_count: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The distinct rows of samples a class, and last in all, (D, C), sorted; and which of them each unit has (U,).

    A row for every unit would be gigabytes where there are hundreds of classes; most units are of one class.
    """
    held: list[dict[int, int]] = [{} for _ in range(unit_count)]
    for unit, target in zip(owned, targets, strict=True):
        held[unit][target] = held[unit].get(target, 0) + 1
    numbers: dict[tuple[tuple[int, int], ...], int] = {}
    number = [numbers.setdefault(tuple(sorted(own.items())), len(numbers)) for own in held]
    rows = np.zeros((len(numbers), max(targets) + 2))
    for row, own in enumerate(numbers):
        for target, count in own:
            rows[row, target] = count
            rows[row, -1] += count
    kinds, order = np.unique(rows[:, rows.any(axis=0)], axis=0, return_inverse=True)
    return kinds, order.reshape(-1)[np.asarray(number, dtype=np.int64)]


class _Table:
    """Units on their way to parts.

    Attributes:
        kinds: (D, C) samples in each column (classes, then all) of the units of each kind.
        kind: (U,) the kind of each unit; units of one kind are worth the same to any part.
        wanted: (P, C) samples that each part should get.
        held: (P, C) samples that it has.
        part_of: (U,) the part of each unit; -1 before it is dealt.
    """

    def __init__(self, kinds: NDArray[np.float64], kind: NDArray[np.int64], shares: NDArray[np.float64]) -> None:
        self.kinds = kinds
        self.kind = kind
        self.wanted = shares[:, None] * (np.bincount(kind, minlength=len(kinds))[:, None] * kinds).sum(axis=0)
        self.held = np.zeros_like(self.wanted)
        self.part_of = np.full(len(kind), -1)
        self._costs = self.cost(self.held, self.wanted)  # (P,), kept up by `put`
        self._units: list[list[list[int]]] = []  # by part and kind, heaps of units; some may have left since

    def cost(self, held: NDArray[np.float64], wanted: NDArray[np.float64]) -> NDArray[np.float64]:
        """Unevenness (...,) of parts that hold (..., C) samples."""
        cost: NDArray[np.float64] = ((held - wanted) ** 2 / wanted + _MISSING * (held == 0)).sum(axis=-1)
        return cost

    def added(self, unit: int) -> NDArray[np.float64]:
        """What putting `unit` to each part (P,) adds to the cost."""
        return (self.cost(self.held + self.kinds[self.kind[unit]], self.wanted) - self._costs).round(_DECIMALS)

    def put(self, unit: int, part: int) -> None:
        """Give `unit` to `part`, taking it from where it is."""
        counts = self.kinds[self.kind[unit]]
        home = self.part_of[unit]
        if home >= 0:
            self.held[home] -= counts
            self._costs[home] = self.cost(self.held[home], self.wanted[home])
        self.held[part] += counts
        self._costs[part] = self.cost(self.held[part], self.wanted[part])
        self.part_of[unit] = part
        if self._units:
            heappush(self._units[part][self.kind[unit]], unit)

    def settle(self) -> None:
        """From here on, `distinct` may be asked."""
        self._units = [[[] for _ in self.kinds] for _ in self.wanted]
        for unit, (part, kind) in enumerate(zip(self.part_of.tolist(), self.kind.tolist(), strict=True)):
            self._units[part][kind].append(unit)  # ascending, which is a heap

    def distinct(self, part: int) -> list[int]:
        """The first unit of each kind that `part` holds."""
        firsts = []
        for units in self._units[part]:
            while units and self.part_of[units[0]] != part:
                heappop(units)
            if units:
                firsts.append(units[0])
        return firsts

    def improve(self, unit: int) -> bool:
        """Do the best move of `unit`, or swap of it with another unit, that lowers the cost."""
        home = self.part_of[unit]
        counts = self.kinds[self.kind[unit]]
        best_gain, best_part, best_other = 0.0, -1, -1
        for part in range(len(self.wanted)):
            if part == home:
                continue
            # The first candidate is a move: a swap with nothing.
            others = self.distinct(part) if len(self.kinds) <= _SWAPPED_KINDS else []
            coming = np.vstack([np.zeros_like(counts), self.kinds[self.kind[others]]]) if others else 0.0 * counts[None]
            moved = coming - counts
            before = self.cost(self.held[[home, part]], self.wanted[[home, part]]).sum()
            after = self.cost(self.held[home] + moved, self.wanted[home]) + self.cost(
                self.held[part] - moved, self.wanted[part]
            )
            gains = (before - after).round(_DECIMALS)
            best = int(np.argmax(gains))
            if gains[best] > best_gain:
                best_gain, best_part = float(gains[best]), part
                best_other = others[best - 1] if best else -1
        if best_part < 0:
            return False
        self.put(unit, best_part)
        if best_other >= 0:
            self.put(best_other, home)
        return True
