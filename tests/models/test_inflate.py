"""Inflation of any 2D network: a repeated picture keeps its logits, and what cannot be inflated is named."""

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional
from torchvision.ops import StochasticDepth

from kinema.core.errors import UsageError
from kinema.models.inflate import InflatedConv3d, TimeShape, inflate, inflate_kernel


def trained(network):
    """`network` in float64 with statistics and scales that are not those of a fresh one, in evaluation mode."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.running_mean, module.bias.data):
                tensor.normal_(0, 0.1)
            for tensor in (module.running_var, module.weight.data):
                tensor.uniform_(0.5, 1.5)
    return network.double().eval()


def pictures(count=2, channels=3, size_px=32):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, channels, size_px, size_px, dtype=torch.float64, generator=generator)


def still(picture, frames):
    return picture.unsqueeze(2).repeat(1, 1, frames, 1, 1)


def error(out, expected):
    return ((out - expected).norm() / expected.norm()).item()


def vgg():
    network = torchvision.models.vgg11_bn(init_weights=False)
    network.classifier = nn.Linear(512 * 7 * 7, 10)
    return network


@torch.no_grad()
@pytest.mark.parametrize(
    ("build", "size_px"),
    [
        (torchvision.models.resnet18, 48),
        (lambda: torchvision.models.googlenet(aux_logits=False, init_weights=False), 64),
        (lambda: torchvision.models.googlenet(init_weights=False, transform_input=True), 64),
        (vgg, 48),
        (torchvision.models.densenet121, 64),  # pools by function
        (torchvision.models.mobilenet_v3_small, 48),  # pools maps to weigh channels with them
        (torchvision.models.mnasnet0_5, 48),  # averages with `mean`
        pytest.param(
            lambda: torchvision.models.inception_v3(init_weights=False), 128, marks=pytest.mark.slow
        ),  # kernels of 1x7 and 7x1, borders of none
    ],
    ids=[
        "resnet18",
        "googlenet",
        "googlenet_aux",
        "vgg11_bn",
        "densenet121",
        "mobilenet_v3",
        "mnasnet",
        "inception_v3",
    ],
)
def test_a_still_picture_keeps_its_logits(build, size_px):
    torch.manual_seed(0)
    flat = trained(build())
    deep = inflate(flat)
    picture = pictures(1, size_px=size_px)
    for frames in (1, 5):
        assert error(deep(still(picture, frames)), flat(picture)) < 1e-12
    names = [name for name in flat.state_dict() if not name.startswith(("aux1", "aux2", "AuxLogits"))]
    assert list(deep.state_dict()) == names


class Written(nn.Module):
    """A convolution and a linear layer with something written by hand between them."""

    def __init__(self, between, features):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, stride=2, padding=1)
        self.between = between
        self.fc = nn.Linear(features, 4)

    def forward(self, x):
        return self.fc(self.between(functional.relu(self.conv(x))))


BY_HAND = {
    "max_pool2d": (lambda x: functional.max_pool2d(x, 3, 2, 1, ceil_mode=True).view(x.size(0), -1), 6 * 81),
    "avg_pool2d": (lambda x: functional.avg_pool2d(x, 3, 2, 1, count_include_pad=True).flatten(1), 6 * 64),
    "avg_pool2d of few": (lambda x: functional.avg_pool2d(x, (5, 3), 4, 1, True, False).flatten(1), 6 * 25),
    "adaptive_max_pool2d": (lambda x: functional.adaptive_max_pool2d(x, (2, 3)).reshape(x.shape[0], -1), 36),
    "view by length": (lambda x: functional.adaptive_avg_pool2d(x, 2).view(-1, 24), 24),
    "view by tuple": (lambda x: x.view((x.size(0), 6 * 256)), 6 * 256),
    "mean": (lambda x: torch.mean(x, dim=(-1, -2)), 6),
    "mean kept": (lambda x: (x * x.mean([2, 3], keepdim=True) - 2).flatten(start_dim=1), 6 * 256),
    "dropout": (lambda x: functional.dropout(functional.dropout2d(x, 0.5, False).flatten(1), training=False), 6 * 256),
    "behind": (lambda x: x.flatten(1).unflatten(1, (6, 256)).transpose(1, 2)[:, 3], 6),
}


@torch.no_grad()
@pytest.mark.parametrize("written", BY_HAND)
def test_functions_are_inflated_as_layers_are(written):
    torch.manual_seed(0)
    flat = Written(*BY_HAND[written]).double().eval()
    picture = pictures()
    deep = inflate(flat)
    for frames in (1, 4, 7):
        assert error(deep(still(picture, frames)), flat(picture)) < 1e-12


@torch.no_grad()
@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(4, 6, (3, 5), stride=(2, 1), padding=(1, 2), dilation=(2, 1), groups=2),
        nn.Conv2d(4, 6, 3, padding="same", padding_mode="reflect", bias=False),
        nn.Conv2d(4, 6, (1, 5), padding="valid", padding_mode="circular"),
        nn.Conv2d(4, 6, 4, stride=3),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        nn.MaxPool2d((2, 3), padding=1, dilation=2),
        nn.AvgPool2d(3, 2, padding=1, ceil_mode=True, count_include_pad=False),
        nn.AvgPool2d(4, 3, divisor_override=5),
        nn.AdaptiveAvgPool2d((None, 3)),
        nn.BatchNorm2d(4, eps=0.1, affine=False),
        nn.BatchNorm2d(4, track_running_stats=False),
        nn.Dropout2d(0.5),
        nn.GroupNorm(2, 4),
        nn.PReLU(4),
        StochasticDepth(0.5, "row"),
    ],
    ids=str,
)
def test_every_frame_of_a_still_picture_is_that_of_the_layer(layer):
    flat = nn.Sequential(nn.Identity(), layer).double().eval()
    picture = pictures(channels=4, size_px=13)
    expected, out = flat(picture), inflate(flat)(still(picture, 6))
    assert out.ndim == 5
    assert error(out, expected.unsqueeze(2).expand_as(out)) < 1e-12


@torch.no_grad()
def test_motion_is_averaged_over_the_frames_that_a_kernel_spans():
    flat = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1)).double()
    clip = torch.randn(1, 3, 5, 8, 8, dtype=torch.float64)
    by_frame = torch.stack([flat(frame) for frame in clip.unbind(2)], 2)
    held = torch.cat([by_frame[:, :, :1], by_frame, by_frame[:, :, -1:]], 2)
    torch.testing.assert_close(inflate(flat)(clip), (held[:, :, :-2] + held[:, :, 1:-1] + held[:, :, 2:]) / 3)


@torch.no_grad()
@pytest.mark.parametrize("pool", [nn.MaxPool2d(2), nn.AvgPool2d(2)])
def test_pools_span_time(pool):
    clip = torch.randn(1, 3, 5, 8, 8, dtype=torch.float64)
    over_time = torch.amax if isinstance(pool, nn.MaxPool2d) else torch.mean
    pairs = torch.cat([clip, clip[:, :, -1:]], 2).unflatten(2, (3, 2))
    torch.testing.assert_close(inflate(nn.Sequential(pool))(clip), inflate_frames(pool, over_time(pairs, 3)))


def inflate_frames(layer, clip):
    return torch.stack([layer(frame) for frame in clip.unbind(2)], 2)


@torch.no_grad()
@pytest.mark.parametrize(
    ("pool", "expected"),
    [
        (nn.AdaptiveAvgPool2d(1), lambda clip: clip.mean((2, 3, 4), keepdim=True)),
        (nn.AdaptiveMaxPool2d((1, 8)), lambda clip: clip.amax((2, 3), keepdim=True)),
    ],
)
def test_pools_of_a_given_size_pool_all_frames(pool, expected):
    clip = torch.randn(2, 3, 5, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(inflate(nn.Sequential(pool))(clip), expected(clip))


@torch.no_grad()
def test_zeros_at_the_ends_leave_the_middle_alone():
    flat = trained(nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3)))
    picture = pictures(1)
    out = inflate(flat, edges="zeros")(still(picture, 9))
    apart = [error(frame, flat(picture)) for frame in out.unbind(2)]
    assert max(apart[2:-2]) < 1e-12
    assert min(apart[:2] + apart[-2:]) > 0.01


@torch.no_grad()
@pytest.mark.parametrize(("frames", "left"), [(1, 1), (7, 2), (8, 2), (9, 3)])
def test_time_is_laid_out_as_asked(frames, left):
    asked = {}

    def slow_start(name, layer):
        asked[name] = type(layer)
        return {"conv1": TimeShape(5, 2), "maxpool": TimeShape(2, 2)}.get(name, TimeShape(1, 1))

    torch.manual_seed(0)
    flat = trained(torchvision.models.resnet18(num_classes=3))
    flat.avgpool, flat.fc = nn.Identity(), nn.Identity()
    deep = inflate(flat, time=slow_start)
    assert (deep.conv1.kernel_size, deep.conv1.stride) == ((5, 7, 7), (2, 2, 2))
    assert deep.layer2.get_submodule("0.downsample.0").stride == (1, 2, 2)
    assert asked["conv1"] is nn.Conv2d
    assert asked["maxpool"] is nn.MaxPool2d
    assert "bn1" not in asked

    seen = []
    deep.layer4.get_submodule("1.bn2").register_forward_hook(lambda _module, _inputs, out: seen.append(out.shape[2]))
    deep(still(pictures(1), frames))
    assert seen == [left]


@torch.no_grad()
def test_kernels_of_one_frame_leave_frames_to_themselves():
    flat = trained(nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.BatchNorm2d(4), nn.AvgPool2d(2)))
    clip = torch.randn(2, 3, 4, 16, 16, dtype=torch.float64)
    out = inflate(flat, time=lambda _name, _layer: TimeShape(1, 1))(clip)
    torch.testing.assert_close(out, inflate_frames(flat, clip))


def test_a_side_of_one_pixel_is_one_frame():
    deep = inflate(nn.Sequential(nn.Conv2d(3, 4, (1, 7)), nn.Conv2d(4, 4, (7, 3), stride=(1, 2))))
    assert [layer.kernel_size for layer in deep.children()] == [(1, 1, 7), (3, 7, 3)]
    assert deep.get_submodule("1").stride == (1, 1, 2)


def test_the_inflated_network_has_weights_of_its_own_and_can_be_trained():
    flat = torchvision.models.resnet18(num_classes=3).train()
    deep = inflate(flat)
    assert deep.training
    assert deep.bn1.training
    before = {name: tensor.clone() for name, tensor in flat.state_dict().items()}

    deep(torch.randn(2, 3, 4, 32, 32)).square().sum().backward()
    torch.optim.SGD(deep.parameters(), lr=0.1).step()

    assert all(parameter.grad.any() for parameter in deep.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in flat.state_dict().items())
    assert next(deep.parameters()).dtype == torch.float32


def test_dropout_by_function_acts_in_training_only():
    flat = Written(lambda x: functional.dropout(x.flatten(1), 0.9, training=False), 6 * 256)
    deep, clip = inflate(flat.eval()), torch.randn(1, 3, 1, 32, 32)
    with torch.no_grad():
        assert torch.equal(deep(clip), deep(clip))
        deep.train()
        assert not torch.equal(deep(clip), deep(clip))


@torch.no_grad()
@pytest.mark.parametrize("channels", [1, 2, 5])
def test_other_channels_share_what_rgb_had(channels):
    torch.manual_seed(0)
    flat = trained(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 3)))
    grey = pictures(channels=1)
    expected = flat(grey.repeat(1, 3, 1, 1))
    deep = inflate(flat, channels)
    assert error(deep(still(grey, 3).repeat(1, channels, 1, 1, 1)), expected.unsqueeze(2).repeat(1, 1, 3, 1, 1)) < 1e-12
    kernel = deep.get_submodule("0").weight
    assert kernel.shape == (4, channels, 3, 3, 3)
    assert torch.equal(kernel, kernel[:, :1].expand_as(kernel))


def test_the_same_channels_keep_their_own_kernels():
    flat = nn.Sequential(nn.Conv2d(3, 4, 3))
    kernel = flat[0].weight.detach()
    torch.testing.assert_close(inflate(flat, 3).get_submodule("0").weight.detach().sum(2), kernel)
    torch.testing.assert_close(inflate_kernel(kernel, 4), kernel.unsqueeze(2).expand(-1, -1, 4, -1, -1) / 4)


def test_a_layer_run_twice_is_inflated_once():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, x):
            return self.conv(self.conv(x))

    deep, picture = inflate(Twice().double()), pictures()
    assert [type(layer) for layer in deep.children()] == [InflatedConv3d]
    with torch.no_grad():
        assert deep(still(picture, 3)).shape == (2, 3, 3, 32, 32)


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3, 1, 1))

    def forward(self, x):
        return x * self.scale


class Forward(nn.Module):
    def __init__(self, forward):
        super().__init__()
        self.run = forward

    def forward(self, x):
        return self.run(x)


@pytest.mark.parametrize(
    ("network", "named"),
    [
        (nn.Sequential(nn.ReLU(), nn.Upsample(scale_factor=2)), "'1' cannot be inflated: it is a Upsample"),
        (nn.Sequential(nn.ConvTranspose2d(3, 3, 2)), "it is a ConvTranspose2d"),
        (nn.Sequential(nn.Linear(32, 3)), "it is a Linear"),
        (nn.Sequential(nn.Flatten(2)), "it is a Flatten"),
        (nn.Sequential(nn.MaxPool2d(2, return_indices=True)), "returns indices"),
        (nn.Sequential(nn.Conv2d(3, 3, 4, padding="same")), "kernels of odd size"),
        (Scaled(), "'mul'"),
        (Forward(lambda x: functional.interpolate(x, scale_factor=2)), "'interpolate'"),
        (Forward(lambda x: x.permute(0, 2, 3, 1)), "'permute'"),
        (Forward(lambda x: x.view(2, 3, 32, 4, 8)), "'view'"),
        (Forward(lambda x: x.mean(3)), "mean over other axes"),
        (Forward(lambda x: x.mean([1, 2])), "mean over other axes"),
        (Forward(lambda x: torch.cat([x, x], 2)), "'cat'"),
        (Forward(lambda x: torch.cat([x, x])), "'cat'"),
        (Forward(lambda x: x.flatten(2)), "'flatten'"),
        (Forward(lambda x: x.size(2)), "'size'"),
        (Forward(lambda x: x.shape[3]), "'getitem'"),
        (Forward(lambda x: x[:, :, 0]), "'getitem'"),
        (Forward(lambda x: x[:, 0] + 1), "'add'"),
        (Forward(lambda x: torch.unsqueeze(x[:, 0], 2)), "'unsqueeze'"),
        (Forward(lambda x: functional.dropout(x, 0.5)), "drops in evaluation too"),
        (Forward(functional.instance_norm), "'instance_norm'"),
        (Forward(lambda x: functional.alpha_dropout(x, 0.5, False)), "make it a layer"),
        (Forward(lambda x: x if x.sum() > 0 else -x), "torch.fx cannot trace it"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_inflated_is_named(network, named):
    with pytest.raises(UsageError) as caught:
        inflate(network)
    assert named in str(caught.value)
    assert "\nallowed: " in str(caught.value)


@pytest.mark.parametrize(
    "network",
    [
        torchvision.models.googlenet(aux_logits=False, init_weights=False, transform_input=True),
        nn.Sequential(nn.ReLU(), nn.Conv2d(3, 3, 1)),
        nn.Sequential(nn.Conv2d(3, 3, 1, groups=3)),
    ],
    ids=["transform_input", "relu", "depthwise"],
)
def test_channels_are_adapted_by_a_single_convolution_at_the_front(network):
    with pytest.raises(UsageError, match="no single convolution that could take 2 channels"):
        inflate(network, 2)


def test_impossible_settings_are_refused():
    flat = nn.Sequential(nn.Conv2d(3, 3, 1))
    with pytest.raises(UsageError, match="in_channels=0"):
        inflate(flat, 0)
    with pytest.raises(UsageError, match="spans 0 and steps 1 frames"):
        inflate(flat, time=lambda _name, _layer: TimeShape(0, 1))
    with pytest.raises(UsageError, match="edges='mirror'\nallowed: repeat or zeros"):
        inflate(flat, edges="mirror")
