"""Pre-activation 3D ResNet: what comes before what, and its options. Its outputs are held by tests/golden."""

import pytest
import torch
from torch.nn import functional

from kinema.models.preact_resnet3d import PreactBasicBlock, PreactBottleneck
from kinema.models.zoo import create_model


def small(depth=18, **options):
    return create_model(f"preact_resnet3d_{depth}", 5, widen_factor=0.125, **options).eval()


@pytest.mark.parametrize(
    ("depth", "options", "shape"),
    [
        (18, {}, (1, 64, 1, 4, 4)),
        (50, {}, (1, 256, 1, 4, 4)),
        (18, {"shortcut": "A", "max_pool": False}, (1, 64, 2, 7, 7)),
        (50, {"shortcut": "A", "conv1_t_stride": 2, "max_pool": False}, (1, 256, 1, 7, 7)),
        (18, {"conv1_t_size": 4, "max_pool": False}, (1, 64, 3, 7, 7)),
    ],
)
def test_features_by_option(depth, options, shape):
    with torch.no_grad():
        assert small(depth, **options).forward_features(torch.zeros(1, 3, 16, 112, 112)).shape == shape


@pytest.mark.parametrize(
    ("depth", "options", "name", "shape"),
    [
        (18, {"conv1_t_size": 3}, "conv1.weight", (64, 3, 3, 7, 7)),
        (18, {}, "layer2.0.bn1.weight", (64,)),
        (50, {}, "layer1.0.bn1.weight", (64,)),
        (50, {}, "layer1.1.bn1.weight", (256,)),
        (50, {}, "layer4.2.bn3.weight", (512,)),
        (50, {"widen_factor": 0.5}, "layer4.0.downsample.0.weight", (1024, 512, 1, 1, 1)),
        (50, {"widen_factor": 0.5}, "conv1.weight", (32, 3, 7, 7, 7)),
    ],
)
def test_tensors_by_option(depth, options, name, shape):
    with torch.device("meta"):
        assert create_model(f"preact_resnet3d_{depth}", 5, **options).state_dict()[name].shape == shape


@pytest.mark.parametrize("block", [PreactBasicBlock, PreactBottleneck])
def test_norm_and_relu_come_first_and_the_shortcut_takes_the_raw_input(block):
    made = block(8, 8 if block is PreactBasicBlock else 2, 1, "A").eval()
    clip = torch.randn(1, 8, 2, 4, 4)
    last = made.conv2 if block is PreactBasicBlock else made.conv3
    torch.nn.init.zeros_(last.weight)
    with torch.no_grad():
        assert torch.equal(made(clip), clip)  # negative numbers included: nothing comes after the sum

    seen = []
    made.conv1.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    made.bn1.running_mean.fill_(0.5)
    with torch.no_grad():
        made(clip)
    torch.testing.assert_close(seen[0], functional.relu(made.bn1(clip)))


def test_nothing_follows_the_last_block():
    with torch.no_grad():
        assert (small().forward_features(torch.randn(1, 3, 4, 32, 32)) < 0).any()


@pytest.mark.parametrize("depth", [18, 50])
def test_shortcut_a_is_part_of_the_training_signal(depth):
    model = small(depth, shortcut="A").train()
    assert not [name for name in model.state_dict() if "downsample" in name]
    for layer in (model.layer1, model.layer2, model.layer3, model.layer4):
        for block in layer:  # shut the residual branches: only the shortcuts are left
            torch.nn.init.zeros_(block.conv2.weight if depth == 18 else block.conv3.weight)
    model(torch.randn(2, 3, 8, 32, 32)).square().sum().backward()
    assert model.conv1.weight.grad.abs().max() > 0


@pytest.mark.parametrize(("frames", "height", "width"), [(1, 16, 16), (3, 33, 47), (40, 20, 30)])
def test_any_length_and_size(frames, height, width):
    with torch.no_grad():
        assert small(shortcut="A")(torch.randn(1, 3, frames, height, width)).shape == (1, 5)
