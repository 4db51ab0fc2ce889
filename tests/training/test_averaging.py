"""The average of the weights: its values, where it is used, and that it survives an interruption."""

import pytest
import torch
from safetensors.torch import load_file
from small_runs import SMALL, StoppedError, run, run_whole_and_parted, same, weights
from torch import nn

from kinema.inference.predictor import Predictor
from kinema.training import loop, validation
from kinema.training.averaging import WeightAverage

pytestmark = pytest.mark.usefixtures("no_pictures")


def averaged(decay, values, *, dtype=torch.float32):
    """One weight that takes `values` one after the other, and its average after each."""
    network = nn.Linear(1, 1, bias=False).to(dtype)
    nn.init.constant_(network.weight, values[0])
    average = WeightAverage(network, torch.optim.SGD(network.parameters(), lr=1), decay)
    seen = []
    for value in values[1:]:
        nn.init.constant_(network.weight, value)
        average.update()
        with average.in_place():
            seen.append(network.weight.item())
        assert network.weight.item() == value
    return seen


def test_an_average_forgets_its_beginning_soon_and_then_keeps_its_share():
    """After steps 1, 2, 3 it keeps 2/11, 3/12 and 4/13 of itself, and never more than its decay."""
    first = 1 * 2 / 11 + 5 * 9 / 11
    second = first * 3 / 12 + 3 * 9 / 12
    assert averaged(0.9, [1.0, 5.0, 3.0, 2.0]) == pytest.approx([first, second, second * 4 / 13 + 2 * 9 / 13])
    assert averaged(0.1, [1.0, 5.0, 3.0]) == pytest.approx([1 * 0.1 + 5 * 0.9, (1 * 0.1 + 5 * 0.9) * 0.1 + 3 * 0.9])
    assert abs(averaged(0.9999, [1e6, *[0.0] * 20])[-1]) < 1
    late = averaged(0.75, [0.0] * 40 + [1.0, 1.0])
    assert late[-2:] == pytest.approx([0.25, 0.25 * 0.75 + 0.25])


def test_averages_are_kept_in_float32():
    """Steps too small for bfloat16 to add up are not lost."""
    network = nn.Linear(1, 1, bias=False).to(torch.bfloat16)
    nn.init.constant_(network.weight, 1.0)
    average = WeightAverage(network, torch.optim.SGD(network.parameters(), lr=1), 0.999)
    average.update()
    assert {tensor.dtype for tensor in average.remember()["averages"].values()} == {torch.float32}


def test_what_no_optimizer_changes_needs_no_average():
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    average = WeightAverage(network, torch.optim.SGD(network[0].parameters(), lr=1), 0.9)
    assert set(average.remember()["averages"]) == {"0.weight", "0.bias"}


def test_an_error_within_leaves_the_weights_as_they_were():
    network = nn.Linear(1, 1)
    average = WeightAverage(network, torch.optim.SGD(network.parameters(), lr=1), 0.9)
    nn.init.constant_(network.weight, 7.0)
    with pytest.raises(StoppedError), average.in_place():
        raise StoppedError
    assert network.weight.item() == 7


LEARNING = {**SMALL, "lr": 0.01, "optimizer": "adamw", "batch_size": 2, "epochs": 2, "ema": 0.9, "save_seconds": 0}


def test_the_average_is_what_is_tested_and_kept(job_of, monkeypatch):
    tested = []

    def score(predictor, *_, **__):
        assert isinstance(predictor, Predictor)
        tested.append({name: tensor.clone() for name, tensor in predictor.model.state_dict().items()})
        return original(predictor, *_, **__)

    original = validation.score_videos
    monkeypatch.setattr(validation, "score_videos", score)
    job = job_of(**LEARNING, val=3)
    run(job)
    kept, learnt = load_file(job.folder.last), weights(job)
    remembered = torch.load(job.folder.state, weights_only=True)["average"]
    assert remembered["steps"] == 8
    for name, tensor in learnt.items():
        expected = remembered["averages"].get(name, tensor)  # buffers are the network's own
        assert torch.equal(kept[name], expected)
        assert torch.equal(tested[-1][name], expected)
    assert not torch.equal(kept["fc.weight"], learnt["fc.weight"])
    assert not torch.equal(learnt["bn1.running_mean"], torch.zeros_like(learnt["bn1.running_mean"]))


def test_averaging_does_not_touch_the_course(job_of):
    plain, averaging = job_of("plain", **{**LEARNING, "ema": 0}, val=3), job_of("averaging", **LEARNING, val=3)
    run(plain)
    run(averaging)
    assert same(weights(plain), weights(averaging))
    assert torch.load(plain.folder.state, weights_only=True)["average"] is None


@pytest.mark.parametrize("steps", [1, 4, 6])
def test_a_resumed_average_is_the_same_to_the_last_bit(job_of, monkeypatch, steps):
    settings = {**LEARNING, "head_epochs": 1, "val": 3}
    whole, job = run_whole_and_parted(job_of, monkeypatch, steps=steps, **settings)
    for file in ("best", "last"):
        assert same(load_file(getattr(job.folder, file)), load_file(getattr(whole.folder, file)))
    assert same(*(torch.load(each.folder.state, weights_only=True)["average"]["averages"] for each in (job, whole)))


@pytest.mark.usefixtures("plain")
def test_an_average_over_steps_by_hand(job_of, monkeypatch):
    """Of the weights after each of four steps, with the shares of the first four."""
    courses, step = [], loop._step

    def noted(job, parts, *rest):
        step(job, parts, *rest)
        courses.append(parts.network.fc.weight.detach().clone())

    monkeypatch.setattr(loop, "_step", noted)
    job = job_of(epochs=1, batch_size=2, ema=0.25)
    first = None
    run(job)
    torch.manual_seed(0)
    first = nn.Linear(12, 2).weight.detach()
    for keep, after in zip((2 / 11, 0.25, 0.25, 0.25), courses, strict=True):
        first = first * keep + after * (1 - keep)
    kept = torch.load(job.folder.state, weights_only=True)["average"]["averages"]["fc.weight"]
    torch.testing.assert_close(kept, first)
