"""R(2+1)D: how a convolution is split, and what its options change. Its outputs are held by tests/golden."""

import pytest
import torch

from kinema.models.resnet2p1d import BasicBlock2p1d, Bottleneck2p1d
from kinema.models.resnet3d import BasicBlock
from kinema.models.zoo import create_model


def small(**options):
    return create_model("resnet2p1d_10", 5, widen_factor=0.125, **options).eval()


@pytest.mark.parametrize(
    ("options", "stem", "features"),
    [
        ({}, (1, 8, 8, 28, 28), (1, 64, 1, 4, 4)),
        ({"max_pool": False}, (1, 8, 16, 56, 56), (1, 64, 2, 7, 7)),
        ({"conv1_t_stride": 2}, (1, 8, 4, 28, 28), (1, 64, 1, 4, 4)),
        ({"conv1_t_stride": 3, "max_pool": False}, (1, 8, 6, 56, 56), (1, 64, 1, 7, 7)),
        ({"conv1_t_size": 4, "max_pool": False}, (1, 8, 17, 56, 56), (1, 64, 3, 7, 7)),
        ({"shortcut": "A", "conv1_t_size": 1}, (1, 8, 8, 28, 28), (1, 64, 1, 4, 4)),
    ],
)
def test_features_by_option(options, stem, features):
    model, clip = small(**options), torch.zeros(1, 3, 16, 112, 112)
    with torch.no_grad():
        assert model.forward_features(clip, until="conv1").shape == stem
        assert model.forward_features(clip).shape == features


@pytest.mark.parametrize(
    ("options", "channels", "name", "shape"),
    [
        ({}, 3, "conv1_s.weight", (110, 3, 1, 7, 7)),
        ({}, 3, "conv1_t.weight", (64, 110, 7, 1, 1)),
        ({}, 2, "conv1_s.weight", (110, 2, 1, 7, 7)),  # as many as for RGB
        ({"conv1_t_size": 3}, 3, "conv1_s.weight", (83, 3, 1, 7, 7)),
        ({"conv1_t_size": 3}, 3, "conv1_t.weight", (64, 83, 3, 1, 1)),
        ({"widen_factor": 0.5}, 3, "conv1_t.weight", (32, 88, 7, 1, 1)),
        ({}, 3, "layer1.0.conv1_s.weight", (144, 64, 1, 3, 3)),
        ({}, 3, "layer2.0.conv1_s.weight", (230, 64, 1, 3, 3)),
        ({}, 3, "layer2.0.conv2_s.weight", (288, 128, 1, 3, 3)),
        ({}, 3, "layer2.0.conv2_t.weight", (128, 288, 3, 1, 1)),
        ({}, 3, "layer2.0.downsample.0.weight", (128, 64, 1, 1, 1)),
        ({"widen_factor": 2}, 3, "fc.weight", (5, 1024)),
    ],
)
def test_tensors_by_option(options, channels, name, shape):
    with torch.device("meta"):
        assert create_model("resnet2p1d_10", 5, channels, **options).state_dict()[name].shape == shape


def test_a_split_convolution_has_about_the_parameters_of_the_whole():
    whole = BasicBlock(64, 128, 2, "A")
    halves = BasicBlock2p1d(64, 128, 2, "A")
    for name in ("conv1", "conv2"):
        split = sum(getattr(halves, f"{name}_{axis}").weight.numel() for axis in "st")
        assert split == pytest.approx(getattr(whole, name).weight.numel(), rel=0.005)


@pytest.mark.parametrize(("block", "first"), [(BasicBlock2p1d, "1"), (Bottleneck2p1d, "2")])
def test_each_half_steps_on_its_own_axes(block, first):
    made = block(8, 8, 2, "B")
    assert getattr(made, f"conv{first}_s").stride == (1, 2, 2)
    assert getattr(made, f"conv{first}_t").stride == (2, 1, 1)
    assert made(torch.zeros(2, 8, 5, 6, 8)).shape == (2, made.out_channels, 3, 3, 4)


def test_frames_meet_in_the_temporal_half_only():
    model = small(conv1_t_size=1, max_pool=False).double()
    clip = torch.randn(1, 3, 4, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        stem = model.forward_features(clip, until="conv1")
        torch.testing.assert_close(stem[:, :, 1:2], model.forward_features(clip[:, :, 1:2], until="conv1"))
        layer = model.forward_features(clip, until="layer1")
        alone = model.forward_features(clip[:, :, 1:2], until="layer1")
    assert (layer[:, :, 1:2] - alone).abs().max() > 1e-3


def test_initialisation():
    torch.manual_seed(0)
    model = create_model("resnet2p1d_18", 400)
    for name, fan_out in [("conv1_s", 110 * 49), ("layer1.0.conv1_t", 64 * 3), ("layer4.1.conv2_s", 1152 * 9)]:
        assert model.get_submodule(name).weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.03)


@pytest.mark.parametrize(("frames", "height", "width"), [(1, 16, 16), (3, 33, 47), (40, 20, 30)])
def test_any_length_and_size(frames, height, width):
    with torch.no_grad():
        assert small()(torch.randn(1, 3, frames, height, width)).shape == (1, 5)
