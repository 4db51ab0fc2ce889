"""What two processes tell each other; what each found is printed by two_processes.py."""

import pytest
from lightning_fabric import Fabric

from kinema.training.team import TrainingTeam


def test_each_knows_what_all_have(two_processes):
    for rank, found in enumerate(each["team"] for each in two_processes):
        assert (found["rank"], found["first"]) == (rank, rank == 0)
        assert found["gathered"] == [{"from": 0}, {"from": 1}]
        assert found["sums"] == [3.0, 1.0]
        assert found["buffer"] == 5.0
        assert found["passed"]


def test_where_one_fails_all_do_and_say_why(two_processes):
    first, second = (each["team"] for each in two_processes)
    assert first["second fails"] == ["ElsewhereError", "process 1: mine, of 1", "go on", 3]
    assert second["second fails"] == ["DataError", "mine, of 1", "go on", 3]
    assert first["both fail"] == ["DataError", "mine, of 0", "go on", 3]
    assert second["both fail"] == ["DataError", "mine, of 1", "go on", 3]
    assert first["fault"] == ["ElsewhereError", "process 1: AssertionError: a fault", 1]
    assert second["fault"] == ["AssertionError", "a fault", None]


def test_alone_nothing_is_exchanged():
    crew = TrainingTeam(Fabric(accelerator="cpu", devices=1))
    assert (crew.rank, crew.ranks, crew.first) == (0, 1, True)
    assert crew.gather(3) == [3]
    assert crew.sum(1, 2.5) == [1, 2.5]
    with pytest.raises(ValueError, match="mine"), crew.together():
        raise ValueError("mine")
