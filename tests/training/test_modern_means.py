"""The modern means of training together: they repeat, go on exactly, and each of them tells."""

import pytest
import torch
from safetensors.torch import load_file
from small_runs import SMALL, StoppedError, run, same, stop_after, weights

from kinema.core.errors import UsageError
from kinema.training import parts
from kinema.training.experiment import train
from kinema.training.recipe import make_config

pytestmark = pytest.mark.usefixtures("no_pictures")

ALL = {
    **SMALL, "lr": 0.01, "optimizer": "adamw", "batch_size": 2, "accumulate": 2, "epochs": 3, "val": 3,
    "train_from": "layer1", "frozen_batch_norm": "move", "head_epochs": 1, "head_from": "layer4", "layer_decay": 0.7,
    "ema": 0.9, "early_stopping": 3, "mixup": 0.4, "cutmix": 1.0, "rand_augment": 2, "rand_augment_magnitude": 12,
    "drop_path": 0.3, "class_weights": "balanced", "flip": 0.5, "save_seconds": 0,
}  # fmt: skip


@pytest.mark.parametrize(
    ("steps", "workers"), [(1, 0), (3, 0), (5, 0), pytest.param(3, 2, marks=pytest.mark.slow)], ids=str
)
def test_with_all_of_them_a_run_goes_on_to_the_last_bit(job_of, monkeypatch, workers, steps):
    whole, job = job_of("whole", **ALL, workers=workers), job_of("parts", **ALL, workers=workers)
    expected = run(whole)
    go_on = stop_after(monkeypatch, steps)
    with pytest.raises(StoppedError):
        run(job)
    go_on()
    found = run(job, resume=True)
    assert same(weights(job), weights(whole))
    for file in ("best", "last"):
        assert same(load_file(getattr(job.folder, file)), load_file(getattr(whole.folder, file)))
    assert [row.train_loss for row in found.rows] == [row.train_loss for row in expected.rows]


@pytest.mark.parametrize(
    "change",
    [
        {"cutmix": 0},
        {"mixup": 0},
        {"rand_augment": 0},
        {"rand_augment_magnitude": 25},
        {"drop_path": 0},
        {"layer_decay": 1},
        {"class_weights": "none"},
        {"seed": 1},
        {"frozen_batch_norm": "hold"},
    ],
    ids=str,
)
def test_each_of_them_tells(job_of, change):
    one, other = job_of("one", **ALL), job_of("other", **{**ALL, **change})
    run(one)
    run(other)
    assert not same(weights(one), weights(other))


def test_recomputed_stages_change_nothing(job_of):
    one, other = job_of("one", **ALL), job_of("other", **ALL, gradient_checkpointing=True)
    run(one)
    run(other)
    assert same(weights(one), weights(other))


def test_networks_without_shortcuts_are_refused_before_anything_is_written(tmp_path):
    config = make_config({"data": tmp_path / "none", "model": "i3d", "drop_path": 0.1})
    with pytest.raises(UsageError, match="i3d has no residual blocks that a clip could skip"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_blocks_are_skipped_one_way():
    with pytest.raises(UsageError, match="drop_path and the network's option stochastic_depth say the same"):
        make_config(
            {"data": "clips", "model": "mvit_v2_s", "model_options": {"stochastic_depth": 0.1}, "drop_path": 0.2}
        )


def test_weights_of_such_a_run_are_those_of_any_other(job_of):
    one, other = job_of("one", **{**ALL, "epochs": 2}), job_of("other", **SMALL)
    run(one)
    run(other)
    assert {name: tensor.shape for name, tensor in load_file(one.folder.best).items()} == {
        name: tensor.shape for name, tensor in load_file(other.folder.best).items()
    }


def test_skipped_blocks_are_those_of_the_configuration(job_of, monkeypatch):
    asked = []
    monkeypatch.setattr(parts, "drop_paths", lambda _, probability: asked.append(probability))
    run(job_of("none", **SMALL))
    run(job_of("some", **SMALL, drop_path=0.25))
    assert asked == [0.25]


def test_settings_that_say_nothing_or_twice_the_same_are_refused():
    for settings, words in (
        ({"head_epochs": 30, "epochs": 30}, "head_epochs leave no epoch for the rest"),
        ({"layer_decay": 0.8, "backbone_lr": 0.1}, "both lower the rate of earlier stages"),
        ({"head_from": "layer4"}, "head_from without head_epochs or backbone_lr"),
    ):
        with pytest.raises(UsageError, match=words):
            make_config({"data": "clips", **settings})
    make_config({"data": "clips", "head_from": "layer4", "backbone_lr": 0.1})


def test_torch_is_seeded_for_all_that_draws_in_the_network(job_of):
    """Whatever was drawn before, a step draws the same."""
    one, other = job_of("one", **ALL), job_of("other", **ALL)
    run(one)
    torch.rand(17)
    run(other)
    assert same(weights(one), weights(other))
