"""What the loop makes of the rate, of validation and of the best epoch."""

import numpy as np
import pytest
from safetensors.torch import load_file
from small_runs import SMALL, distance, fresh, keep_last, rates, run, same, table, validating, weights

from kinema.core.progress import Silent
from kinema.evaluation.protocol import ScoredVideo
from kinema.training import validation

pytestmark = pytest.mark.usefixtures("no_pictures")


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"epochs": 2}, [0.5, 0.5]),
        ({"epochs": 4, "schedule": "multistep", "milestones": [1, 3], "gamma": 0.1}, [0.5, 0.05, 0.05, 0.005]),
        # Two steps an epoch: the last begins in the middle of it.
        ({"epochs": 3, "warmup": 2 / 3}, [0.5 * (0.01 + 0.99 * 0.25), 0.5 * (0.01 + 0.99 * 0.75), 0.5]),
        ({"epochs": 2, "schedule": "cosine"}, [0.25 * (1 + np.cos(np.pi / 4)), 0.25 * (1 + np.cos(3 * np.pi / 4))]),
    ],
)
def test_the_rate_follows_its_schedule(job_of, settings, expected):
    job = job_of(**settings)
    run(job)
    assert rates(job) == pytest.approx(expected)


@pytest.mark.usefixtures("plain")
def test_a_rate_of_next_to_nothing_moves_next_to_nothing(job_of):
    """The rate in the table is the one that is used."""
    job = job_of(warmup=0.5, epochs=2, batch_size=8, save_seconds=0)
    moves = []

    class Watching(Silent):
        def log(self, message):
            if message.startswith("epoch"):
                moves.append(weights(job))

    run(job, progress=Watching())
    first, second = distance(moves[0], fresh()), distance(moves[1], moves[0])
    assert first == pytest.approx(second * 0.01, rel=0.2)


@pytest.mark.usefixtures("plain")
def test_a_plateau_lowers_the_rate(job_of, monkeypatch):
    worse = [0.6, 0.6, 0.6]
    validating(monkeypatch, [0.7] * 3, worse, worse, [0.8] * 3, worse, worse, worse)
    job = job_of(val=3, schedule="plateau", patience=1, gamma=0.1, epochs=7)
    run(job)
    assert rates(job) == pytest.approx([0.5, 0.5, 0.5, 0.05, 0.05, 0.05, 0.005])
    assert float(table(job)[0]["val_loss"]) == pytest.approx(-np.log(0.7), rel=1e-5)


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize(("asked", "hop"), [({}, 1), ({"eval_hop": 2}, 2)])
def test_validation_windows_are_as_far_apart_as_asked(job_of, monkeypatch, asked, hop):
    seen, score = [], validation.score_videos

    def noted(*given, views, **named):
        seen.append(views.hop(2))
        return score(*given, views=views, **named)

    monkeypatch.setattr(validation, "score_videos", noted)
    run(job_of(val=3, **asked))
    assert seen == [hop]


@pytest.mark.usefixtures("plain")
def test_validation_is_told_at_every_level(job_of, monkeypatch):
    clips = [np.array(rows, np.float32) for rows in ([[0.9, 0.1], [0.4, 0.6]], [[0.2, 0.8]], [[0.7, 0.3]])]
    monkeypatch.setattr(validation, "score_videos", lambda _, videos, **__: tuple(map(ScoredVideo, videos, clips)))
    (row,) = run(job_of(val=3)).rows  # of classes a, a and b
    assert row.val_video_accuracy == pytest.approx(1 / 3)
    assert row.val_clip_accuracy == pytest.approx(1 / 4)
    assert row.val_loss == pytest.approx(-np.log([0.9, 0.4, 0.2, 0.3]).mean(), rel=1e-5)


@pytest.mark.parametrize(
    ("epochs", "best"),
    [
        ([[0.4] * 3, [0.9] * 3, [0.9, 0.9, 0.4]], 1),  # accuracy falls again
        ([[0.8] * 3, [0.9] * 3, [0.7] * 3], 1),  # all right each time: the loss decides
        ([[0.99, 0.99, 0.45], [0.6] * 3, [0.99, 0.99, 0.45]], 1),  # accuracy before loss
        ([[0.9] * 3, [0.9] * 3, [0.9] * 3], 0),  # the first among equals
    ],
)
def test_the_best_weights_are_those_of_the_best_epoch(job_of, monkeypatch, epochs, best):
    validating(monkeypatch, *epochs)
    job = job_of(val=3, epochs=3, save_seconds=0, **SMALL)
    kept = []
    run(job, progress=keep_last(job, kept))
    found = load_file(job.folder.best)
    assert [same(found, each) for each in kept] == [number == best for number in range(3)]
    assert not same(kept[0], kept[1])


def test_without_validation_the_last_epoch_is_the_best(job_of):
    job = job_of(epochs=2, save_seconds=0, **SMALL)
    kept = []
    run(job, progress=keep_last(job, kept))
    assert same(load_file(job.folder.best), kept[1])
    assert same(load_file(job.folder.last), kept[1])
    assert not same(kept[0], kept[1])


def test_validation_leaves_no_trace_in_training(job_of):
    """Batch norm learns from training clips alone, and training goes on in training mode."""
    watched, blind = job_of("watched", val=3, epochs=2, **SMALL), job_of("blind", epochs=2, **SMALL)
    assert run(watched).rows[1].val_loss is not None
    run(blind)
    assert same(weights(watched), weights(blind))
