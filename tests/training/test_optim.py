"""Which parameters are trained, and which of them decay."""

from typing import ClassVar

import pytest
import torch
from torch import nn

from kinema.models.model import VideoModel
from kinema.models.zoo import create_model
from kinema.training.optim import build_optimizer, rate_shares, set_rate
from kinema.training.recipe import make_config


class Network(VideoModel):
    """One of each kind of parameter: a kernel, batch norm, a matrix and its bias, and one that is frozen."""

    trunk: ClassVar = {"frozen": ("frozen",), "conv": ("conv", "norm")}
    top: ClassVar = ("fc",)
    heads: ClassVar = ("fc",)

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv3d(3, 4, 3, bias=False)
        self.norm = nn.BatchNorm3d(4)
        self.fc = nn.Linear(4, 2)
        self.frozen = nn.Linear(4, 4)
        self.frozen.requires_grad_(requires_grad=False)

    def forward_head(self, features):
        return self.fc(features)


def build(**settings):
    network = Network()
    return network, build_optimizer(network, make_config({"data": "clips", **settings}))


def decays(network, optimizer):
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    return {names[id(p)]: group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}


def test_adamw_decays_weights_and_no_biases_or_norms():
    network, optimizer = build(optimizer="adamw", weight_decay=0.3, lr=0.02)
    assert isinstance(optimizer, torch.optim.AdamW)
    assert decays(network, optimizer) == {
        "conv.weight": 0.3, "fc.weight": 0.3, "norm.weight": 0.0, "norm.bias": 0.0, "fc.bias": 0.0,
    }  # fmt: skip
    assert {group["lr"] for group in optimizer.param_groups} == {0.02}


def test_sgd_decays_all_that_is_trained():
    network, optimizer = build(optimizer="sgd", weight_decay=0.3, lr=0.02, momentum=0.8, nesterov=True)
    assert isinstance(optimizer, torch.optim.SGD)
    assert decays(network, optimizer) == dict.fromkeys(
        ["conv.weight", "norm.weight", "norm.bias", "fc.weight", "fc.bias"], 0.3
    )
    (group,) = optimizer.param_groups
    assert (group["lr"], group["momentum"], group["dampening"], group["nesterov"]) == (0.02, 0.8, 0.0, True)


@pytest.mark.parametrize(
    ("settings", "bias", "weight"),
    [
        ({"optimizer": "sgd", "momentum": 0.0}, 1 - 0.1 * 0.5, 1 - 0.1 * 0.5),
        ({"optimizer": "adamw"}, 1.0, 1 - 0.1 * 0.5),
    ],
)
def test_decay_shrinks_what_it_should(settings, bias, weight):
    """Without any gradient a step at rate 0.1 and decay 0.5 takes a twentieth."""
    network, optimizer = build(lr=0.1, weight_decay=0.5, **settings)
    for parameter in network.parameters():
        nn.init.ones_(parameter)
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    assert network.fc.bias[0].item() == pytest.approx(bias)
    assert network.conv.weight[0, 0, 0, 0, 0].item() == pytest.approx(weight)
    assert network.frozen.weight[0, 0].item() == 1


def test_dampening_slows_sgd():
    _, optimizer = build(optimizer="sgd", momentum=0.9, dampening=0.9)
    assert optimizer.param_groups[0]["dampening"] == 0.9


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize(
    ("settings", "fused"),
    [({}, True), ({"fused": False}, False), ({"precision": "16-mixed"}, False), ({"precision": "bf16-mixed"}, True)],
)
def test_steps_are_fused_wherever_they_can_be(optimizer, settings, fused):
    _, built = build(optimizer=optimizer, **settings)
    assert {group["fused"] for group in built.param_groups} == {fused}


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_fused_steps_are_the_same_steps(optimizer):
    ends = []
    for fused in (False, True):
        torch.manual_seed(0)
        network, built = build(optimizer=optimizer, fused=fused, lr=0.1, weight_decay=0.1, momentum=0.9)
        for _ in range(3):
            for parameter in network.parameters():
                parameter.grad = parameter.detach().sin()
            built.step()
        ends.append(network.state_dict())
    for name, tensor in ends[0].items():
        torch.testing.assert_close(ends[1][name], tensor)


def rates(network, optimizer):
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    return {names[id(p)]: group["lr"] for group in optimizer.param_groups for p in group["params"]}


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_each_stage_has_its_share_of_the_rate(optimizer):
    """Three stages: frozen, conv and fc; the classifier has all of it, and is the first group."""
    network, built = build(optimizer=optimizer, lr=0.1, layer_decay=0.5)
    expected = {"conv.weight": 0.05, "norm.weight": 0.05, "norm.bias": 0.05, "fc.weight": 0.1, "fc.bias": 0.1}
    assert rates(network, built) == expected
    set_rate(built, 0.02)
    assert rates(network, built) == pytest.approx({name: rate / 5 for name, rate in expected.items()})
    assert built.param_groups[0]["lr"] == 0.02


def test_shares_by_hand():
    with torch.device("meta"):
        network = create_model("resnet3d_18", 2)
    shares = rate_shares(network, make_config({"data": "clips", "layer_decay": 0.75}))
    assert shares == {
        "conv1": 0.75**5, "layer1": 0.75**4, "layer2": 0.75**3, "layer3": 0.75**2, "layer4": 0.75, "fc": 1.0,
    }  # fmt: skip
    backbone = rate_shares(network, make_config({"data": "clips", "backbone_lr": 0.1}))
    assert backbone == {"conv1": 0.1, "layer1": 0.1, "layer2": 0.1, "layer3": 0.1, "layer4": 0.1, "fc": 1.0}
    deeper = rate_shares(network, make_config({"data": "clips", "backbone_lr": 0.1, "head_from": "layer4"}))
    assert [stage for stage, share in deeper.items() if share == 1] == ["layer4", "fc"]


def test_a_stage_of_a_tenth_of_the_rate_moves_a_tenth_as_far():
    moved = {}
    for share in (1.0, 0.1):
        torch.manual_seed(0)
        network, built = build(optimizer="sgd", momentum=0.0, weight_decay=0.0, lr=0.1, backbone_lr=share)
        before = {name: parameter.clone() for name, parameter in network.named_parameters()}
        for parameter in network.parameters():
            parameter.grad = torch.ones_like(parameter)
        built.step()
        moved[share] = {name: (p - before[name]).abs().max().item() for name, p in network.named_parameters()}
    assert moved[0.1]["conv.weight"] == pytest.approx(moved[1.0]["conv.weight"] / 10, rel=1e-4)
    assert moved[0.1]["fc.weight"] == pytest.approx(moved[1.0]["fc.weight"], rel=1e-4)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_what_begins_to_learn_later_has_groups_of_its_own(optimizer):
    network, built = build(optimizer=optimizer, head_epochs=1, epochs=2, momentum=0.9)
    names = {id(parameter): name.split(".")[0] for name, parameter in network.named_parameters()}
    groups = [{names[id(p)] for p in group["params"]} for group in built.param_groups]
    assert all(group == {"fc"} or "fc" not in group for group in groups)
    assert set().union(*groups) == {"conv", "norm", "fc"}
