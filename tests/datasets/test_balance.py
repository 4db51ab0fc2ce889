from collections import Counter
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

from kinema.core.errors import DataError, UsageError
from kinema.core.seeds import stream
from kinema.datasets.balance import balanced_order, strata_of
from kinema.datasets.loader import EpochSampler
from kinema.datasets.sample import Sample

LARGE, SMALL = 90, 10
STRATA = [0] * LARGE + [1] * SMALL


def draws_of(sampler):
    return list(chain.from_iterable(sampler))


def test_every_stratum_gets_its_equal_share_of_an_epoch():
    order = balanced_order(np.array([0] * 7 + [1] * 2 + [4] * 1), stream(0, "x"))
    shares = Counter("aaaaaaabbc"[row] for row, _ in order)
    assert len(order) == 10
    assert sorted(shares.values()) == [3, 3, 4]


def test_rows_of_small_strata_take_turns_before_they_repeat():
    order = balanced_order(np.array(STRATA), stream(0, "x"))
    small = Counter(row for row, _ in order if row >= LARGE)
    assert set(small.values()) == {5}
    assert all(sorted(turn for row, turn in order if row == each) == [0, 1, 2, 3, 4] for each in small)
    large = [row for row, _ in order if row < LARGE]
    assert len(large) == len(set(large)) == 50


def test_large_strata_are_seen_whole_over_some_epochs():
    sampler = EpochSampler(100, 10, seed=0, strata=STRATA)
    seen = set()
    for epoch in range(12):
        sampler.go_to(epoch)
        seen |= {draw.row for draw in draws_of(sampler)}
    assert seen == set(range(100))


def test_the_order_follows_from_seed_and_epoch_and_can_go_on_in_the_middle():
    first, again = (EpochSampler(100, 10, seed=3, strata=STRATA) for _ in range(2))
    first.go_to(2)
    again.go_to(2, skip_batches=4)
    whole = list(first)
    assert list(again) == whole[4:]
    first.go_to(3)
    assert list(first) != whole


def test_processes_share_the_draws_without_overlap():
    alone = EpochSampler(100, 5, seed=1, strata=STRATA)
    parts = [EpochSampler(100, 5, seed=1, rank=rank, ranks=2, strata=STRATA) for rank in (0, 1)]
    assert sorted(map(repr, chain(*map(draws_of, parts)))) == sorted(map(repr, draws_of(alone)))
    assert len(set(map(repr, chain(*map(draws_of, parts))))) == 100


def test_without_strata_every_row_is_drawn_once():
    draws = draws_of(EpochSampler(100, 10, seed=1))
    assert sorted(draw.row for draw in draws) == list(range(100))
    assert {draw.turn for draw in draws} == {0}


def sample(label, dataset=None):
    return Sample(Path("/data/a.mp4"), label, dataset=dataset)


def test_strata_are_nothing_data_sets_or_classes():
    samples = [sample("a", "y"), sample("b", "x"), sample("a", "y")]
    assert strata_of(samples, [0, 1, 0], "none") is None
    assert strata_of(samples, [0, 1, 0], "class") == (0, 1, 0)
    assert strata_of(samples, [0, 1, 0], "dataset") == (1, 0, 1)


def test_data_sets_cannot_be_balanced_where_samples_name_none():
    with pytest.raises(DataError, match="1 of 2 samples name none"):
        strata_of([sample("a", "x"), sample("b")], [0, 1], "dataset")
    with pytest.raises(UsageError, match="did you mean 'class'"):
        strata_of([sample("a")], [0], "clas")
