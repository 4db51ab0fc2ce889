"""Bottlenecks and what stands around them, each by itself. Whole networks are held by tests/golden."""

import pytest
import torch
from torch import nn

from kinema.models.layers.bottleneck import (
    Bottleneck,
    Head,
    ResBlock,
    WindowPool,
    depthwise_conv,
    initialise,
    spatial_conv,
    stage_of_bottlenecks,
    stem,
)


@pytest.mark.parametrize(
    ("grid", "windows"),
    [((4, 7, 7), (1, 1, 1)), ((2, 3, 7), (1, 1, 1)), ((6, 7, 3), (3, 1, 1)), ((1, 8, 9), (1, 2, 3))],
)
def test_a_pool_reaches_as_far_as_its_window(grid, windows):
    pooled = WindowPool((4, 7, 7))(torch.rand(1, 2, *grid))
    assert pooled.shape == (1, 2, *windows)


def test_a_window_is_the_whole_of_a_smaller_grid_and_a_part_of_a_larger_one():
    pool, line = WindowPool((1, 1, 3)), torch.tensor([1.0, 2.0, 3.0, 10.0]).reshape(1, 1, 1, 1, 4)
    torch.testing.assert_close(pool(line).flatten(), torch.tensor([2.0, 5.0]))
    torch.testing.assert_close(pool(line[..., 2:]).flatten(), torch.tensor([6.5]))


@torch.no_grad()
def test_averaging_windows_before_the_projection_is_averaging_logits():
    head = Head(WindowPool((2, 3, 3)), 6, 4, dropout=0.5).eval()
    features = torch.randn(2, 6, 4, 4, 5)
    windows = head.pool(features).movedim(1, -1)
    torch.testing.assert_close(head(features), head.proj(windows).mean((1, 2, 3)))


def block(in_channels, out_channels, stride):
    bottleneck = Bottleneck(in_channels, 4, out_channels, spatial_conv(4, stride))
    return ResBlock(in_channels, out_channels, stride, bottleneck)


@pytest.mark.parametrize(
    ("in_channels", "stride", "tensors"),
    [
        (8, (1, 1, 1), set()),
        (8, (1, 2, 2), {"branch1_conv.weight"}),  # as in X3D's first stage
        (4, (1, 1, 1), {"branch1_conv.weight", "branch1_norm.weight"}),
        (4, (2, 2, 2), {"branch1_conv.weight", "branch1_norm.weight"}),
    ],
)
def test_a_shortcut_is_projected_where_shapes_change_and_normalised_where_channels_do(in_channels, stride, tensors):
    made = block(in_channels, 8, stride)
    assert {name for name, _ in made.named_parameters() if name.startswith("branch1") and "bias" not in name} == tensors


@torch.no_grad()
def test_a_new_block_hands_on_its_shortcut():
    made = block(8, 8, (1, 1, 1))
    initialise(made)
    clip = torch.randn(2, 8, 3, 5, 5)
    assert torch.equal(made(clip), clip.relu())
    nn.init.ones_(made.branch2.norm_c.weight)
    assert not torch.equal(made(clip), clip.relu())


def test_only_the_last_batch_norm_starts_shut():
    made = block(4, 8, (1, 2, 2))
    initialise(made)
    shut = {
        name for name, module in made.named_modules() if isinstance(module, nn.BatchNorm3d) and not module.weight.any()
    }
    assert shut == {"branch2.norm_c"}


def test_initialisation():
    torch.manual_seed(0)
    parts = nn.ModuleList([nn.Conv3d(32, 64, (1, 3, 3)), nn.Linear(512, 256)])
    initialise(parts)
    assert parts[0].weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.03)  # by what goes out
    assert parts[1].weight.std().item() == pytest.approx(0.01, rel=0.03)
    assert not parts[0].bias.any()
    assert not parts[1].bias.any()


def test_the_spans_of_a_stage_are_repeated_over_its_blocks_and_the_first_steps():
    stage = stage_of_bottlenecks(5, 8, 4, (3, 1), depthwise_conv, (2, 2, 2))
    middles = [made.branch2 for made in stage.res_blocks]
    assert [middle.conv_a.kernel_size for middle in middles] == [(span, 1, 1) for span in (3, 1, 3, 1, 3)]
    assert [middle.conv_b.stride for middle in middles] == [(2, 2, 2)] + [(1, 1, 1)] * 4
    assert all(middle.conv_b.groups == 4 and middle.conv_b.kernel_size == (3, 3, 3) for middle in middles)
    assert stage(torch.zeros(1, 8, 5, 9, 9)).shape == (1, 16, 3, 5, 5)


@pytest.mark.parametrize(("frames", "pool", "shape"), [(1, True, (1, 8, 5, 8, 8)), (5, False, (1, 8, 5, 16, 16))])
def test_a_stem_keeps_every_frame(frames, pool, shape):
    made = stem(2, 8, frames, pool=pool)
    assert made.conv.kernel_size == (frames, 7, 7)
    assert made(torch.zeros(1, 2, 5, 32, 32)).shape == shape
