"""Whether one row of a table is better than another, tested on the same videos; and what could have been seen at all.

- McNemar's test (McNemar 1947, Psychometrika 12), exact: of the videos on which two rows differ, as many
  should fall to either side. Takes videos as independent.
- Sign flips over groups: under the null hypothesis the two rows could be exchanged in any group, such as
  all clips of one source. All 2^G exchanges are counted, not drawn: group sums are whole numbers, and their
  distribution is a product of G two-pointed ones.
- Holm's correction (Holm 1979, Scandinavian Journal of Statistics 6) for many comparisons at once.
- The smallest difference that the exact test would see with a given probability, from the same arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import binom

from kinema.core.errors import DataError
from kinema.studies.results import RunResult

__all__ = ["Pairing", "holm", "mcnemar", "pair", "sign_flips", "smallest_difference"]

ALPHA = 0.05
POWER = 0.8
_SPREADS = 9.0  # standard deviations of a binomial beyond which nothing counts


@dataclass(frozen=True)
class Pairing:
    """Two rows on the videos that both were tested on.

    Attributes:
        n: videos.
        first: videos that the first row got right more often than the second.
        second: likewise the second.
        difference: accuracy of the first less that of the second, on these videos; of one that several runs
            answered, their mean counts.
        margin: by how much the rows differ on a video that parts them, on average, 0 to 1: 1 of single runs, less of
            several, which seldom agree.
        groups: sources they come from; None where no sources are known.
        by_videos: p of McNemar's test.
        by_groups: p of the sign flips over groups; None where no sources are known.
        apart: answers of either row to videos that the other's run was not tested on.
    """

    n: int
    first: int
    second: int
    difference: float
    margin: float
    groups: int | None
    by_videos: float
    by_groups: float | None
    apart: int

    @property
    def p(self) -> float:
        """What decides: clips of one source are not independent, so where sources are known they do."""
        return self.by_videos if self.by_groups is None else self.by_groups


def mcnemar(first: int, second: int) -> float:
    """The two-sided p of McNemar's exact test.

    Args:
        first: videos that only the first got right.
        second: videos that only the second got right.

    Raises:
        DataError: a count below 0.
    """
    if min(first, second) < 0:
        raise DataError(f"{first} against {second} videos", allowed="counts of 0 or more")
    return float(min(1.0, 2 * binom.cdf(min(first, second), first + second, 0.5)))


def sign_flips(sums: Sequence[int]) -> float:
    """The two-sided p of exchanging two rows group by group, over all ways to do so.

    Args:
        sums: (G,) how many more right answers the first row has, by group.
    """
    sizes = np.abs(np.asarray(sums, dtype=np.int64))
    total = int(sizes.sum())
    # chances[k]: of a sum of k - total.
    chances = np.zeros(2 * total + 1)
    chances[total] = 1.0
    for size in sizes[sizes > 0]:
        chances = (np.roll(chances, size) + np.roll(chances, -size)) / 2
    distances = np.abs(np.arange(-total, total + 1))
    return float(min(1.0, chances[distances >= abs(int(np.sum(sums)))].sum()))


def holm(ps: Sequence[float]) -> tuple[float, ...]:
    """The p of every comparison, corrected for their number: below 0.05 for none by chance, 95 times of 100."""
    order = sorted(range(len(ps)), key=lambda index: ps[index])
    corrected = [0.0] * len(ps)
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(ps) - rank) * ps[index]))
        corrected[index] = largest
    return tuple(corrected)


def smallest_difference(n: int, discordant: float, *, alpha: float = ALPHA, power: float = POWER) -> float | None:
    """The smallest true difference between two rows that McNemar's exact test finds with probability `power`.

    Args:
        n: videos, taken as independent.
        discordant: share of videos on which two rows differ, 0 to 1; a larger difference implies a larger share.
        alpha: level of the test, after whatever correction.
        power: 0 to 1.

    Returns:
        A share of videos, such as 0.08 for 8 points; None where not even a difference of all would be found.
    """
    if _power(n, 1.0, 1.0, alpha) < power:
        return None
    low, high = 0.0, 1.0
    while high - low > 1e-4:
        middle = (low + high) / 2
        found = _power(n, max(discordant, middle), middle, alpha) >= power
        low, high = (low, middle) if found else (middle, high)
    return high


def pair(first: Sequence[RunResult], second: Sequence[RunResult]) -> Pairing | None:
    """Compare two rows, run by run and video by video.

    Args:
        first: runs of a row.
        second: (as many) runs of the other, each trained as the one at its place but for the row.

    Returns:
        None where no video was answered by both. Where several runs answer a video (as of several seeds),
        it counts once, for the row that got it right more often; so do groups.
    """
    differences: dict[str, int] = {}
    answers: dict[str, int] = {}
    groups: dict[str, str] = {}
    apart = 0
    grouped = True
    for one, other in zip(first, second, strict=True):
        data = str(one.run.record["data"])
        if data != str(other.run.record["data"]):
            apart += len(one.answers.videos) + len(other.answers.videos)
            continue
        right = dict(zip(other.answers.videos, other.answers.correct.tolist(), strict=True))
        apart += len(right.keys() - set(one.answers.videos))
        grouped = grouped and one.answers.grouped
        for video, group, correct in zip(
            one.answers.videos, one.answers.groups, one.answers.correct.tolist(), strict=True
        ):
            if video not in right:
                apart += 1
                continue
            key = f"{data}\t{video}"
            differences[key] = differences.get(key, 0) + int(correct) - int(right[video])
            groups[key] = f"{data}\t{group}"
            answers[key] = answers.get(key, 0) + 1
    if not differences:
        return None
    sums: dict[str, int] = {}
    for key, difference in differences.items():
        sums[groups[key]] = sums.get(groups[key], 0) + difference
    better = sum(difference > 0 for difference in differences.values())
    worse = sum(difference < 0 for difference in differences.values())
    # As the figures of the rows count: a video that more runs were tested on weighs no more than others.
    shares = [difference / answers[key] for key, difference in differences.items()]
    return Pairing(
        n=len(differences),
        first=better,
        second=worse,
        difference=sum(shares) / len(shares),
        margin=sum(map(abs, shares)) / (better + worse) if better + worse else 1.0,
        groups=len(sums) if grouped else None,
        by_videos=mcnemar(better, worse),
        by_groups=sign_flips(list(sums.values())) if grouped else None,
        apart=apart,
    )


def _power(n: int, discordant: float, difference: float, alpha: float) -> float:
    """The chance that the exact test rejects, where the shares of either side are (discordant ± difference) / 2."""
    mean, spread = n * discordant, np.sqrt(n * discordant * (1 - discordant))
    low, high = max(0, int(mean - _SPREADS * spread)), min(n, int(mean + _SPREADS * spread) + 1)
    counts: npt.NDArray[np.int64] = np.arange(low, high + 1)
    # The largest count of the smaller side that is still rejected; -1 where none is.
    edge = binom.ppf(alpha / 2, counts, 0.5)
    edge = edge - (binom.cdf(edge, counts, 0.5) > alpha / 2)
    share = (discordant + difference) / (2 * discordant) if discordant else 0.5
    rejected = binom.cdf(edge, counts, share) + binom.sf(counts - edge - 1, counts, share)
    rejected = np.where(edge < 0, 0.0, rejected)
    return float(np.sum(binom.pmf(counts, n, discordant) * np.minimum(rejected, 1.0)))
