"""Paired tests against values that are known from elsewhere: binomial tests, counting by hand, simulation."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest

from kinema.core.errors import DataError
from kinema.studies.comparison import holm, mcnemar, pair, sign_flips, smallest_difference
from kinema.studies.grid import RunPlan
from kinema.studies.results import Answers, RunResult
from kinema.training.recipe import make_config


@pytest.mark.parametrize(("first", "second"), [(0, 0), (1, 0), (3, 3), (10, 2), (2, 10), (0, 6), (25, 41), (300, 250)])
def test_mcnemar_is_the_binomial_test_of_the_videos_that_differ(first, second):
    expected = binomtest(first, first + second, 0.5).pvalue if first + second else 1.0
    assert mcnemar(first, second) == pytest.approx(expected, rel=1e-9)


def test_mcnemar_refuses_what_is_no_count():
    with pytest.raises(DataError, match="counts of 0 or more"):
        mcnemar(-1, 3)


def test_holm_by_hand():
    # Smallest times 4, next times 3, never falling, never above 1: Holm 1979, section 2.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert holm([0.9, 0.6]) == (1.0, 1.0)
    assert holm([]) == ()


@pytest.mark.parametrize("sums", [[3], [1, 1, 1], [5, -2, 1, 0], [4, -1, 2, 2, -3], [0, 0]])
def test_sign_flips_count_every_exchange(sums):
    flips = [abs(sum(s * d for s, d in zip(signs, sums, strict=True))) for signs in product((1, -1), repeat=len(sums))]
    assert sign_flips(sums) == pytest.approx(np.mean([flip >= abs(sum(sums)) for flip in flips]))


def test_sign_flips_of_single_videos_are_mcnemars_test():
    assert sign_flips([1] * 12 + [-1] * 4) == pytest.approx(mcnemar(12, 4))


def test_sign_flips_hold_their_level_where_clips_of_a_source_agree_and_mcnemar_does_not():
    """Rows that are equally good, and differ by whole sources: the test that knows them rejects 5 % at most."""
    rng = np.random.default_rng(0)
    by_groups, by_videos = [], []
    for _ in range(400):
        sums = rng.choice([-5, 0, 5], size=30, p=[0.25, 0.5, 0.25])
        by_groups.append(sign_flips(sums.tolist()) < 0.05)
        by_videos.append(mcnemar(int(sums[sums > 0].sum()), int(-sums[sums < 0].sum())) < 0.05)
    assert np.mean(by_groups) < 0.08
    assert np.mean(by_videos) > 0.2


@pytest.mark.parametrize(("n", "discordant"), [(225, 0.15), (60, 0.3), (1000, 0.05)])
def test_the_smallest_difference_is_found_four_times_of_five(n, discordant):
    difference = smallest_difference(n, discordant)
    rng = np.random.default_rng(1)
    better = (max(discordant, difference) + difference) / 2
    worse = better - difference
    found = [
        mcnemar(int((draws < better).sum()), int(((draws >= better) & (draws < better + worse)).sum())) < 0.05
        for draws in rng.random((1500, n))
    ]
    assert np.mean(found) == pytest.approx(0.8, abs=0.035)


def test_more_videos_or_fewer_comparisons_see_smaller_differences():
    assert smallest_difference(900, 0.2) < smallest_difference(225, 0.2) < smallest_difference(225, 0.2, alpha=0.005)
    assert smallest_difference(5, 0.2) is None  # 2 * 0.5 ** 5 is above 0.05


def result(correct, *, groups=None, data="clips", videos=None):
    names = tuple(videos or (f"{number}.mp4" for number in range(len(correct))))
    answers = Answers(names, tuple(groups or names), groups is not None, np.array(correct, bool), np.ones(len(correct)))
    run = RunPlan("run", Path("run"), {}, make_config({"data": data}), {"data": data})
    return RunResult(run, "test", answers, (), 1.0)


def test_two_rows_on_the_same_videos():
    one, other = result([1, 1, 1, 0, 1, 1]), result([1, 0, 0, 1, 0, 0])
    pairing = pair([one], [other])
    assert (pairing.n, pairing.first, pairing.second, pairing.groups, pairing.apart) == (6, 4, 1, None, 0)
    assert pairing.difference == pytest.approx(3 / 6)
    assert pairing.p == pairing.by_videos == mcnemar(4, 1)


def test_where_sources_are_known_they_decide():
    sources = list("aabbcc")
    pairing = pair([result([1] * 6, groups=sources)], [result([0] * 6, groups=sources)])
    assert pairing.groups == 3
    assert pairing.by_videos == pytest.approx(2 * 0.5**6)
    assert pairing.p == pairing.by_groups == pytest.approx(2 * 0.5**3)


def test_a_video_that_several_runs_answered_counts_once():
    one, other = result([1, 0, 1]), result([0, 0, 1])
    pairing = pair([one, one, one], [other, other, other])
    assert (pairing.n, pairing.first, pairing.second) == (3, 1, 0)
    assert pairing.difference == pytest.approx(1 / 3)


def test_what_a_video_won_is_worth_is_the_share_of_runs_that_won_it():
    first = [result([1, 1, 0, 0]), result([1, 1, 1, 0])]
    second = [result([0, 1, 0, 0]), result([0, 0, 0, 1])]
    pairing = pair(first, second)
    assert (pairing.first, pairing.second) == (3, 1)
    assert pairing.margin == pytest.approx((1 + 0.5 + 0.5 + 0.5) / 4)
    assert pairing.difference == pytest.approx((1 + 0.5 + 0.5 - 0.5) / 4)
    assert pair(first[:1], second[:1]).margin == 1
    assert pair(first[:1], first[:1]).margin == 1


def test_a_video_that_more_runs_were_tested_on_weighs_no_more_in_the_difference():
    first = [result([1, 0], videos=["a", "b"]), result([1], videos=["a"])]
    second = [result([0, 0], videos=["a", "b"]), result([0], videos=["a"])]
    assert pair(first, second).difference == pytest.approx(1 / 2)  # as between the rows' means over videos


def test_only_videos_of_both_are_compared_and_others_are_counted():
    pairing = pair([result([1, 1], videos=["a", "b"])], [result([0, 1], videos=["a", "c"])])
    assert (pairing.n, pairing.first, pairing.apart) == (1, 1, 2)
    larger = pair([result([1], videos=["a"])], [result([0, 1, 1], videos=["a", "b", "c"])])
    assert (larger.n, larger.apart) == (1, 2)
    same = result([1, 0])
    assert pair([same, result([1], data="one")], [same, result([0, 0], data="other")]).apart == 3
    assert pair([result([1], data="one")], [result([0], data="other")]) is None
