"""A figure with its 95 % interval, and the two ways to one: Wilson's for shares, the group bootstrap for the rest."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from kinema.core.errors import DataError

__all__ = ["Estimate", "bootstrap", "wilson"]

Floats: TypeAlias = npt.NDArray[np.float64]

Z = 1.959963984540054  # two-sided 95 % of the normal distribution
RESAMPLES = 2000


@dataclass(frozen=True)
class Estimate:
    """A number and its 95 % interval.

    Attributes:
        value: the figure itself.
        low: lower end; None where the data bound nothing, and `method` says why.
        high: upper end; None together with `low`.
        n: what was counted or drawn: samples or groups, as `method` says.
        method: how the interval came about, in words.
    """

    value: float
    low: float | None
    high: float | None
    n: int
    method: str

    @property
    def half_width(self) -> float | None:
        """Half the length of the interval; None where there is none."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2

    @property
    def decimals(self) -> int:
        """How many decimals are worth showing: 2, or 3 where the interval is narrower than 0.02."""
        return 3 if self.half_width is not None and self.half_width < 0.01 else 2

    def __str__(self) -> str:
        digits = self.decimals
        if self.low is None or self.high is None:
            return f"{self.value:.{digits}f} [no interval]"
        return f"{self.value:.{digits}f} [{self.low:.{digits}f}, {self.high:.{digits}f}]"


def wilson(successes: float, n: int) -> Estimate:
    """The share `successes / n` with Wilson's 95 % score interval (Wilson 1927), which holds for small n and near 1.

    Raises:
        DataError: n below 1, or successes outside 0 to n.
    """
    if n < 1 or not 0 <= successes <= n:
        raise DataError(f"{successes} right of {n}", allowed="at least one sample, and no more right than there are")
    share = successes / n
    centre = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * math.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    # In exact arithmetic the interval touches 0 and 1 with the share, and always contains it.
    low, high = min(max(centre - half, 0.0), share), max(min(centre + half, 1.0), share)
    return Estimate(share, low, high, n, f"95 % Wilson, {n} samples taken as independent")


def bootstrap(
    statistic: Callable[[Floats], float],
    n: int,
    groups: Sequence[str] | None = None,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Estimate:
    """A statistic with the 95 % percentile interval of a cluster bootstrap.

    Args:
        statistic: weights (N,), how often each sample was drawn, to the figure; NaN where a draw
            leaves it undefined. Such draws are left out, and `method` counts them.
        n: samples N, at least 1.
        groups: (N,) names; whole groups are drawn with replacement, as many as there are. None draws samples.
        seed: of the draws.
        resamples: how many draws.

    Returns:
        The estimate; without an interval where there is one group only, where most draws are
        undefined, or where all draws agree (as with nothing wrong at all), which bounds nothing.
    """
    group_of = np.arange(n) if groups is None else np.unique(np.asarray(groups, dtype=str), return_inverse=True)[1]
    count = int(group_of.max()) + 1
    unit = "samples taken as independent" if groups is None else "groups"
    value = statistic(np.ones(n))
    generator = np.random.default_rng(seed)
    draws = np.empty(resamples)
    for index in range(resamples):
        drawn = np.bincount(generator.integers(0, count, count), minlength=count)
        draws[index] = statistic(drawn[group_of].astype(np.float64))
    defined = draws[np.isfinite(draws)]
    method = f"95 % bootstrap, {resamples} resamples of {count} {unit}, seed {seed}"
    if len(defined) < resamples:
        method += f", {resamples - len(defined)} without every class left out"
    if len(defined) < resamples / 2:
        return Estimate(value, None, None, count, f"{method}: too few are left to bound anything")
    if np.ptp(defined) < 1e-12:
        return Estimate(value, None, None, count, f"{method}: they do not differ, so they bound nothing")
    low, high = np.quantile(defined, [0.025, 0.975])
    return Estimate(value, float(low), float(high), count, method)
