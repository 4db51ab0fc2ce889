"""Which stages a run trains, from which epoch on, and what becomes of the others."""

import pytest
import torch
from safetensors.torch import load_file
from small_runs import SMALL, StoppedError, run, run_whole_and_parted, same, set_up, stop_after, weights
from torch.autograd.graph import saved_tensors_hooks

from kinema.core.errors import UsageError
from kinema.core.progress import Silent
from kinema.models.zoo import create_model
from kinema.training.experiment import train
from kinema.training.freezing import (
    Phase,
    describe_phase,
    describe_training,
    enter_phase,
    phase_at,
    plan_phases,
    trained_share,
)
from kinema.training.recipe import make_config

pytestmark = pytest.mark.usefixtures("no_pictures")

LEARNING = {**SMALL, "lr": 0.01, "optimizer": "adamw", "batch_size": 4}


class Listening(Silent):
    def __init__(self):
        self.lines = []

    def log(self, message):
        self.lines.append(message)


def network_of(name="resnet3d_10", **options):
    with torch.device("meta"):
        return create_model(name, 2, **options)


def config_of(**settings):
    return make_config({"data": "clips", **settings})


def stages_that_moved(job, fresh):
    """Stages whose weights are no longer `fresh`, and those whose batch norm statistics are not."""
    network = create_model("resnet3d_10", 2, **SMALL["model_options"])
    trained = weights(job)
    names = network.parameters_by_stage()
    moved = {stage for stage, own in names.items() if any(not torch.equal(trained[n], fresh[n]) for n in own)}
    norms = {n.split(".")[0] for n in trained if "running" in n and not torch.equal(trained[n], fresh[n])}
    return moved, norms


@pytest.fixture
def fresh():
    torch.manual_seed(0)
    return create_model("resnet3d_10", 2, **SMALL["model_options"]).state_dict()


ALL = {"conv1", "layer1", "layer2", "layer3", "layer4", "fc"}
NORMS = {"bn1", "layer1", "layer2", "layer3", "layer4"}


@pytest.mark.parametrize(
    ("settings", "moved", "norms"),
    [
        ({}, ALL, NORMS),
        ({"train_from": "conv1"}, ALL, NORMS),
        ({"train_from": "layer4"}, {"layer4", "fc"}, {"layer4"}),
        ({"train_from": "layer4", "frozen_batch_norm": "move"}, {"layer4", "fc"}, NORMS),
        ({"train_from": "head"}, {"fc"}, set()),
        ({"train_from": "fc", "weight_decay": 0.5}, {"fc"}, set()),
        ({"train_from": "layer4", "optimizer": "sgd", "weight_decay": 0.1}, {"layer4", "fc"}, {"layer4"}),
    ],
)
def test_only_the_stages_asked_for_learn(job_of, fresh, settings, moved, norms):
    job = job_of(**{**LEARNING, **settings})
    run(job)
    assert stages_that_moved(job, fresh) == (moved, norms)


def test_frozen_stages_leave_autograd_nothing_to_keep(job_of):
    """Not one tensor is saved for the way back before the first trained stage, whatever its batch norms do."""
    for frozen_batch_norm in ("hold", "move"):
        parts = set_up(job_of(frozen_batch_norm, **LEARNING, train_from="layer4", frozen_batch_norm=frozen_batch_norm))
        parts.model.train()
        kept = []
        with saved_tensors_hooks(lambda tensor, kept=kept: kept.append(tensor.shape) or tensor, lambda tensor: tensor):
            features = parts.network.forward_features(torch.zeros(2, 3, 8, 32, 32), until="layer3")
            assert not features.requires_grad
            assert kept == []
            assert parts.network(torch.zeros(2, 3, 8, 32, 32)).requires_grad
            assert kept


@pytest.mark.parametrize("frozen_batch_norm", ["hold", "move"])
def test_frozen_stages_are_not_computed_twice_and_learn_the_same(job_of, frozen_batch_norm):
    settings = {**LEARNING, "train_from": "layer4", "frozen_batch_norm": frozen_batch_norm}
    plain, again = job_of("plain", **settings), job_of("again", **settings, gradient_checkpointing=True)
    run(plain)
    run(again)
    assert same(weights(plain), weights(again))


def stopped_after(monkeypatch, steps, job):
    go_on = stop_after(monkeypatch, steps)
    with pytest.raises(StoppedError):
        run(job)
    go_on()


def test_the_head_learns_first(job_of, fresh, monkeypatch):
    settings = {**LEARNING, "train_from": "layer3", "head_epochs": 1, "val": 0}
    first, both = job_of("first", **{**settings, "save_seconds": 0}, epochs=2), job_of("both", **settings, epochs=2)
    told = Listening()
    stopped_after(monkeypatch, 2, first)
    assert stages_that_moved(first, fresh) == ({"fc"}, set())
    run(both, progress=told)
    assert stages_that_moved(both, fresh) == ({"layer3", "layer4", "fc"}, {"layer3", "layer4"})
    assert [line for line in told.lines if line.startswith("trains")] == [
        "trains 130 of 228,250 parameters: fc; batch norms before it hold still",
        "trains 210,626 of 228,250 parameters: layer3, layer4, fc; batch norms before it hold still",
    ]


