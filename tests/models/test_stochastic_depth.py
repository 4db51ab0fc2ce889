"""Residual blocks that clips skip: how often, by how much, and that nothing else changes."""

import copy
import re

import pytest
import torch
from torch import nn

from kinema.core.errors import UsageError
from kinema.models.layers.bottleneck import ResBlock
from kinema.models.stochastic_depth import DropPath, drop_paths, residual_blocks
from kinema.models.zoo import create_model, list_models

PLAIN = ("c3d", "c3d_bn", "cnn_lstm", "fused_two_stream", "i3d", "i3d_two_stream", "s3d", "two_stream")
FAMILIES = (
    ("resnet3d_18", {"widen_factor": 0.125}, "layer4.1"),
    ("resnet3d_50", {"widen_factor": 0.125}, "layer4.2"),
    ("resnet2p1d_18", {"widen_factor": 0.125}, "layer4.1"),
    ("resnet2p1d_50", {"widen_factor": 0.125}, "layer4.2"),
    ("preact_resnet3d_18", {"widen_factor": 0.125}, "layer4.1"),
    ("preact_resnet3d_50", {"widen_factor": 0.125}, "layer4.2"),
    ("r3d_18", {}, "layer4.1"),
    ("x3d_xs", {}, "blocks.4.res_blocks.6"),
    ("mvit_v2_s", {}, "blocks.15"),
    ("swin3d_t", {}, "features.6.1"),
    ("dymsta", {}, "temporal"),
)  # fmt: skip


def hooks(network):
    """The probability of every block that has a hook."""
    return [
        hook.probability
        for module in network.modules()
        for hook in module._forward_hooks.values()
        if isinstance(hook, DropPath)
    ]


@pytest.mark.parametrize(
    "name", [name for name in list_models() if not re.search(r"_(34|152|[12]\d1|200|264|l)$", name)]
)
def test_every_network_has_residual_blocks_or_says_that_it_has_none(name):
    with torch.device("meta"):
        network = create_model(name, 2)
    if name in PLAIN or name.startswith("densenet"):
        with pytest.raises(UsageError, match=f"{name} has no residual blocks"):
            drop_paths(network, 0.2)
        return
    keys, count = list(network.state_dict()), sum(map(len, residual_blocks(network).values()))
    drop_paths(network, 0.2)
    assert list(network.state_dict()) == keys
    if not name.startswith(("mvit", "swin")):
        assert len(hooks(network)) == count - len(residual_blocks(network))  # the first is never skipped
        assert max(hooks(network)) == pytest.approx(0.2)


def test_the_probability_rises_linearly_along_each_pathway():
    with torch.device("meta"):
        single, both = create_model("resnet3d_18", 2), create_model("slowfast_r50", 2)
    drop_paths(single, 0.7)
    assert hooks(single) == pytest.approx([0.1 * number for number in range(1, 8)])
    drop_paths(both, 0.3)
    names = residual_blocks(both)
    assert [len(pathway) for pathway in names.values()] == [16, 16]
    assert sorted(hooks(both)) == pytest.approx(sorted([0.02 * number for number in range(1, 16)] * 2))
    last = both.get_submodule(names["multipathway_blocks.1"][-1])
    assert isinstance(last, ResBlock)
    (hook,) = last.branch2._forward_hooks.values()
    assert hook.probability == pytest.approx(0.3)


@pytest.mark.parametrize("name", ["mvit_v1_b", "swin3d_t"])
def test_networks_that_skip_by_themselves_take_the_same_probabilities(name):
    with torch.device("meta"):
        network = create_model(name, 2)
    drop_paths(network, 0.4)
    (blocks,) = residual_blocks(network).values()
    shares = [network.get_submodule(block).p for block in blocks]
    assert shares == pytest.approx([0.4 * number / (len(blocks) - 1) for number in range(len(blocks))])


class Added(nn.Module):
    """A shortcut and a branch that doubles."""

    def __init__(self):
        super().__init__()
        self.branch = nn.Identity()

    def forward(self, x):
        return x + self.branch(2 * x)


def test_a_clip_gets_none_of_the_branch_or_all_of_it_scaled_up():
    block = Added().train()
    block.branch.register_forward_hook(DropPath(block, 0.25))
    torch.manual_seed(0)
    clips = torch.ones(4000, 2, 3, 4, 4, requires_grad=True)
    given = block(clips)
    values = given.flatten(1)
    assert bool((values == values[:, :1]).all())  # the whole clip alike
    assert values[:, 0].unique().tolist() == pytest.approx([1, 1 + 2 / 0.75])
    assert values[:, 0].mean().item() == pytest.approx(3, abs=0.1)  # as without it, in the mean
    given.sum().backward()
    assert torch.allclose(clips.grad, given.detach())  # linear: what is skipped learns nothing


def test_tests_see_the_whole_network():
    torch.manual_seed(0)
    network = create_model("resnet3d_10", 2, widen_factor=0.125)
    clips = torch.rand(3, 3, 8, 32, 32)
    before = copy.deepcopy(network).eval()(clips)
    drop_paths(network, 0.9)
    assert torch.equal(network.eval()(clips), before)


@pytest.mark.parametrize(("name", "options", "last"), FAMILIES)
def test_a_skipped_block_hands_on_what_came_in(name, options, last):
    """The last block of each family, all but certainly skipped; its shortcut changes no shape."""
    torch.manual_seed(0)
    network = create_model(name, 2, **options).train()
    drop_paths(network, 1 - 1e-7)
    seen = []
    block = network.get_submodule(last)
    for module in block.modules():
        if isinstance(module, (nn.BatchNorm3d, nn.LayerNorm)):
            nn.init.constant_(module.bias, 0.5)  # so that what is dropped too early shows at the end of the branch
    block.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].clone()))
    block.register_forward_hook(lambda _, __, output: seen.append(output[0] if type(output) is tuple else output))
    with torch.no_grad():
        network(torch.rand(2, 3, 4, 64, 64))
    assert seen[0].any()
    assert torch.equal(*seen)


def test_recomputed_stages_skip_the_same_clips():
    torch.manual_seed(0)
    plain = create_model("resnet3d_10", 2, widen_factor=0.125).train()
    drop_paths(plain, 0.5)
    again = copy.deepcopy(plain)
    again.recompute_stages()
    clips, gradients = torch.rand(6, 3, 8, 32, 32), []
    for network in (plain, again):
        torch.manual_seed(5)
        network(clips).square().sum().backward()
        gradients.append([parameter.grad for parameter in network.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))


def test_a_copy_follows_its_own_mode():
    network = create_model("resnet3d_10", 2, widen_factor=0.125)
    drop_paths(network, 0.5)
    other = copy.deepcopy(network).eval()
    network.train()
    clips = torch.rand(2, 3, 8, 32, 32)
    assert torch.equal(other(clips), other(clips))
    assert not any(hook.block.training for module in other.modules() for hook in module._forward_hooks.values())
