"""torchvision's networks: the same numbers as torchvision's own, and what it does not do by itself."""

import pytest
import torch
from torch.nn import functional
from torchvision import models

from kinema.models.torchvision_video import _with_positions
from kinema.models.zoo import create_model

NAMES = ["r3d_18", "mc3_18", "r2plus1d_18", "s3d", "mvit_v1_b", "mvit_v2_s", "swin3d_t", "swin3d_s", "swin3d_b"]
# The least that torchvision takes without being told anything.
SHAPES = {"s3d": (1, 3, 14, 224, 224), "mvit_v1_b": (1, 3, 16, 224, 224), "mvit_v2_s": (1, 3, 16, 224, 224)}
SLOW = {"r2plus1d_18", "mvit_v1_b", "mvit_v2_s", "swin3d_s", "swin3d_b"}


def ours(name, **options):
    torch.manual_seed(0)
    return create_model(name, 5, **options).eval()


def theirs(name, **options):
    torch.manual_seed(0)
    return models.get_model(name, num_classes=5, **options).eval()


def noise(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in NAMES])
def test_it_is_torchvisions_network_number_by_number(name):
    own, other = ours(name), theirs(name)
    assert list(own.state_dict()) == list(other.state_dict())
    assert all(torch.equal(tensor, own.state_dict()[key]) for key, tensor in other.state_dict().items())
    clips = noise(*SHAPES.get(name, (1, 3, 4, 32, 32)))
    assert torch.equal(own(clips), other(clips))


@pytest.mark.parametrize("name", NAMES)
def test_tensors_have_torchvisions_names_and_order(name):
    with torch.device("meta"):
        own, other = create_model(name, 400).state_dict(), models.get_model(name).state_dict()
    assert [(key, tensor.shape) for key, tensor in own.items()] == [
        (key, tensor.shape) for key, tensor in other.items()
    ]


