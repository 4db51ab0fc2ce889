"""The state of a scene runs as its class says, and a picture at any instant follows the same law in every class."""

import numpy as np
import pytest

from kinema.core.seeds import stream
from kinema.datasets.formula.courses import Course, run, shake
from kinema.datasets.formula.synthesis import KINDS

TIMES = np.arange(48) / 16


def states(course, count=2000, times=TIMES):
    """One running coordinate of many clips (count, T)."""
    rng = stream(0, "courses of a test")
    return np.stack([run(rng.random(2), [course], rng, times)[course.coordinate] for _ in range(count)])


def test_what_does_not_run_rests_where_it_began():
    start = np.array([0.3, 0.7, 0.9])
    state = run(start, [Course(1, (0.5, 0.6), rise=0.5)], stream(0, "rest"), TIMES)
    assert state.shape == (3, 48)
    assert (state[[0, 2]] == start[[0, 2], None]).all()
    assert np.ptp(state[1]) > 0.5


@pytest.mark.parametrize("rise", [0.15, 0.5, 0.8])
def test_a_share_begins_where_the_scene_does_and_is_uniform_ever_after(rise):
    course = Course(0, (0.45, 0.75), rise=rise)
    start = np.array([0.37])
    for number in range(20):
        assert run(start, [course], stream(number, "first"), TIMES)[0, 0] == pytest.approx(0.37)
    shares = states(course)
    assert shares.min() >= 0
    assert shares.max() <= 1
    for moment in (0, 7, 47):
        deciles = np.histogram(shares[:, moment], 10, (0, 1))[0]
        assert deciles.min() > 150
        assert deciles.max() < 250


def test_a_quick_rise_takes_less_time_than_the_return():
    shares = states(Course(0, (0.45, 0.75), rise=0.2))
    steps = np.diff(shares, axis=1)
    assert np.mean(steps > 0) == pytest.approx(0.2, abs=0.03)
    assert steps.max() > 3 * -steps.min()


def test_an_angle_goes_round_at_one_of_the_rates_in_either_direction_or_the_one_asked_for():
    angles = states(Course(0, (0.5, 0.6)))
    rates = (angles[:, -1] - angles[:, 0]) / TIMES[-1]
    assert ((np.abs(rates) >= 0.5) & (np.abs(rates) < 0.6)).all()
    assert np.mean(rates > 0) == pytest.approx(0.5, abs=0.05)
    assert (np.diff(states(Course(0, (0.5, 0.6), sign=-1), 50)) < 0).all()


def test_a_held_camera_begins_at_rest_and_does_not_go_far():
    for number in range(50):
        path = shake(stream(number, "shake"), TIMES, reach=0.1)
        assert path.shape == (2, 48)
        assert (path[:, 0] == 0).all()
        assert 0 < np.abs(path).max() <= 0.2


def test_classes_run_differently():
    for kind in KINDS.values():
        assert len(kind.ways) >= 8
        assert len(set(kind.ways.values())) == len(kind.ways)
        assert all(courses for courses in kind.ways.values())
    assert sum(len(kind.classes) for kind in KINDS.values()) >= 24
