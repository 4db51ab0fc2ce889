"""Slow, C2D, I3D, R(2+1)D and CSN: where they look at time. Their outputs are held by tests/golden."""

import pytest
import torch

from kinema.models.bottleneck_resnet import Conv2plus1d, HalveFrames
from kinema.models.zoo import create_model, find_row

NAMES = ("slow_r50", "c2d_r50", "i3d_r50", "r2plus1d_r50", "csn_r101")


def small(name, **options):
    torch.manual_seed(0)
    return create_model(name, 5, widen_factor=0.125, **options).eval()


def middles(model):
    return [middle for stage in stages(model) for middle in stage]


def stages(model):
    """The blocks' bottlenecks of each stage."""
    return [[made.branch2 for made in stage.res_blocks] for stage in model.blocks if hasattr(stage, "res_blocks")]


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "grid"),
    [
        ("slow_r50", (9, 3, 2)),
        ("c2d_r50", (4, 3, 2)),
        ("i3d_r50", (4, 3, 2)),
        ("r2plus1d_r50", (3, 3, 2)),
        ("csn_r101", (2, 3, 2)),
    ],
)
def test_features_of_an_odd_clip(name, grid):
    assert small(name).forward_features(torch.zeros(1, 3, 9, 70, 64)).shape == (1, 256, *grid)


@pytest.mark.parametrize(
    ("name", "options", "tensor", "shape"),
    [
        ("slow_r50", {}, "blocks.0.conv.weight", (64, 3, 1, 7, 7)),
        ("slow_r50", {"widen_factor": 0.5}, "blocks.5.proj.weight", (5, 1024)),
        ("c2d_r50", {"widen_factor": 2}, "blocks.6.proj.weight", (5, 4096)),
        ("i3d_r50", {"widen_factor": 0.3}, "blocks.0.conv.weight", (19, 3, 5, 7, 7)),
        ("i3d_r50", {"in_channels": 2}, "blocks.0.conv.weight", (64, 2, 5, 7, 7)),
        ("r2plus1d_r50", {}, "blocks.3.res_blocks.5.branch2.conv_b.conv_xy.weight", (256, 256, 1, 3, 3)),
        ("csn_r101", {}, "blocks.3.res_blocks.22.branch2.conv_b.weight", (256, 1, 3, 3, 3)),
    ],
)
def test_tensors_by_option(name, options, tensor, shape):
    with torch.device("meta"):
        assert create_model(name, 5, **options).state_dict()[tensor].shape == shape


@pytest.mark.parametrize(
    ("name", "spans"),
    [
        ("slow_r50", ["111", "1111", "333333", "333"]),
        ("c2d_r50", ["111", "1111", "111111", "111"]),
        ("i3d_r50", ["333", "3131", "313131", "131"]),
        ("r2plus1d_r50", ["111", "1111", "111111", "111"]),
        ("csn_r101", ["111", "1111", "1" * 23, "111"]),
    ],
)
def test_how_many_frames_each_block_spans_first(name, spans):
    told = ["".join(str(middle.conv_a.kernel_size[0]) for middle in stage) for stage in stages(small(name))]
    assert told == spans


@pytest.mark.parametrize(("frames", "kept"), [(1, [0]), (2, [1]), (5, [1, 3])])
def test_halving_keeps_the_larger_of_two_frames(frames, kept):
    clip = torch.arange(float(frames)).reshape(1, 1, frames, 1, 1)
    assert HalveFrames()(clip).flatten().tolist() == kept


@torch.no_grad()
@pytest.mark.parametrize("name", NAMES)
def test_a_clip_of_one_frame(name):
    assert small(name)(torch.randn(1, 3, 1, 40, 33)).shape == (1, 5)


def test_what_stands_in_the_middle_of_a_block():
    assert all(middle.conv_b.kernel_size == (1, 3, 3) for middle in middles(small("slow_r50")))
    assert all(isinstance(middle.conv_b, Conv2plus1d) for middle in middles(small("r2plus1d_r50")))
    assert all(middle.conv_b.groups == middle.conv_b.in_channels for middle in middles(small("csn_r101")))


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "until", "moved"),
    [("c2d_r50", "res5", [2]), ("slow_r50", "res3", [4]), ("slow_r50", "res4", [*range(10)])],
)
def test_how_far_one_frame_is_seen(name, until, moved):
    model, clip = open_blocks(small(name)), torch.randn(1, 3, 10, 32, 32)
    before = model.forward_features(clip, until=until)
    clip[:, :, 4] += 1
    after = model.forward_features(clip, until=until)
    assert [time for time in range(before.shape[2]) if not torch.equal(before[:, :, time], after[:, :, time])] == moved


def open_blocks(model):
    for middle in middles(model):
        torch.nn.init.ones_(middle.norm_c.weight)
    return model


@pytest.mark.parametrize("name", NAMES)
def test_dropout_is_that_of_the_original(name):
    assert find_row(name).defaults == {"widen_factor": 1.0, "dropout": 0.0 if name == "csn_r101" else 0.5}


def test_dropout_acts_in_training_only():
    model, clip = small("c2d_r50", dropout=0.5), torch.randn(1, 3, 2, 32, 32)
    with torch.no_grad():
        features = model.forward_features(clip)
        assert torch.equal(model.forward_head(features), model.forward_head(features))
        model.train()
        assert not torch.equal(model.forward_head(features), model.forward_head(features))


def test_blocks_open_with_the_first_step():
    model = small("slow_r50").train()
    clip, inner = torch.randn(2, 3, 2, 48, 48), model.blocks[2].res_blocks[1].branch2
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model(clip).square().sum().backward()
    assert not inner.conv_b.weight.grad.any()
    assert inner.norm_c.weight.grad.any()
    optimizer.step()
    model(clip).square().sum().backward()
    assert inner.conv_b.weight.grad.any()


@pytest.mark.parametrize(
    ("name", "frames", "stride"),
    [("slow_r50", 8, 8), ("c2d_r50", 8, 8), ("i3d_r50", 8, 8), ("r2plus1d_r50", 16, 4), ("csn_r101", 32, 2)],
)
def test_the_clip_each_was_made_for(name, frames, stride):
    spec = find_row(name).input
    assert (spec.clip.frames, spec.clip.stride, spec.size_px, spec.short_side_px) == (frames, stride, 224, 256)
    assert (set(spec.mean), set(spec.std)) == ({0.45}, {0.225})
