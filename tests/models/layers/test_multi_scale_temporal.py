"""The block of several time spans: what each branch can see, and that any length passes."""

import pytest
import torch

from kinema.models.layers.multi_scale_temporal import MultiScaleTemporalBlock


def block(spans=(1, 3, 5), channels=8):
    torch.manual_seed(0)
    return MultiScaleTemporalBlock(channels, spans).eval()


@torch.no_grad()
@pytest.mark.parametrize("frames", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("spans", [(1, 3, 5), (3, 5, 7)])
def test_any_length_keeps_its_shape(frames, spans):
    x = torch.randn(2, 8, frames, 5, 4)
    assert block(spans)(x).shape == x.shape


@torch.no_grad()
@pytest.mark.parametrize(("branch", "reach"), [("short", 1), ("medium", 2), ("long", 3)])
def test_a_branch_sees_as_far_as_it_spans(branch, reach):
    one = getattr(block((3, 5, 7)), branch)
    x = torch.randn(1, 8, 16, 5, 4)
    altered = x.clone()
    altered[:, :, 8] += 1
    moved = (one(x) != one(altered)).any(dim=4).any(dim=3).any(dim=1)[0]
    assert moved.nonzero().flatten().tolist() == list(range(8 - reach, 8 + reach + 1))


@torch.no_grad()
def test_the_pooled_branch_tells_every_time_step_of_the_greatest_value():
    model = block()
    seen = []
    model.whole.register_forward_hook(lambda _module, inputs, out: seen.append((inputs[0], out)))
    model.join.register_forward_hook(lambda _module, inputs, _out: seen.append((inputs[0], None)))
    x = torch.randn(2, 8, 6, 5, 4)
    model(x)
    (pooled, branch), (joined, _) = seen
    assert torch.equal(pooled, x.max(dim=2, keepdim=True).values)
    assert branch.shape == (2, 2, 1, 5, 4)
    assert joined.shape == (2, 8, 6, 5, 4)  # four branches of 8 / 4 channels
    assert all(torch.equal(joined[:, 6:, t], branch[:, :, 0]) for t in range(6))


@torch.no_grad()
def test_the_input_goes_beside_the_branches():
    model, x = block(), torch.randn(1, 8, 4, 5, 4)
    model.join[1].weight.zero_()
    assert torch.equal(model(x), x)


def test_few_channels_are_enough():
    assert block(channels=3)(torch.randn(1, 3, 4, 5, 4)).shape == (1, 3, 4, 5, 4)


def test_a_gradient_reaches_every_branch():
    model = block().train()
    model(torch.randn(2, 8, 4, 5, 4)).square().sum().backward()
    assert all(parameter.grad.any() for parameter in model.parameters())
