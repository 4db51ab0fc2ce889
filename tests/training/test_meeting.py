"""Processes that meet in a store where the keys of dead ones lie."""

import threading
from datetime import timedelta

import pytest
from torch.distributed import HashStore

from kinema.core.errors import TrainingError
from kinema.training.meeting import meet

WAIT = timedelta(seconds=60)


def gather(store, ranks):
    """What each of `ranks` processes, here threads, comes back with."""
    found = {}
    threads = [
        threading.Thread(target=lambda rank=rank: found.update({rank: meet(store, rank, ranks, wait=WAIT)}))
        for rank in reversed(range(ranks))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [found[rank] for rank in range(ranks)]


@pytest.mark.parametrize("ranks", [1, 2, 5])
def test_all_learn_one_prefix(ranks):
    assert len(set(gather(HashStore(), ranks))) == 1


def test_each_start_has_a_prefix_of_its_own():
    store = HashStore()
    starts = [gather(store, 3) for _ in range(3)]
    assert [len(set(start)) for start in starts] == [1, 1, 1]
    assert len({start[0] for start in starts}) == 3


def test_what_those_left_who_died_waiting_misleads_nobody():
    store = HashStore()
    for rank in (1, 2):
        with pytest.raises(TrainingError):
            meet(store, rank, 3, wait=timedelta(milliseconds=10))
    assert len(set(gather(store, 3))) == 1


@pytest.mark.parametrize("rank", [0, 1])
def test_who_waits_in_vain_says_so(rank):
    with pytest.raises(TrainingError, match="the others did not come") as caught:
        meet(HashStore(), rank, 2, wait=timedelta(milliseconds=10))
    assert "--nnodes" in caught.value.next_step
