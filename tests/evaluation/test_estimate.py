from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinema.core.errors import DataError
from kinema.evaluation.estimate import Estimate, bootstrap, wilson


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        # 98.4, 95.2 and 92.0 % (truncated) of 63, the published ranking that noise explains.
        (62, 63, 91.5, 99.7),
        (60, 63, 86.9, 98.4),
        (58, 63, 82.7, 96.6),
        # Newcombe 1998, table I, method 3.
        (81, 263, 25.53, 36.62),
        (15, 148, 6.24, 16.05),
        (0, 20, 0.0, 16.11),
        (1, 29, 0.61, 17.18),
    ],
)
def test_wilson_agrees_with_published_intervals(successes, n, low, high):
    found = wilson(successes, n)
    digits = 1 if n == 63 else 2
    assert (round(100 * found.low, digits), round(100 * found.high, digits)) == (low, high)
    assert found.value == successes / n


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (-1, 5), (6, 5)])
def test_wilson_refuses_what_is_no_share(successes, n):
    with pytest.raises(DataError):
        wilson(successes, n)


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_contains_the_share_stays_in_range_and_mirrors(case):
    successes, n = case
    found, mirrored = wilson(successes, n), wilson(n - successes, n)
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.low < found.high
    assert found.low == pytest.approx(1 - mirrored.high, abs=1e-12)


def share_of(correct: np.ndarray):
    return lambda weights: float(weights @ correct / weights.sum())


def test_bootstrap_over_samples_matches_theory_and_repeats():
    correct = np.repeat([1.0, 0.0], [150, 50])
    found = bootstrap(share_of(correct), 200, seed=3)
    standard_error = np.sqrt(0.75 * 0.25 / 200)
    assert found.value == 0.75
    assert found.low == pytest.approx(0.75 - 1.96 * standard_error, abs=0.01)
    assert found.high == pytest.approx(0.75 + 1.96 * standard_error, abs=0.01)
    assert "samples taken as independent" in found.method
    assert found.n == 200
    assert bootstrap(share_of(correct), 200, seed=3) == found
    assert bootstrap(share_of(correct), 200, seed=4) != found


def test_groups_of_copies_widen_the_interval_to_that_of_the_groups():
    """40 groups of 10 equal samples know as much as 40 samples."""
    per_group = np.repeat([1.0, 0.0], [30, 10])
    correct = np.repeat(per_group, 10)
    groups = [f"scene {i // 10}" for i in range(400)]
    clustered = bootstrap(share_of(correct), 400, groups)
    alone = bootstrap(share_of(per_group), 40)
    blind = bootstrap(share_of(correct), 400)
    assert clustered.n == 40
    assert clustered.half_width == pytest.approx(alone.half_width, rel=0.2)
    assert clustered.half_width > 2.5 * blind.half_width
    assert "40 groups" in clustered.method


def test_groups_count_whatever_their_order_and_size():
    correct = np.array([1.0, 0.0, 1.0, 1.0, 0.0])
    found = bootstrap(share_of(correct), 5, ["b", "a", "b", "c", "a"])
    assert found.n == 3
    assert found.value == pytest.approx(0.6)
    assert found.low <= found.value <= found.high


@pytest.mark.parametrize(
    ("statistic", "groups", "said"),
    [
        (share_of(np.ones(20)), None, "bound nothing"),
        (share_of(np.arange(20) % 2), ["one"] * 20, "bound nothing"),
        (lambda weights: 0.5 if weights.max() == 1 else float("nan"), None, "too few"),
    ],
    ids=["nothing wrong", "one group", "undefined"],
)
def test_no_interval_rather_than_a_false_one(statistic, groups, said):
    found = bootstrap(statistic, 20, groups, resamples=100)
    assert (found.low, found.high, found.half_width) == (None, None, None)
    assert said in found.method
    assert str(found) == f"{found.value:.2f} [no interval]"


def test_undefined_draws_are_counted():
    def statistic(weights):
        return float("nan") if weights[0] == 0 else float(weights[1] / weights.sum())

    found = bootstrap(statistic, 10, resamples=500)
    left_out = int(found.method.split("seed 0, ")[1].split()[0])
    assert 100 < left_out < 250  # (9/10)^10 is 0.35
    assert found.low is not None


def test_text():
    assert str(Estimate(0.9523, 0.8691, 0.9836, 63, "")) == "0.95 [0.87, 0.98]"
    assert str(Estimate(0.9523, 0.9451, 0.9586, 3783, "")) == "0.952 [0.945, 0.959]"
