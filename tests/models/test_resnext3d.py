"""3D ResNeXt: its groups, and what its options change. Its outputs are held by tests/golden."""

import pytest
import torch

from kinema.core.errors import UsageError
from kinema.models.resnext3d import grouped_bottleneck
from kinema.models.zoo import create_model


def small(**options):
    return create_model("resnext3d_50", 5, **{"widen_factor": 0.25, **options}).eval()


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({}, (1, 512, 1, 4, 4)),
        ({"cardinality": 5, "shortcut": "A"}, (1, 512, 1, 4, 4)),
        ({"cardinality": 1, "max_pool": False, "conv1_t_stride": 2}, (1, 512, 1, 7, 7)),
        ({"cardinality": 2, "max_pool": False, "conv1_t_size": 4}, (1, 512, 3, 7, 7)),
    ],
)
def test_features_by_option(options, shape):
    with torch.no_grad():
        assert small(**options).forward_features(torch.zeros(1, 3, 16, 112, 112)).shape == shape


@pytest.mark.parametrize(
    ("options", "name", "shape"),
    [
        ({}, "conv1.weight", (64, 3, 7, 7, 7)),
        ({"widen_factor": 0.5}, "conv1.weight", (32, 3, 7, 7, 7)),
        ({}, "layer1.0.conv2.weight", (128, 4, 3, 3, 3)),
        ({}, "layer4.0.conv2.weight", (1024, 32, 3, 3, 3)),
        ({"cardinality": 8}, "layer1.0.conv2.weight", (32, 4, 3, 3, 3)),
        ({"cardinality": 8}, "layer1.0.conv3.weight", (256, 32, 1, 1, 1)),
        ({"cardinality": 8}, "fc.weight", (5, 2048)),
        ({"cardinality": 64}, "layer4.0.conv2.weight", (2048, 32, 3, 3, 3)),
        ({"cardinality": 7, "widen_factor": 0.5}, "layer4.0.conv2.weight", (112, 16, 3, 3, 3)),
        ({"widen_factor": 0.3}, "layer2.0.conv2.weight", (64, 2, 3, 3, 3)),  # 76 planes: groups of two, cut
    ],
)
def test_tensors_by_option(options, name, shape):
    with torch.device("meta"):
        assert create_model("resnext3d_50", 5, **options).state_dict()[name].shape == shape


def test_groups_do_not_see_each_other():
    block = grouped_bottleneck(4)(8, 64, 1, "A").eval()
    inside = torch.zeros(1, 8, 1, 3, 3)
    inside[:, :2] = 1  # the first of four groups of two
    with torch.no_grad():
        seen = block.conv2(inside).abs().sum(dim=(0, 2, 3, 4))
    assert seen[:2].all()
    assert not seen[2:].any()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"cardinality": 0}, r"cardinality=0\nallowed: a whole number from 1"),
        ({"cardinality": 2.5}, r"cardinality=2.5\nallowed: a whole number from 1"),
        ({"widen_factor": 0.2}, r"widen_factor=0.2\nallowed: a number from 0.25"),
    ],
)
def test_groups_without_channels_are_refused(options, told):
    with pytest.raises(UsageError, match=told):
        small(**options)


def test_shortcut_a_is_part_of_the_training_signal():
    model = small(cardinality=2, shortcut="A").train()
    assert not [name for name in model.state_dict() if "downsample" in name]
    for layer in (model.layer1, model.layer2, model.layer3, model.layer4):
        for block in layer:  # shut the residual branches: only the shortcuts are left
            torch.nn.init.zeros_(block.bn3.weight)
            torch.nn.init.zeros_(block.bn3.bias)
    model(torch.randn(2, 3, 8, 32, 32)).square().sum().backward()
    assert model.conv1.weight.grad.abs().max() > 0


def test_initialisation_counts_every_output():
    torch.manual_seed(0)
    weight = create_model("resnext3d_50", 5).layer4[0].conv2.weight
    assert weight.std().item() == pytest.approx((2 / (1024 * 27)) ** 0.5, rel=0.02)  # as the original, not per group


def test_dropout_acts_in_training_only():
    model, clip = small(cardinality=2, dropout=0.5), torch.randn(1, 3, 4, 32, 32)
    with torch.no_grad():
        features = model.forward_features(clip)
        assert torch.equal(model.forward_head(features), model.forward_head(features))
        model.train()
        torch.manual_seed(0)
        assert not torch.equal(model.forward_head(features), model.forward_head(features))


@pytest.mark.parametrize(("frames", "height", "width"), [(1, 16, 16), (3, 33, 47), (40, 20, 30)])
def test_any_length_and_size(frames, height, width):
    with torch.no_grad():
        assert small(cardinality=2)(torch.randn(1, 3, frames, height, width)).shape == (1, 5)
