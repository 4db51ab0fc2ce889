"""Wide 3D ResNet: what `k` widens and what it leaves. Its outputs are held by tests/golden."""

import pytest
import torch

from kinema.core.errors import UsageError
from kinema.models.zoo import create_model


def small(**options):
    return create_model("wide_resnet3d_50", 5, **{"widen_factor": 0.125, **options}).eval()


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({}, (1, 256, 1, 4, 4)),
        ({"k": 1}, (1, 128, 1, 4, 4)),
        ({"k": 3, "shortcut": "A"}, (1, 384, 1, 4, 4)),
        ({"k": 1, "max_pool": False, "conv1_t_stride": 2}, (1, 128, 1, 7, 7)),
        ({"k": 1, "max_pool": False, "conv1_t_size": 4}, (1, 128, 3, 7, 7)),
    ],
)
def test_features_by_option(options, shape):
    with torch.no_grad():
        assert small(**options).forward_features(torch.zeros(1, 3, 16, 112, 112)).shape == shape


@pytest.mark.parametrize(
    ("options", "name", "shape"),
    [
        ({}, "layer1.0.conv1.weight", (128, 64, 1, 1, 1)),
        ({}, "layer1.0.conv3.weight", (256, 128, 1, 1, 1)),
        ({}, "fc.weight", (5, 2048)),
        ({"k": 1}, "fc.weight", (5, 1024)),
        ({"k": 3}, "conv1.weight", (64, 3, 7, 7, 7)),
        ({"k": 3}, "layer4.0.conv2.weight", (1536, 1536, 3, 3, 3)),
        ({"k": 1.5}, "layer1.0.conv2.weight", (96, 96, 3, 3, 3)),
        ({"k": 3, "widen_factor": 0.5}, "conv1.weight", (32, 3, 7, 7, 7)),
        ({"k": 3, "widen_factor": 0.5}, "layer1.0.conv2.weight", (96, 96, 3, 3, 3)),
        ({"k": 1.45, "widen_factor": 1.1}, "layer1.0.conv2.weight", (102, 102, 3, 3, 3)),  # 102.08, cut once
    ],
)
def test_tensors_by_option(options, name, shape):
    with torch.device("meta"):
        assert create_model("wide_resnet3d_50", 5, **options).state_dict()[name].shape == shape


def test_it_is_wide_and_not_narrow():
    with pytest.raises(UsageError, match=r"k=0.5\nallowed: a number from 1"):
        small(k=0.5)


@pytest.mark.parametrize("widen_factor", [0.125, 0.3, 0.7, 1.0, 1.1])
def test_shortcut_a_has_room_at_the_least_k(widen_factor):
    with torch.device("meta"):
        model = create_model("wide_resnet3d_50", 5, k=1, shortcut="A", widen_factor=widen_factor)
    extra = [getattr(model, f"layer{number}")[0].downsample.extra_channels for number in (1, 2, 3, 4)]
    assert min(extra) >= 0


def test_shortcut_a_is_part_of_the_training_signal():
    model = small(k=1, shortcut="A").train()
    assert not [name for name in model.state_dict() if "downsample" in name]
    for layer in (model.layer1, model.layer2, model.layer3, model.layer4):
        for block in layer:  # shut the residual branches: only the shortcuts are left
            torch.nn.init.zeros_(block.bn3.weight)
            torch.nn.init.zeros_(block.bn3.bias)
    model(torch.randn(2, 3, 8, 32, 32)).square().sum().backward()
    assert model.conv1.weight.grad.abs().max() > 0


def test_dropout_acts_in_training_only():
    model, clip = small(k=1, dropout=0.5), torch.randn(1, 3, 4, 32, 32)
    with torch.no_grad():
        features = model.forward_features(clip)
        assert torch.equal(model.forward_head(features), model.forward_head(features))
        model.train()
        torch.manual_seed(0)
        assert not torch.equal(model.forward_head(features), model.forward_head(features))


@pytest.mark.parametrize(("frames", "height", "width"), [(1, 16, 16), (3, 33, 47), (40, 20, 30)])
def test_any_length_and_size(frames, height, width):
    with torch.no_grad():
        assert small(k=1)(torch.randn(1, 3, frames, height, width)).shape == (1, 5)