def test_head_epochs_are_those_of_a_frozen_run(job_of, monkeypatch):
    """The first epochs are bit for bit those of a run that trains the head alone."""
    alone = job_of("alone", **LEARNING, train_from="layer4", epochs=2)
    head = job_of("head", **LEARNING, head_from="layer4", head_epochs=2, epochs=3, save_seconds=0)
    run(alone)
    stopped_after(monkeypatch, 4, head)
    assert same(weights(alone), weights(head))


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5])
def test_a_run_goes_on_at_any_step_across_the_change(job_of, monkeypatch, optimizer, steps):
    settings = {**LEARNING, "optimizer": optimizer, "momentum": 0.9, "train_from": "layer3", "head_epochs": 1,
                "epochs": 3, "save_seconds": 0, "frozen_batch_norm": "move"}  # fmt: skip
    whole, job = run_whole_and_parted(job_of, monkeypatch, steps=steps, **settings)
    assert same(weights(job), weights(whole))
    assert same(load_file(job.folder.last), load_file(whole.folder.last))


def test_an_unknown_stage_is_refused_before_anything_is_written(tmp_path):
    for setting in ({"train_from": "layer5"}, {"head_from": "layer5", "head_epochs": 1}):
        config = make_config({"data": tmp_path / "none", "model": "resnet3d_18", **setting})
        with pytest.raises(UsageError, match="resnet3d_18 has no such stage; did you mean") as caught:
            train(config, tmp_path / "run")
        assert caught.value.allowed == "conv1, layer1, layer2, layer3, layer4, fc, head"
        assert not (tmp_path / "run").exists()


def test_a_head_does_not_begin_before_what_is_trained():
    config = config_of(train_from="layer4", head_from="layer2", head_epochs=1)
    with pytest.raises(UsageError, match="head_from 'layer2' lies before train_from 'layer4'"):
        plan_phases(network_of(), config)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, (Phase(0, "conv1"),)),
        ({"train_from": "layer2"}, (Phase(0, "layer2"),)),
        ({"head_epochs": 3}, (Phase(0, "fc"), Phase(3, "conv1"))),
        ({"head_epochs": 3, "head_from": "layer4", "train_from": "layer2"}, (Phase(0, "layer4"), Phase(3, "layer2"))),
    ],
)
def test_phases(settings, expected):
    phases = plan_phases(network_of(), config_of(**settings))
    assert phases == expected
    assert [phase_at(phases, epoch) for epoch in (0, 2, 3, 20)] == [phases[0], phases[0], phases[-1], phases[-1]]


@pytest.mark.parametrize(("name", "head"), [("cnn_lstm", "lstm"), ("c3d", "fc6"), ("mvit_v1_b", "head")])
def test_head_stands_for_what_follows_the_features(name, head):
    assert plan_phases(network_of(name), config_of(model=name, train_from="head")) == (Phase(0, head),)


def test_entering_a_phase_again_changes_nothing():
    network, config = network_of(), config_of(train_from="layer4")
    assert [enter_phase(network, Phase(0, stage), config) for stage in ("conv1", "layer4", "layer4", "conv1")] == [
        False, True, False, True,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "start", "norms", "expected"),
    [
        ("resnet3d_18", "conv1", "hold", "trains all 33.2 million parameters"),
        ("resnet3d_18", "layer4", "hold",
         "trains 24.9 of 33.2 million parameters: layer4, fc; batch norms before it hold still"),
        ("resnet3d_18", "layer4", "move",
         "trains 24.9 of 33.2 million parameters: layer4, fc; batch norms before it move on"),
        ("resnet3d_18", "fc", "hold", "trains 1,026 of 33.2 million parameters: fc; batch norms before it hold still"),
        ("i3d", "Mixed_3b", "hold",
         "trains 11.9 of 12.3 million parameters: Mixed_3b to logits; batch norms before it hold still"),
        ("mvit_v1_b", "head", "hold", "trains 1,538 of 36.3 million parameters: head"),
    ],
)  # fmt: skip
def test_what_is_trained_is_counted(name, start, norms, expected):
    network, config = network_of(name), config_of(model=name, frozen_batch_norm=norms)
    enter_phase(network, plan_phases(network, config_of(model=name, train_from=start))[0], config)
    assert describe_phase(network, config) == expected
    assert trained_share(network)[1] == sum(parameter.numel() for parameter in network.parameters())


def test_weights_say_what_was_trained():
    told = describe_training(config_of(train_from="layer4", head_epochs=2), 5)
    assert told == (
        "2,565 of 33.2 million parameters: fc; batch norms before it hold still; after 2 epochs "
        "24.9 of 33.2 million parameters: layer4, fc; batch norms before it hold still"
    )
    assert describe_training(config_of(), 5) == "all 33.2 million parameters"
