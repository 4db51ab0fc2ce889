"""Convolutions whose kernel depends on the sample: what each sample gets, and that both ways to compute it agree."""

import pytest
import torch
from torch.nn import functional

from kinema.models.layers.dynamic_conv3d import GatedKernelConv3d, MixedKernelConv3d, temperature_after


def clips(count=3, channels=8, frames=4, size=6):
    return torch.randn(count, channels, frames, size, size, generator=torch.Generator().manual_seed(1))


def mixed(kernels=4):
    torch.manual_seed(0)
    conv = MixedKernelConv3d(8, 6, kernels)
    conv.set_epoch(10)  # shares that differ from sample to sample
    return conv


def gated():
    torch.manual_seed(0)
    return GatedKernelConv3d(8, 6)


@torch.no_grad()
def test_equal_shares_give_the_mean_kernel():
    conv, x = mixed(), clips()
    conv.shares.weight.zero_()
    conv.shares.bias.fill_(3.0)
    torch.testing.assert_close(conv.attention(x), torch.full((3, 4), 0.25))
    torch.testing.assert_close(conv(x), functional.conv3d(x, conv.weight.mean(dim=0), padding=1))


@torch.no_grad()
def test_the_kernel_with_the_whole_share_is_the_only_one():
    conv, x = mixed(), clips()
    conv.shares.weight.zero_()
    conv.shares.bias.copy_(torch.tensor([0.0, 0.0, 1000.0, 0.0]))
    torch.testing.assert_close(conv(x), functional.conv3d(x, conv.weight[2], padding=1))


@torch.no_grad()
@pytest.mark.parametrize("make", [mixed, gated])
def test_each_sample_is_convolved_with_its_own_kernel(make):
    conv, x = make(), clips()
    kernels = conv.kernels(x)
    assert kernels.shape == (3, 6, 8, 3, 3, 3)
    assert not torch.allclose(kernels[0], kernels[1], atol=1e-4)
    alone = [functional.conv3d(x[n : n + 1], kernels[n], padding=1) for n in range(3)]
    torch.testing.assert_close(conv(x), torch.cat(alone))
    torch.testing.assert_close(torch.cat([conv(x[n : n + 1]) for n in range(3)]), conv(x))


def test_mixing_kernels_and_mixing_outputs_agree_in_values_and_gradients():
    conv, x = mixed().double(), clips().double()
    results = []
    for way in (conv.mix_kernels, conv.mix_outputs):
        conv.zero_grad()
        out = way(x)
        out.square().sum().backward()
        results.append([out, *(parameter.grad.clone() for parameter in conv.parameters())])
    torch.testing.assert_close(results[0], results[1], rtol=1e-10, atol=1e-10)


@torch.no_grad()
@pytest.mark.parametrize("make", [mixed, gated])
def test_an_exported_program_takes_any_batch(make):
    conv, x = make().eval(), clips()
    program = torch.export.export(conv, (x,), dynamic_shapes=({0: torch.export.Dim("N")},)).module()
    for batch in (x[:1], x[:2], x):
        torch.testing.assert_close(program(batch), conv(batch))


def test_a_gradient_reaches_every_kernel_and_what_chooses_among_them():
    conv = mixed()
    conv(clips()).square().sum().backward()
    assert all(kernel.any() for kernel in conv.weight.grad)
    assert all(parameter.grad.any() for parameter in conv.parameters())


@pytest.mark.parametrize(("epoch", "temperature"), [(0, 30), (2.5, 22.75), (5, 15.5), (9, 3.9), (10, 1), (99, 1)])
def test_temperature_falls_evenly_over_ten_epochs(epoch, temperature):
    assert temperature_after(epoch) == pytest.approx(temperature)


@torch.no_grad()
def test_a_hot_softmax_shares_evenly_and_the_file_keeps_how_hot_it_is():
    conv, x = mixed(), clips()
    conv.set_epoch(0)
    hot = conv.attention(x)
    conv.set_epoch(10)
    cold = conv.attention(x)
    assert hot.std() < 0.1 * cold.std()
    torch.testing.assert_close(hot.sum(dim=1), torch.ones(3))

    conv.set_epoch(5)
    other = MixedKernelConv3d(8, 6, 4)
    other.load_state_dict(conv.state_dict())
    assert other.temperature == 15.5
    assert torch.equal(other.attention(x), conv.attention(x))


@torch.no_grad()
def test_the_mean_of_the_clip_scales_each_output_channel():
    conv, x = gated(), clips()
    conv.gate.weight.zero_()
    conv.gate.bias.copy_(torch.logit(torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])))
    plain = functional.conv3d(x, conv.weight, padding=1)
    torch.testing.assert_close(conv(x)[:, 2], 0.3 * plain[:, 2])
    torch.testing.assert_close(conv(x)[:, 5], 0.6 * plain[:, 5])

    means = x.mean(dim=(2, 3, 4))
    torch.manual_seed(0)
    conv.gate.reset_parameters()
    torch.testing.assert_close(conv.factors(x), torch.sigmoid(conv.gate(means)))


@pytest.mark.parametrize("make", [mixed, gated])
def test_kernels_start_as_those_of_residual_networks(make):
    torch.manual_seed(0)
    conv = MixedKernelConv3d(32, 64, 2) if make is mixed else GatedKernelConv3d(32, 64)
    wanted = (2 / (64 * 27)) ** 0.5  # Kaiming, by outputs
    for kernel in conv.weight if make is mixed else [conv.weight]:
        assert kernel.std().item() == pytest.approx(wanted, rel=0.02)
