"""Micro-batches that add up to one batch: the same clips, changed alike, and one update of the weights."""

import pytest
from small_runs import SMALL, distance, fresh, run, same, set_up, weights

pytestmark = pytest.mark.usefixtures("no_pictures")

# What is drawn for a clip follows from its place in the step, so it is the same in both.
AUGMENTED = {"crop": "random-resized", "flip": 0.5, "brightness": 0.4, "hue": 0.2}


def both(job_of, batch_size, accumulate, **settings):
    """One run with batches of all clips of a step and one with micro-batches; the losses of their last epochs."""
    whole = job_of("whole", **settings, batch_size=batch_size * accumulate, epochs=3)
    parts = job_of("parts", **settings, batch_size=batch_size, accumulate=accumulate, epochs=3)
    return whole, parts, run(whole).rows[-1].train_loss, run(parts).rows[-1].train_loss


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize(("batch_size", "accumulate"), [(4, 2), (2, 4), (1, 8)])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        AUGMENTED,
        {"clip_grad_norm": 0.02},
        {"class_weights": "balanced"},
        {"class_weights": "balanced", "label_smoothing": 0.1},
        {"optimizer": "adamw", "lr": 0.01, "ema": 0.9},
    ],
)
def test_micro_batches_add_up_to_one_batch(job_of, batch_size, accumulate, settings):
    whole, parts, loss, same_loss = both(job_of, batch_size, accumulate, **settings)
    assert same_loss == pytest.approx(loss, rel=1e-5)
    assert distance(weights(whole), weights(parts)) < 1e-5
    assert distance(weights(whole), fresh()) > 1e-2


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize(("batch_size", "accumulate"), [(3, 2), (2, 3), (1, 5)])
def test_clips_left_over_are_left_out_alike(job_of, batch_size, accumulate):
    """Eight clips are one step of six or of five; the others come in other epochs."""
    whole, parts, loss, same_loss = both(job_of, batch_size, accumulate, **AUGMENTED)
    assert same_loss == pytest.approx(loss, rel=1e-5)
    assert distance(weights(whole), weights(parts)) < 1e-5


@pytest.mark.usefixtures("plain")
def test_steps_of_the_same_clips_one_by_one_are_another_course(job_of):
    whole, single = job_of("whole", batch_size=8, epochs=3), job_of("single", batch_size=2, epochs=3)
    run(whole)
    run(single)
    assert distance(weights(whole), weights(single)) > 1e-3


def test_batch_norms_that_hold_still_add_up_too(job_of):
    settings = {**SMALL, **AUGMENTED, "train_from": "fc", "frozen_batch_norm": "hold", "lr": 0.1}
    whole, parts, loss, same_loss = both(job_of, 2, 4, **settings)
    assert same_loss == pytest.approx(loss, rel=1e-5)
    assert distance(of_floats(weights(whole)), of_floats(weights(parts))) < 1e-5


def test_batch_norms_that_train_see_micro_batches_and_do_not_add_up(job_of):
    """They normalise by the clips that are in the network at once, which are fewer: this is as large as it gets."""
    whole, parts, loss, other = both(job_of, 2, 4, **SMALL, **AUGMENTED)
    assert distance(of_floats(weights(whole)), of_floats(weights(parts))) > 1e-2
    assert other != pytest.approx(loss, rel=1e-5)


def of_floats(tensors):
    return {name: tensor for name, tensor in tensors.items() if tensor.is_floating_point()}


@pytest.mark.usefixtures("plain")
def test_more_micro_batches_than_there_are_make_one_step(job_of):
    job, exact = job_of(batch_size=2, accumulate=100, epochs=2), job_of("exact", batch_size=2, accumulate=4, epochs=2)
    assert (set_up(job).accumulate, set_up(job).steps) == (4, 1)
    run(job)
    run(exact)
    assert same(weights(job), weights(exact))


@pytest.mark.usefixtures("plain")
def test_what_is_clipped_is_the_sum_of_micro_batches(job_of):
    job = job_of(batch_size=2, accumulate=4, clip_grad_norm=0.01)
    run(job)
    assert distance(weights(job), fresh()) == pytest.approx(0.5 * 0.01, rel=1e-3)
