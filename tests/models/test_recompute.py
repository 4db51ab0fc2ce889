"""Stages that are computed twice: the same gradients and running figures, from less that is kept."""

from contextlib import contextmanager

import pytest
import torch
from torch import nn

from kinema.models.recompute import recomputed
from kinema.models.zoo import create_model, find_row


def network(name, **options):
    torch.manual_seed(0)
    built = create_model(name, 3, find_row(name).input.channels, **options).train()
    for module in built.modules():
        if isinstance(module, nn.BatchNorm3d) and module.affine:
            nn.init.ones_(module.weight)  # a block that begins shut would hide its gradients
    return built


def learn(model, clips):
    """Gradients and running figures after two steps of nothing but looking."""
    for _ in range(2):
        torch.manual_seed(1)  # of dropout
        model(clips).square().sum().backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    return gradients, dict(model.named_buffers())


def same(one, other):
    assert one.keys() == other.keys()
    return all(torch.equal(tensor, other[name]) for name, tensor in one.items() if tensor is not None)


@pytest.mark.parametrize(
    ("name", "options", "frames"),
    [
        ("resnet3d_10", {"widen_factor": 0.25}, 8),
        ("resnet2p1d_18", {"widen_factor": 0.125}, 8),
        ("densenet3d_121", {"growth_rate": 8}, 8),
        ("slowfast_r50", {"widen_factor": 0.25}, 8),
        ("dymsta", {"backbone": "resnet3d_10"}, 8),
        ("two_stream", {}, 10),
        ("mvit_v1_b", {"dropout": 0.5, "stochastic_depth": 0.5}, 4),
    ],
)
def test_gradients_and_running_figures_are_the_same_to_the_bit(name, options, frames):
    clips = torch.randn(2, find_row(name).input.channels, frames, 32, 32)
    plain, twice = network(name, **options), network(name, **options)
    twice.recompute_stages()
    (wanted, figures), (given, counted) = learn(plain, clips), learn(twice, clips)
    assert any(gradient is not None and gradient.any() for gradient in wanted.values())
    assert same(given, wanted)
    assert same(counted, figures)


def test_names_of_tensors_stay():
    plain, twice = network("resnet3d_10", widen_factor=0.25), network("resnet3d_10", widen_factor=0.25)
    twice.recompute_stages()
    assert list(plain.state_dict()) == list(twice.state_dict())


@pytest.mark.parametrize(("name", "options"), [("resnet3d_10", {"widen_factor": 0.25}), ("mvit_v1_b", {})])
def test_far_less_is_kept(name, options):
    """Bytes that autograd holds on to between the way there and the way back."""
    clips = torch.randn(2, 3, 4, 32, 32)
    kept = []
    for again in (False, True):
        model = network(name, **options)
        own = {parameter.data_ptr() for parameter in model.parameters()}
        seen = {}
        if again:
            model.recompute_stages()

        def hold(tensor, seen=seen, own=own):
            if tensor.data_ptr() not in own:
                seen[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(hold, lambda tensor: tensor):
            model(clips)
        kept.append(sum(seen.values()))
    assert kept[1] < kept[0] / 3


def test_nothing_is_computed_twice_without_gradients():
    model = network("resnet3d_10", widen_factor=0.25)
    model.recompute_stages(again=lambda: pytest.fail("a second time"))
    clips = torch.randn(2, 3, 4, 32, 32)
    with torch.no_grad():
        model(clips)
    model.eval()
    model(clips).sum().backward()


def test_the_second_time_runs_in_what_it_was_given():
    inside = []

    @contextmanager
    def again():
        inside.append("in")
        yield
        inside.append("out")

    model = network("resnet3d_10", widen_factor=0.25)
    model.recompute_stages(again)
    out = model(torch.randn(2, 3, 4, 32, 32)).sum()
    assert inside == []
    out.backward()
    assert inside.count("in") == len(model.trunk)


def test_batch_norms_that_hold_still_go_on_holding_still():
    model = network("resnet3d_10", widen_factor=0.25)
    model.recompute_stages()
    model.freeze("layer3")
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    model(torch.randn(2, 3, 8, 32, 32)).sum().backward()
    moved = {name.partition(".")[0] for name, buffer in model.named_buffers() if not torch.equal(buffer, before[name])}
    assert moved == {"layer3", "layer4"}


def test_batch_norms_keep_their_figures_after_a_mistake_on_the_way_back():
    norm = nn.BatchNorm1d(2)
    own = norm.running_mean
    times = []

    def run(x):
        times.append(norm.running_mean is own)
        if len(times) > 1:
            raise ValueError("broken")
        return norm(x).exp()

    out = recomputed(run, [norm], torch.enable_grad, torch.randn(4, 2, requires_grad=True))
    with pytest.raises(ValueError, match="broken"):
        out.sum().backward()
    assert times == [True, False]
    assert norm.running_mean is own
