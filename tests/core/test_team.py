"""One process alone is a team, too."""

import pytest

from kinema.core.team import Alone


def test_one_alone_has_all_of_the_work_and_all_of_its_results():
    assert (Alone.rank, Alone.ranks) == (0, 1)
    assert Alone().gather([3, 4]) == [[3, 4]]


def test_what_fails_alone_fails_as_it_is():
    with pytest.raises(ValueError, match="mine"), Alone().together():
        raise ValueError("mine")
