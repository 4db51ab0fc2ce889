import numpy as np
import pytest
import torch
from torch.optim import SGD
from torch.optim.lr_scheduler import ReduceLROnPlateau

from kinema.training.recipe import make_config
from kinema.training.schedule import Plateau, Timetable, learning_rate

STEPPED = {"schedule": "piecewise", "milestones": [3, 6], "rates": [0.25, 0.75]}


def config(**settings):
    return make_config({"data": "clips", "lr": 1.0, "epochs": 10, **settings})


@pytest.mark.parametrize(
    ("settings", "done", "expected"),
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
        (STEPPED, 0, 1.0),
        (STEPPED, 2.99, 1.0),
        (STEPPED, 3, 0.25),
        (STEPPED, 6, 0.75),  # rates may rise again
        ({**STEPPED, "warmup": 0.2}, 1, 0.505),
        ({**STEPPED, "warmup": 0.2}, 4, 0.25),
        ({"schedule": "cosine", "total_steps": 1000}, 500, 0.5),
        ({"schedule": "cosine", "total_steps": 1000, "warmup": 0.1}, 50, 0.505),
        ({"schedule": "multistep", "milestones": [300], "total_steps": 1000}, 299, 1.0),
        ({"schedule": "multistep", "milestones": [300], "total_steps": 1000}, 300, 0.1),
        ({**STEPPED, "total_steps": 1000}, 5, 0.25),
    ],
)
def test_learning_rate(settings, done, expected):
    assert learning_rate(config(**settings), done) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("total_steps", "steps"),
    [(None, [4] * 10), (1, [1]), (4, [4]), (5, [4, 1]), (8, [4, 4]), (11, [4, 4, 3])],
)
def test_a_run_has_as_many_steps_as_asked(total_steps, steps):
    table = Timetable(config(total_steps=total_steps), 4)
    assert [table.steps(epoch) for epoch in range(table.epochs)] == steps


def test_time_is_counted_in_epochs_or_in_steps():
    by_epoch = Timetable(config(schedule="multistep", milestones=[2]), 4)
    by_step = Timetable(config(schedule="multistep", milestones=[6], total_steps=11), 4)
    for epoch, step in np.ndindex(3, 4):
        assert by_epoch.rate(epoch, step) == pytest.approx(1.0 if epoch < 2 else 0.1)
        assert by_step.rate(epoch, step) == pytest.approx(1.0 if 4 * epoch + step < 6 else 0.1)
    assert by_step.rate(0, 0, plateau_factor=0.1) == 1.0
    assert Timetable(config(schedule="plateau"), 4).rate(3, 0, plateau_factor=0.1) == pytest.approx(0.1)


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


@pytest.mark.parametrize("patience", [0, 2, 10])
def test_plateau_decides_as_torch_does(patience):
    """With losses that fall by less and by more than torch's threshold, rise, tie, and are no numbers."""
    optimizer = SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    theirs, ours = ReduceLROnPlateau(optimizer, "min", patience=patience), Plateau(patience, 0.1)
    rng, loss = np.random.default_rng(patience), 2.0
    for number in range(60):
        loss *= float(rng.choice([1 - 5e-3, 1 - 2e-4, 1 - 5e-5, 1.0, 1.01]))
        told = float("nan") if number == 7 else loss
        theirs.step(told)
        ours.observe(told)
        rate = 0.1 * ours.factor
        if rate < 1e-7:  # torch leaves such rates alone
            break
        assert optimizer.param_groups[0]["lr"] == pytest.approx(rate)
        assert ours.waited == theirs.num_bad_epochs
    assert number > 5
    assert ours.factor < 1
