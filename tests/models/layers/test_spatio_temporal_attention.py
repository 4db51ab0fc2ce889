"""Where and when: the ranges and shapes of gates, what they react to, and self-attention by formula."""

import pytest
import torch

from kinema.models.layers.spatio_temporal_attention import DividedSelfAttention, SpatioTemporalGates


def gates(channels=16):
    torch.manual_seed(0)
    return SpatioTemporalGates(channels)


def divided(channels=16):
    torch.manual_seed(0)
    return DividedSelfAttention(channels)


def maps(frames=6, channels=16):
    return torch.randn(2, channels, frames, 5, 4, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
@pytest.mark.parametrize("frames", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("make", [gates, divided])
def test_any_length_keeps_its_shape(make, frames):
    x = maps(frames)
    assert make()(x).shape == x.shape


@torch.no_grad()
def test_gates_lie_between_zero_and_one():
    x = maps()
    spatial, temporal = gates().spatial_gate(x), gates().temporal_gate(x)
    assert spatial.shape == (2, 1, 6, 5, 4)
    assert temporal.shape == (2, 1, 6, 1, 1)
    for gate in (spatial, temporal):
        assert gate.min() > 0
        assert gate.max() < 1
        assert gate.std() > 0
    torch.testing.assert_close(gates()(x), x * (1 + (spatial + temporal) / 2))


@torch.no_grad()
def test_the_temporal_gate_reacts_to_one_altered_frame_and_its_neighbours():
    model, x = gates(64), maps(channels=64)
    altered = x.clone()
    altered[1, :, 3] += 1
    moved = model.temporal_gate(x) != model.temporal_gate(altered)
    assert moved[:, 0, :, 0, 0].tolist() == [[False] * 6, [False, False, True, True, True, False]]


@torch.no_grad()
def test_the_spatial_gate_reacts_within_the_altered_frame_only():
    x = maps()
    altered = x.clone()
    altered[0, :, 3, 0, 0] += 1
    moved = gates().spatial_gate(x) != gates().spatial_gate(altered)
    assert moved[0, 0, 3, :4].all()  # 7x7 places reach three to each side
    assert not moved[0, 0, 3, 4].any()
    moved[0, 0, 3] = False
    assert not moved.any()


@torch.no_grad()
def test_the_spatial_gate_sees_mean_and_maximum_of_channels():
    model, x = gates(), maps()
    model.spatial.bias.zero_()
    model.spatial.weight.zero_()
    model.spatial.weight[0, 0, 0, 3, 3] = 1
    torch.testing.assert_close(model.spatial_gate(x), torch.sigmoid(x.mean(dim=1, keepdim=True)))
    model.spatial.weight.zero_()
    model.spatial.weight[0, 1, 0, 3, 3] = 1
    torch.testing.assert_close(model.spatial_gate(x), torch.sigmoid(x.max(dim=1, keepdim=True).values))


def attended_by_hand(attention, tokens):
    """Softmax(q k / sqrt d) v of each head, for tokens (length, C)."""
    q, k, v = attention.qkv(tokens).chunk(3, dim=-1)
    width = tokens.shape[1] // attention.heads
    heads = []
    for head in range(attention.heads):
        part = slice(head * width, (head + 1) * width)
        shares = torch.softmax(q[:, part] @ k[:, part].T / width**0.5, dim=-1)
        heads.append(shares @ v[:, part])
    return attention.out(torch.cat(heads, dim=-1))


@torch.no_grad()
def test_self_attention_along_time_and_within_frames_is_summed():
    model, x = divided().double(), maps().double()
    out = model(x)
    normed = model.norm(x.permute(0, 2, 3, 4, 1))  # (N, T, H, W, C)
    for n, t, h, w in ((0, 0, 0, 0), (1, 5, 4, 3), (0, 2, 3, 1)):
        along_time = attended_by_hand(model.temporal, normed[n, :, h, w])[t]
        within_frame = attended_by_hand(model.spatial, normed[n, t].flatten(0, 1))[h * 4 + w]
        torch.testing.assert_close(out[n, :, t, h, w], x[n, :, t, h, w] + along_time + within_frame)


@pytest.mark.parametrize(("channels", "heads"), [(128, 8), (12, 4), (6, 2), (7, 1)])
def test_as_many_heads_as_divide_the_channels(channels, heads):
    model = divided(channels)
    assert model.temporal.heads == model.spatial.heads == heads
    assert model(maps(channels=channels)).shape == (2, channels, 6, 5, 4)


@pytest.mark.parametrize("make", [gates, divided])
def test_a_gradient_reaches_every_parameter(make):
    model = make()
    model(maps()).square().sum().backward()
    assert all(parameter.grad.any() for parameter in model.parameters())


@torch.no_grad()
@pytest.mark.parametrize("make", [gates, divided])
def test_an_exported_program_takes_any_batch(make):
    model, x = make().eval(), maps()
    program = torch.export.export(model, (x,), dynamic_shapes=({0: torch.export.Dim("N")},)).module()
    for batch in (x[:1], x, torch.cat((x, x))):
        torch.testing.assert_close(program(batch), model(batch))
