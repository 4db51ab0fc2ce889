import pytest

from kinema.training.recipe import make_config
from kinema.training.schedule import Plateau, learning_rate


def config(**settings):
    return make_config({"data": "clips", "lr": 1.0, "epochs": 10, **settings})


@pytest.mark.parametrize(
    ("settings", "epochs_done", "expected"),
    [
        ({"schedule": "constant"}, 9.5, 1.0),
        ({"schedule": "cosine"}, 0, 1.0),
        ({"schedule": "cosine"}, 5, 0.5),
        ({"schedule": "cosine"}, 10, 0.0),
        ({"schedule": "cosine", "warmup": 0.2}, 0, 0.01),
        ({"schedule": "cosine", "warmup": 0.2}, 1, 0.505),
        ({"schedule": "cosine", "warmup": 0.2}, 2, 1.0),
        ({"schedule": "cosine", "warmup": 0.2}, 6, 0.5),
        ({"schedule": "multistep", "milestones": [3, 6]}, 2.99, 1.0),
        ({"schedule": "multistep", "milestones": [3, 6]}, 3, 0.1),
        ({"schedule": "multistep", "milestones": [3, 6]}, 9, 0.01),
        ({"schedule": "multistep", "milestones": [3], "gamma": 0.5}, 4, 0.5),
    ],
)
def test_learning_rate(settings, epochs_done, expected):
    assert learning_rate(config(**settings), epochs_done) == pytest.approx(expected)


def test_plateau_divides_after_patience_and_survives_interruption():
    plateau = Plateau(patience=1, gamma=0.1)
    for loss in (1.0, 0.9, 0.95, 0.95):
        plateau.observe(loss)
    assert plateau.factor == pytest.approx(0.1)
    resumed = Plateau(patience=1, gamma=0.1)
    resumed.restore(plateau.remember())
    for one in (plateau, resumed):
        one.observe(0.8)
        one.observe(0.85)
    assert resumed == plateau
    assert learning_rate(config(schedule="plateau"), 5, plateau_factor=plateau.factor) == pytest.approx(0.1)
