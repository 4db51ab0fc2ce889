from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinema.core.errors import UsageError
from kinema.datasets.shards.index import PackedSplit, Shard
from kinema.datasets.shards.order import Course, Share


def split_of(*counts):
    shards = tuple(Shard(f"{number}.tar", count, "", tuple(range(count + 1))) for number, count in enumerate(counts))
    return PackedSplit(shards, (sum(counts),))


def given_out(course):
    places = course.places()
    return [places[position] for position in course.shuffled()]


@given(
    counts=st.lists(st.integers(1, 9), min_size=1, max_size=6),
    ranks=st.integers(1, 4),
    workers=st.integers(1, 5),
    epoch=st.integers(0, 3),
    buffer=st.integers(1, 12),
)
def test_all_readers_together_give_every_sample_once(counts, ranks, workers, epoch, buffer):
    split = split_of(*counts)
    seen, lengths = Counter(), []
    for rank in range(ranks):
        for worker in range(workers):
            first, last = Share(rank, ranks, worker, workers).slice(split.samples)
            one = given_out(Course(split, epoch, first, last, 5, buffer))
            lengths.append(len(one))
            seen.update((place.shard, place.sample) for place in one)
    assert seen == Counter((shard, sample) for shard, count in enumerate(counts) for sample in range(count))
    assert max(lengths) - min(lengths) <= 1


@given(st.integers(0, 60), st.integers(1, 20), st.integers(0, 5))
def test_the_buffer_bounds_how_far_is_read_ahead(length, buffer, seed):
    order = Course(split_of(60), 0, 0, length, seed, buffer).shuffled()
    assert sorted(order) == list(range(length))
    assert all(position < given + buffer for given, position in enumerate(order))


def test_a_buffer_of_one_keeps_the_order():
    assert Course(split_of(9), 0, 0, 9, 0, 1).shuffled() == list(range(9))


def test_the_order_follows_from_seed_and_epoch():
    split = split_of(*[7] * 8)
    orders = {(seed, epoch): given_out(Course(split, epoch, 0, 56, seed, 10)) for seed in (0, 1) for epoch in (0, 1)}
    assert given_out(Course(split, 1, 0, 56, 1, 10)) == orders[1, 1]
    assert len({tuple(order) for order in orders.values()}) == 4
    first = [place.shard for place in Course(split, 0, 0, 56, 0, 1).places()]
    assert first != sorted(first)  # shards are shuffled, too
    assert sum(a != b for a, b in pairwise(first)) <= 8  # and read one after another, one of them in two parts


@pytest.mark.parametrize("counts", [(100,), (10, 90), (1, 99), (7, 40, 53)])
def test_the_end_of_an_epoch_is_another_one_every_time(counts):
    split = split_of(*counts)
    seen = Counter(place for epoch in range(60) for place in Course(split, epoch, 0, 64, 5, 16).places())
    assert len(seen) == 100
    assert min(seen.values()) > 15
    assert max(seen.values()) < 60


def test_an_epoch_goes_on_at_the_beginning_of_a_single_shard():
    order = [place.sample for place in Course(split_of(9), 3, 0, 9, 0, 1).places()]
    assert order[0] != 0
    assert order == [(order[0] + step) % 9 for step in range(9)]


@pytest.mark.parametrize("wrong", [(2, 2, 0, 1), (0, 1, 1, 1), (-1, 1, 0, 1), (0, 0, 0, 1)])
def test_readers_that_cannot_be(wrong):
    with pytest.raises(UsageError, match="rank"):
        Share(*wrong)


def test_no_buffer():
    with pytest.raises(UsageError, match="buffer of 0"):
        Course(split_of(3), 0, 0, 3, 0, 0)
