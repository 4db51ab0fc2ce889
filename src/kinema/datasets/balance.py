"""Epochs in which small data sets or rare classes are seen as often as large ones. Pure arithmetic."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kinema.core.errors import DataError, UsageError, nearest
from kinema.datasets.sample import Sample

__all__ = ["BALANCES", "balanced_order", "strata_of"]

BALANCES = ("none", "dataset", "class")


def strata_of(samples: Sequence[Sample], targets: Sequence[int], balance: str) -> tuple[int, ...] | None:
    """The stratum of every sample, or None where nothing is balanced.

    Args:
        samples: rows of a manifest.
        targets: class index of each.
        balance: `none`, `dataset` (the manifest's column) or `class`.

    Raises:
        UsageError: another word.
        DataError: data sets to be balanced, and a sample that does not say which it is from.
    """
    if balance not in BALANCES:
        raise UsageError(f"balance '{balance}'{nearest(balance, BALANCES)}", allowed=", ".join(BALANCES))
    if balance == "none":
        return None
    if balance == "class":
        return tuple(targets)
    nameless = [sample.path for sample in samples if sample.dataset is None]
    if nameless:
        raise DataError(
            f"balance is 'dataset', but {len(nameless)} of {len(samples)} samples name none, such as {nameless[0]}",
            allowed="a manifest with a dataset in every row",
            next_step="make it with `kinema data merge`, or leave balance at none",
        )
    names = sorted({str(sample.dataset) for sample in samples})
    return tuple(names.index(str(sample.dataset)) for sample in samples)


def balanced_order(strata: NDArray[np.int64], rng: np.random.Generator) -> list[tuple[int, int]]:
    """N draws in random order, of which every stratum gets the same number, give or take one.

    Within a stratum no row is drawn for the n-th time before all others were drawn n - 1 times.

    Args:
        strata: (N,) the stratum of each row.
        rng: makes every choice.

    Returns:
        N pairs: a row, and how often it occurs among the draws of lower turn.
    """
    present = np.unique(strata)
    quotas = np.full(len(present), len(strata) // len(present))
    quotas[rng.permutation(len(present))[: len(strata) % len(present)]] += 1
    draws: list[tuple[int, int]] = []
    for stratum, quota in zip(present, quotas, strict=True):
        rows = np.flatnonzero(strata == stratum)
        for turn, begin in enumerate(range(0, int(quota), len(rows))):
            draws.extend((int(row), turn) for row in rng.permutation(rows)[: int(quota) - begin])
    return [draws[place] for place in rng.permutation(len(draws))]
