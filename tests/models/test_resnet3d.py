"""Hara's 3D ResNet: shapes, options, initialisation. Its outputs are held by tests/golden."""

import pytest
import torch

from kinema.models.resnet3d import ZeroPadShortcut
from kinema.models.zoo import create_model


def small(**options):
    return create_model("resnet3d_10", 5, widen_factor=0.125, **options).eval()


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({}, (1, 64, 1, 4, 4)),
        ({"max_pool": False}, (1, 64, 2, 7, 7)),
        ({"conv1_t_stride": 2}, (1, 64, 1, 4, 4)),
        ({"conv1_t_stride": 2, "max_pool": False}, (1, 64, 1, 7, 7)),
        ({"conv1_t_size": 3}, (1, 64, 1, 4, 4)),
        ({"shortcut": "A"}, (1, 64, 1, 4, 4)),
    ],
)
def test_features_by_option(options, shape):
    with torch.no_grad():
        assert small(**options).forward_features(torch.zeros(1, 3, 16, 112, 112)).shape == shape


@pytest.mark.parametrize(
    ("options", "name", "shape"),
    [
        ({}, "conv1.weight", (64, 3, 7, 7, 7)),
        ({"conv1_t_size": 3}, "conv1.weight", (64, 3, 3, 7, 7)),
        ({"widen_factor": 2.0}, "layer4.0.conv2.weight", (1024, 1024, 3, 3, 3)),
        ({"widen_factor": 0.5}, "fc.weight", (5, 256)),
        ({"shortcut": "B"}, "layer2.0.downsample.0.weight", (128, 64, 1, 1, 1)),
    ],
)
def test_tensors_by_option(options, name, shape):
    with torch.device("meta"):
        assert create_model("resnet3d_10", 5, **options).state_dict()[name].shape == shape


def test_shortcut_a_has_no_tensors_but_carries_its_gradient():
    assert not [name for name in small(shortcut="A").state_dict() if "downsample" in name]
    clip = torch.randn(2, 3, 5, 8, 8, requires_grad=True)

    out = ZeroPadShortcut(3, 8, stride=2)(clip)
    out.sum().backward()

    assert torch.equal(out[:, :3], clip[:, :, ::2, ::2, ::2])
    assert not out[:, 3:].any()
    taken = torch.zeros_like(clip)
    taken[:, :, ::2, ::2, ::2] = 1
    assert torch.equal(clip.grad, taken)


def test_shortcut_a_is_part_of_the_training_signal():
    model = small(shortcut="A").train()
    for block in (model.layer2[0], model.layer3[0], model.layer4[0]):
        torch.nn.init.zeros_(block.bn2.weight)  # shuts the residual branch: only the shortcut is left
        torch.nn.init.zeros_(block.bn2.bias)
    model(torch.randn(2, 3, 8, 32, 32)).square().sum().backward()
    assert model.conv1.weight.grad.abs().max() > 0


def test_dropout_acts_in_training_only():
    model, clip = small(dropout=0.5), torch.randn(1, 3, 4, 32, 32)
    torch.manual_seed(0)
    with torch.no_grad():
        features = model.forward_features(clip)
        assert torch.equal(model.forward_head(features), model.forward_head(features))
        model.train()
        assert not torch.equal(model.forward_head(features), model.forward_head(features))


def test_initialisation():
    torch.manual_seed(0)
    model = create_model("resnet3d_18", 400)
    for name, fan_out in [("layer1.0.conv1", 64 * 27), ("layer4.1.conv2", 512 * 27), ("conv1", 64 * 343)]:
        weight = model.get_submodule(name).weight
        assert weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.02)
        assert abs(weight.mean().item()) < 0.02 * weight.std().item() + 2e-4
    assert torch.equal(model.bn1.weight, torch.ones(64))
    assert torch.equal(model.layer1[0].bn1.bias, torch.zeros(64))
    assert model.fc.weight.abs().max().item() <= 512**-0.5


@pytest.mark.parametrize(("frames", "height", "width"), [(1, 16, 16), (3, 33, 47), (40, 20, 30)])
def test_any_length_and_size(frames, height, width):
    with torch.no_grad():
        assert small()(torch.randn(1, 3, frames, height, width)).shape == (1, 5)
