"""Equal arguments, equal draws; anything else, independent ones."""

import subprocess
import sys

import numpy as np
import pytest

from kinema.core.seeds import stream


def draws(*arguments):
    return tuple(stream(*arguments).integers(2**62, size=4).tolist())


def test_equal_arguments_give_equal_draws_however_much_was_drawn_before():
    first = stream(7, "clip", 2, 5)
    first.random(100)
    np.random.default_rng(7).random(100)
    assert draws(7, "clip", 2, 5) == draws(7, "clip", 2, 5)
    assert tuple(first.integers(2**62, size=4).tolist()) != draws(7, "clip", 2, 5)


def test_every_argument_matters():
    places = [
        (7, "clip", 2, 5),
        (8, "clip", 2, 5),
        (7, "order", 2, 5),
        (7, "clip", 5, 2),
        (7, "clip", 2, 6),
        (7, "clip", 25),
        (7, "clip", 2),
        (7, "clip"),
        (0, "clip"),
        (0, ""),
    ]
    assert len({draws(*place) for place in places}) == len(places)


def test_neighbouring_places_are_independent():
    """Uniform draws of neighbouring rows and epochs: mean and correlation as of 4000 independent numbers."""
    values = np.array([[stream(0, "clip", epoch, row).random() for row in range(200)] for epoch in range(20)])
    assert values.mean() == pytest.approx(0.5, abs=4 * 0.289 / np.sqrt(values.size))
    assert abs(np.corrcoef(values[:, :-1].ravel(), values[:, 1:].ravel())[0, 1]) < 4 / np.sqrt(values.size)
    assert abs(np.corrcoef(values[:-1].ravel(), values[1:].ravel())[0, 1]) < 4 / np.sqrt(values.size)


@pytest.mark.parametrize("salt", ["0", "1"])
def test_another_process_draws_the_same(salt):
    """Python salts the hash of texts in every process; these draws must not depend on it."""
    program = "from kinema.core.seeds import stream; print(stream(7, 'clip', 2, 5).integers(2**62, size=4).tolist())"
    told = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONHASHSEED": salt}, capture_output=True, text=True, check=True
    )
    assert told.stdout.strip() == str(list(draws(7, "clip", 2, 5)))


def test_draws_are_those_recorded():
    """A change here changes every seeded run: it is one to announce."""
    assert stream(0, "clip", 0, 0).integers(1000, size=3).tolist() == [582, 73, 56]