@torch.no_grad()
@pytest.mark.parametrize("frames", [1, 2, 5])
@pytest.mark.parametrize(("height", "width"), [(7, 7), (9, 8), (1, 3)])
def test_s3d_averages_windows_as_far_as_there_are_any(frames, height, width):
    own, features = ours("s3d"), noise(1, 1024, frames, height, width)
    window = (min(2, frames), min(7, height), min(7, width))
    windows = features.unfold(2, window[0], 1).unfold(3, window[1], 1).unfold(4, window[2], 1).mean((-1, -2, -3))
    wanted = own.classifier[1](windows).mean((2, 3, 4))
    torch.testing.assert_close(own.forward_head(features), wanted, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_s3d_takes_five_frames_of_seventeen_pixels():
    assert ours("s3d")(noise(1, 3, 5, 17, 17)).shape == (1, 5)


@torch.no_grad()
@pytest.mark.parametrize("grid", [(3, 12, 12), (8, 16, 16), (12, 60, 40)])
def test_mvit_stretches_absolute_positions_over_the_grid(grid):
    encoding = ours("mvit_v1_b").pos_encoding
    for table in encoding.parameters():
        torch.nn.init.normal_(table, generator=torch.Generator().manual_seed(2))
    # SlowFast's way to the same: one table of all places of the native grid, resized as a whole.
    whole = encoding.temporal_pos[:, None] + encoding.spatial_pos  # (8, 56·56, C)
    whole = functional.interpolate(whole.reshape(1, 8, 56, 56, -1).permute(0, 4, 1, 2, 3), grid, mode="trilinear")
    tokens = noise(2, grid[0] * grid[1] * grid[2], 96)
    got = _with_positions(encoding, tokens, grid)
    torch.testing.assert_close(got[:, 1:], tokens + whole.flatten(2).transpose(1, 2))
    torch.testing.assert_close(got[:, 0], (encoding.class_token + encoding.class_pos).expand(2, -1))


@torch.no_grad()
def test_mvit_leaves_absolute_positions_of_the_native_grid_to_torchvision():
    encoding, tokens = ours("mvit_v1_b").pos_encoding, noise(1, 8 * 56 * 56, 96)
    assert torch.equal(_with_positions(encoding, tokens.clone(), (8, 56, 56)), encoding(tokens))


@torch.no_grad()
def test_mvit_takes_the_grid_from_the_clip():
    own, other = ours("mvit_v2_s"), theirs("mvit_v2_s")
    other.pos_encoding.temporal_size, other.pos_encoding.spatial_size = 3, (12, 16)
    clips = noise(2, 3, 6, 48, 64)
    assert torch.equal(own(clips), other(clips))


def test_mvits_head_leaves_the_features_as_they_are():
    features = noise(2, 9, 768)
    before = features.clone()
    ours("mvit_v2_s", dropout=0.5).train().forward_head(features)
    assert torch.equal(features, before)


@pytest.mark.parametrize("name", ["mvit_v2_s", "swin3d_t"])
def test_stochastic_depth_grows_from_nothing_to_the_last_block(name):
    with torch.device("meta"):
        shares = [module.p for key, module in create_model(name, 5, stochastic_depth=0.3).named_modules()
                  if key.endswith("stochastic_depth")]  # fmt: skip
    assert shares[0] == 0
    assert shares[-1] == pytest.approx(0.3)
    assert shares == sorted(set(shares))


def test_each_option_reaches_its_layers():
    with torch.device("meta"):
        s3d = create_model("s3d", 5, dropout=0.3)
        mvit = create_model("mvit_v2_s", 5, dropout=0.3, attention_dropout=0.25)
        swin = create_model("swin3d_t", 5, dropout=0.3, attention_dropout=0.25)
    assert s3d.classifier[0].p == 0.3
    assert (mvit.head[0].p, mvit.blocks[0].attn.project[1].p, mvit.blocks[0].mlp[2].p) == (0.3, 0.25, 0.25)
    attention = swin.features[0][0].attn
    assert (swin.pos_drop.p, attention.dropout, attention.attention_dropout) == (0.3, 0.3, 0.25)


@pytest.mark.parametrize("name", ["r3d_18", "s3d", "mvit_v2_s", "swin3d_t"])
def test_options_left_alone_are_torchvisions(name):
    with torch.device("meta"):
        own, other = create_model(name, 5), models.get_model(name, num_classes=5)
    drawn = [
        {key: module.p for key, module in network.named_modules() if hasattr(module, "p")} for network in (own, other)
    ]
    assert drawn[0] == drawn[1]


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("r3d_18", "stem.0.weight"),
        ("r2plus1d_18", "stem.0.weight"),
        ("s3d", "features.0.0.0.weight"),
        ("mvit_v2_s", "conv_proj.weight"),
        ("swin3d_t", "patch_embed.proj.weight"),
    ],
)
def test_other_channels_change_the_first_convolution_only(name, first):
    own, other = ours(name, in_channels=2).state_dict(), theirs(name).state_dict()
    assert list(own) == list(other)
    assert own[first].shape == (other[first].shape[0], 2, *other[first].shape[2:])
    # Drawn as torchvision draws its own, whose spread falls with the channels where it counts what comes in.
    counts_inputs = 1 if name in ("r3d_18", "r2plus1d_18") else (3 / 2) ** 0.5
    assert own[first].std().item() == pytest.approx(other[first].std().item() * counts_inputs, rel=0.05)
    bias = first.replace("weight", "bias")
    assert all(torch.equal(own[key], tensor) for key, tensor in other.items() if key not in (first, bias))


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "stage", "shape"),
    [
        ("r3d_18", "layer3", (1, 256, 2, 6, 6)),
        ("mc3_18", "layer3", (1, 256, 6, 6, 6)),
        ("s3d", "features.8", (1, 512, 2, 3, 3)),
        ("mvit_v1_b", "patches", (1, 1 + 3 * 12 * 12, 96)),
        ("mvit_v2_s", "stage2", (1, 1 + 3 * 6 * 6, 192)),
        ("mvit_v2_s", "stage4", (1, 1 + 3 * 2 * 2, 768)),
        ("swin3d_t", "patches", (1, 96, 3, 12, 12)),
        ("swin3d_t", "stage2", (1, 192, 3, 6, 6)),
    ],
)
def test_features_of_a_stage_do_not_need_what_follows(name, stage, shape):
    model, clips = ours(name), noise(1, 3, 6, 48, 48)
    features = model.forward_features(clips, stage)
    assert features.shape == shape
    model.truncate(stage)
    assert torch.equal(model.forward_features(clips), features)
