"""X3D: widths, depths, gates. Its outputs are held by tests/golden."""

import math

import pytest
import torch
from torch import nn

from kinema.models.x3d import SqueezeExcitation, multiple_of_8
from kinema.models.zoo import create_model, find_row

NAMES = ("x3d_xs", "x3d_s", "x3d_m", "x3d_l")


def small(name="x3d_xs", **options):
    torch.manual_seed(0)
    return create_model(name, 5, **{"widen_factor": 0.25, **options}).eval()


@pytest.mark.parametrize(
    ("width", "rounded"), [(1, 8), (8, 8), (11, 16), (12, 16), (17, 16), (19, 24), (24, 24), (27, 32), (192, 192)]
)
def test_widths_are_multiples_of_8_and_lose_no_tenth(width, rounded):
    assert multiple_of_8(width) == rounded


@pytest.mark.parametrize(("name", "factor"), [("x3d_xs", 2.2), ("x3d_s", 2.2), ("x3d_m", 2.2), ("x3d_l", 5.0)])
def test_depths_are_those_of_the_seed_times_a_factor(name, factor):
    with torch.device("meta"):
        model = small(name)
    assert [len(stage.res_blocks) for stage in model.blocks[1:5]] == [math.ceil(factor * seed) for seed in (1, 2, 5, 3)]


@pytest.mark.parametrize(
    ("options", "tensor", "shape"),
    [
        ({}, "blocks.0.conv.conv_t.weight", (24, 3, 1, 3, 3)),
        ({}, "blocks.0.conv.conv_xy.weight", (24, 1, 5, 1, 1)),
        ({}, "blocks.3.res_blocks.0.branch2.conv_b.weight", (216, 1, 3, 3, 3)),
        ({}, "blocks.1.res_blocks.0.branch2.norm_b.1.block.0.weight", (8, 54, 1, 1, 1)),
        ({}, "blocks.4.res_blocks.0.branch2.norm_b.1.block.0.weight", (32, 432, 1, 1, 1)),
        ({"widen_factor": 0.5}, "blocks.4.res_blocks.0.branch2.conv_c.weight", (96, 216, 1, 1, 1)),
        ({"widen_factor": 0.5}, "blocks.5.proj.weight", (5, 2048)),
        ({"widen_factor": 2}, "blocks.5.pool.pre_conv.weight", (864, 384, 1, 1, 1)),
        ({"in_channels": 1}, "blocks.0.conv.conv_t.weight", (24, 1, 1, 3, 3)),
    ],
)
def test_tensors_by_option(options, tensor, shape):
    with torch.device("meta"):
        assert create_model("x3d_xs", 5, **options).state_dict()[tensor].shape == shape


def test_every_other_block_is_gated():
    gated = [isinstance(made.branch2.norm_b[1], SqueezeExcitation) for made in small().blocks[3].res_blocks]
    assert gated == [True, False] * 5 + [True]


@torch.no_grad()
def test_a_gate_scales_a_channel_by_the_means_of_all():
    gate, clip = SqueezeExcitation(4), torch.randn(2, 4, 3, 5, 5)
    for convolution in (gate.block[0], gate.block[2]):
        nn.init.zeros_(convolution.weight)
        nn.init.zeros_(convolution.bias)
    assert torch.equal(gate(clip), clip / 2)
    gate.block[0].weight[0, 1] = 1  # looks at channel 1 only,
    gate.block[2].weight[3, 0] = 1  # and gates channel 3 only
    scales = torch.full((2, 4), 0.5)
    scales[:, 3] = clip[:, 1].mean((1, 2, 3)).relu().sigmoid()
    torch.testing.assert_close(gate(clip), clip * scales[:, :, None, None, None])


def test_the_first_shortcut_is_projected_without_a_norm():
    names = [name for name in small(widen_factor=1.0).state_dict() if ".0.branch1" in name and name.endswith("weight")]
    assert "blocks.1.res_blocks.0.branch1_conv.weight" in names
    assert "blocks.1.res_blocks.0.branch1_norm.weight" not in names
    assert "blocks.2.res_blocks.0.branch1_norm.weight" in names


@torch.no_grad()
@pytest.mark.parametrize("frames", [1, 5])
def test_it_never_steps_in_time(frames):
    assert small().forward_features(torch.zeros(1, 3, frames, 65, 32)).shape == (1, 48, frames, 3, 1)


@pytest.mark.parametrize(
    ("name", "clip", "sides", "window"),
    [
        ("x3d_xs", (4, 12), (160, 182), (4, 5, 5)),
        ("x3d_s", (13, 6), (160, 182), (13, 5, 5)),
        ("x3d_m", (16, 5), (224, 256), (16, 7, 7)),
        ("x3d_l", (16, 5), (312, 356), (16, 10, 10)),
    ],
)
def test_the_head_pools_over_the_clip_it_was_made_for(name, clip, sides, window):
    row = find_row(name)
    assert (row.input.clip.frames, row.input.clip.stride) == clip
    assert (row.input.size_px, row.input.short_side_px) == sides
    assert row.arguments["window"] == window


@torch.no_grad()
def test_windows_go_through_the_head_one_by_one():
    model, features = small(), torch.randn(1, 48, 6, 5, 5)  # the window of x3d_xs is 4x5x5
    nn.init.ones_(model.blocks[5].pool.post_conv.weight)
    alone = [model.forward_head(features[:, :, start : start + 4]) for start in range(3)]
    torch.testing.assert_close(model.forward_head(features), torch.stack(alone).mean(0))


def test_dropout_acts_in_training_only():
    model, features = small(dropout=0.5), torch.randn(2, 48, 4, 5, 5)
    with torch.no_grad():
        assert torch.equal(model.forward_head(features), model.forward_head(features))
        model.train()
        assert not torch.equal(model.forward_head(features), model.forward_head(features))
