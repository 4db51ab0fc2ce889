"""Runs that end before their time because validation gets no better."""

from pathlib import Path

import pytest
from small_runs import SMALL, run, run_whole_and_parted, same, table, validating, weights

from kinema.core.errors import UsageError
from kinema.core.progress import Silent
from kinema.training.checkpoint import EpochRow
from kinema.training.recipe import make_config
from kinema.training.stopping import best_epoch, describe_close, describe_end, ended_early

pytestmark = pytest.mark.usefixtures("no_pictures")


class Listening(Silent):
    def __init__(self):
        self.lines = []

    def log(self, message):
        self.lines.append(message)


def rows(*figures):
    """Rows of (video accuracy, loss)."""
    return [EpochRow(n, 1.0, 0.5, loss, 0.5, accuracy, 0.1, 9.0) for n, (accuracy, loss) in enumerate(figures, 1)]


def config_of(**settings):
    return make_config({"data": "clips", "epochs": 30, **settings})


def test_the_best_epoch_is_the_one_whose_weights_are_kept():
    assert best_epoch(rows((0.5, 1.0), (0.7, 2.0), (0.7, 1.5), (0.7, 1.5), (0.6, 0.1))) == 3


@pytest.mark.parametrize(
    ("figures", "settings", "ended"),
    [
        ([(0.5, 1.0), (0.5, 1.1), (0.5, 1.2)], {"early_stopping": 2}, True),
        ([(0.5, 1.0), (0.5, 1.1), (0.5, 0.9)], {"early_stopping": 2}, False),  # a lower loss is better, too
        ([(0.5, 1.0), (0.5, 1.0), (0.5, 1.0)], {"early_stopping": 2}, True),  # the same is no better
        ([(0.5, 1.0), (0.4, 0.1)], {"early_stopping": 2}, False),
        ([(0.5, 1.0), (0.4, 0.1)], {"early_stopping": 1}, True),
        ([(0.5, 1.0)] * 20, {}, False),
        ([], {"early_stopping": 1}, False),
        ([(0.5, 1.0)] * 5, {"early_stopping": 2, "head_epochs": 4}, False),  # one epoch with all of the network
        ([(0.5, 1.0)] * 6, {"early_stopping": 2, "head_epochs": 4}, True),
        ([(0.5, 1.0)] * 3, {"early_stopping": 2, "head_epochs": 4}, False),
    ],
)
def test_when_a_run_ends(figures, settings, ended):
    assert ended_early(config_of(**settings), rows(*figures)) is ended


def test_the_line_that_says_why():
    told = describe_end(config_of(early_stopping=2), rows((0.5, 1.0), (0.5, 1.1), (0.5, 1.2)))
    assert told == "ended after epoch 3: the last 2 epochs validated no better than epoch 1"


FLAT = [[0.6] * 3, [0.7] * 3, [0.6] * 3, [0.6] * 3, [0.6] * 3]


@pytest.mark.usefixtures("plain")
def test_a_run_that_gets_no_better_ends(job_of, monkeypatch):
    validating(monkeypatch, *FLAT)
    job, told = job_of(val=3, epochs=5, early_stopping=2), Listening()
    run(job, progress=told)
    assert len(table(job)) == 4
    assert told.lines[-1].startswith("ended after epoch 4: the last 2 epochs validated no better than epoch 2; weights")


@pytest.mark.usefixtures("plain")
def test_a_run_that_ended_stays_ended(job_of, monkeypatch):
    validating(monkeypatch, *FLAT)
    job = job_of(val=3, epochs=5, early_stopping=2)
    run(job)
    before = weights(job)
    state = run(job, resume=True)
    assert (len(table(job)), state.epoch) == (4, 4)
    assert same(weights(job), before)


@pytest.mark.usefixtures("plain")
def test_an_interrupted_run_ends_where_the_other_ended(job_of, monkeypatch):
    settings = {"val": 3, "epochs": 5, "early_stopping": 2, "save_seconds": 0}
    whole, job = run_whole_and_parted(job_of, monkeypatch, *FLAT, **settings)
    assert len(table(job)) == len(table(whole)) == 4
    assert same(weights(job), weights(whole))


@pytest.mark.parametrize("settings", [{"val_fraction": 0}, {"folds": 3}])
def test_there_must_be_something_to_watch(settings):
    with pytest.raises(UsageError, match="early_stopping watches the validation"):
        config_of(early_stopping=2, **settings)


@pytest.mark.usefixtures("plain")
def test_what_is_watched_must_be_there(job_of):
    with pytest.raises(UsageError, match="early_stopping 2, but there are no validation videos"):
        run(job_of(early_stopping=2, epochs=5))
    with pytest.raises(UsageError, match="schedule 'plateau', but there are no validation videos"):
        run(job_of("other", schedule="plateau", epochs=5))


def test_a_run_is_not_over_before_all_of_the_network_is_trained(job_of):
    settings = {**SMALL, "total_steps": 4, "batch_size": 2}  # an epoch has four
    with pytest.raises(UsageError, match="head_epochs 1, but total_steps 4 are 1 epochs"):
        run(job_of(head_epochs=1, **settings))
    run(job_of("longer", head_epochs=1, **{**settings, "total_steps": 5}))


def test_a_run_says_in_a_line_how_it_ended_and_where_its_weights_lie():
    best = Path("run/best.safetensors")
    watched = rows((0.5, 1.0), (0.75, 1.1), (0.5, 1.2))
    assert describe_close(config_of(), watched, best) == (
        "ended after epoch 3, the last; the best was epoch 2; weights in run/best.safetensors"
    )
    early = describe_close(config_of(early_stopping=1), watched, best)
    assert early == f"{describe_end(config_of(early_stopping=1), watched)}; weights in run/best.safetensors"
    blind = [EpochRow(1, 0.5, 0.5, None, None, None, 0.1, 5.0)]
    assert describe_close(config_of(), blind, best) == "ended after epoch 1, the last; weights in run/best.safetensors"
