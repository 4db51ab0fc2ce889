"""SlowFast: the two pathways and what joins them. Its outputs are held by tests/golden."""

import pytest
import torch

from kinema.models.slowfast import Fusion, JoinPathways, slow_frames
from kinema.models.zoo import create_model, find_row

NAMES = ("slowfast_r50", "slowfast_r101", "slowfast_16x8_r101_50_50")


def small(name="slowfast_r50", **options):
    torch.manual_seed(0)
    return create_model(name, 5, **{"widen_factor": 0.125, **options}).eval()


@pytest.mark.parametrize(
    ("frames", "seen"),
    [
        (1, [0]),
        (3, [0]),
        (4, [0]),
        (5, [0, 4]),
        (8, [0, 7]),
        (10, [0, 4, 9]),
        (32, [0, 4, 8, 13, 17, 22, 26, 31]),
    ],
)
def test_the_slow_pathway_sees_a_fourth_of_the_frames(frames, seen):
    clip = torch.arange(frames, dtype=torch.float64).reshape(1, 1, frames, 1, 1)
    assert slow_frames(clip).flatten().tolist() == seen


def test_frames_are_chosen_in_single_precision_like_the_original_ones():
    clip = torch.arange(160, dtype=torch.float64).reshape(1, 1, 160, 1, 1)
    assert slow_frames(clip).flatten()[13] == 52  # 13 · 159/39 is 53 exactly, and a hair less in float32


@torch.no_grad()
@pytest.mark.parametrize("frames", [1, 2, 3, 4, 5, 7, 8, 9, 33])
def test_clips_of_any_length(frames):
    model, clip = small(), torch.randn(1, 3, frames, 40, 33)
    features = model.forward_features(clip)
    assert features.shape == (1, 32 * (8 + 1), -(-frames // 4), 2, 2)
    assert torch.isfinite(model.forward_head(features)).all()


@torch.no_grad()
def test_the_middle_of_the_network_is_the_slow_pathway_with_what_has_joined_it():
    model, clip = small(), torch.randn(1, 3, 8, 64, 64)
    shapes = {stage: tuple(model.forward_features(clip, until=stage).shape[1:]) for stage in model.trunk}
    assert shapes == {
        "stem": (8 + 2, 2, 16, 16),
        "res2": (32 + 8, 2, 16, 16),
        "res3": (64 + 16, 2, 8, 8),
        "res4": (128 + 32, 2, 4, 4),
        "res5": (256 + 32, 2, 2, 2),
    }


@torch.no_grad()
def test_only_the_fast_pathway_sees_the_frames_between():
    model, clip = small(), torch.randn(1, 3, 8, 64, 64)
    before = model.forward_features(clip, until="stem")
    clip[:, :, 3] += 1  # the slow pathway takes frames 0 and 7
    after = model.forward_features(clip, until="stem")
    assert torch.equal(before[:, :8], after[:, :8])
    assert not torch.equal(before[:, 8:], after[:, 8:])


@torch.no_grad()
def test_joining_leaves_the_fast_pathway_as_it_is():
    slow, fast = torch.randn(1, 16, 3, 4, 4), torch.randn(1, 2, 10, 4, 4)
    joined, same = Fusion(2, 7).eval()((slow, fast))
    assert same is fast
    assert joined.shape == (1, 20, 3, 4, 4)
    assert torch.equal(joined[:, :16], slow)


def test_the_fast_pathway_is_averaged_to_the_pace_of_the_slow_one():
    fast = torch.tensor([1.0, 2.0, 3.0, 6.0, 10.0, 20.0]).reshape(1, 1, 6, 1, 1)
    both = JoinPathways()((torch.zeros(1, 1, 2, 1, 1), fast))
    assert both.flatten().tolist() == [0, 0, 3, 15]


@pytest.mark.parametrize(
    ("name", "options", "tensor", "shape"),
    [
        ("slowfast_r50", {}, "blocks.0.multipathway_fusion.conv_fast_to_slow.weight", (16, 8, 7, 1, 1)),
        ("slowfast_r101", {}, "blocks.0.multipathway_fusion.conv_fast_to_slow.weight", (16, 8, 5, 1, 1)),
        ("slowfast_r50", {"widen_factor": 0.5}, "blocks.6.proj.weight", (5, 1152)),
        ("slowfast_r50", {"in_channels": 2}, "blocks.0.multipathway_blocks.0.conv.weight", (64, 2, 1, 7, 7)),
        ("slowfast_r50", {"in_channels": 2}, "blocks.0.multipathway_blocks.1.conv.weight", (8, 2, 5, 7, 7)),
    ],
)
def test_tensors_by_option(name, options, tensor, shape):
    with torch.device("meta"):
        assert create_model(name, 5, **options).state_dict()[tensor].shape == shape


@torch.no_grad()
def test_widths_that_are_no_multiple_of_eight():
    assert small(widen_factor=0.19)(torch.randn(1, 3, 5, 33, 33)).shape == (1, 5)  # 12 slow channels and 1 fast one


@pytest.mark.parametrize(
    ("name", "slow", "fast"),
    [
        ("slowfast_r50", ["111", "1111", "333333", "333"], ["333", "3333", "333333", "333"]),
        ("slowfast_r101", ["111", "1111", "3" * 23, "333"], ["333", "3333", "3" * 23, "333"]),
        (
            "slowfast_16x8_r101_50_50",
            ["111", "1111", "3" * 6 + "1" * 17, "333"],
            ["333", "3333", "3" * 6 + "1" * 17, "333"],
        ),
    ],
)
def test_how_many_frames_each_block_spans_first(name, slow, fast):
    with torch.device("meta"):
        model = small(name)
    for pathway, spans in enumerate((slow, fast)):
        stages = [block.multipathway_blocks[pathway].res_blocks for block in model.blocks[1:5]]
        assert ["".join(str(made.branch2.conv_a.kernel_size[0]) for made in stage) for stage in stages] == spans


@pytest.mark.parametrize("name", NAMES)
def test_the_head_pools_over_the_clip_it_was_made_for(name):
    row = find_row(name)
    assert row.input.clip.frames == 4 * row.arguments["window"][0]
    assert (row.input.clip.stride, row.input.size_px) == (2, 224)
