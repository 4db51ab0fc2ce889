"""Networks of the zoo started from 2D ones: a still picture keeps its features wherever no padding reaches."""

import pytest
import torch
import torchvision
from torch import nn

from kinema.core.errors import WeightsError
from kinema.models.inflate_into import inflate_into
from kinema.models.zoo import create_model


def trained(network):
    """`network` in float64 with statistics, scales and shifts that are not those of a fresh one."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.running_mean, module.bias.data):
                tensor.normal_(0, 0.1)
            for tensor in (module.running_var, module.weight.data):
                tensor.uniform_(0.5, 1.5)
    return network.double().eval()


def features(network, fed, places):
    """What the submodules `places` give, in their order."""
    seen = {}
    for place in places:
        network.get_submodule(place).register_forward_hook(
            lambda _module, _inputs, out, place=place: seen.update({place: out})
        )
    network(fed)
    return [seen[place] for place in places]


def frames_alike(deep, flat):
    """Positions of the frames of `deep` (N, C, T, H, W) that have the features `flat` (N, C, H, W)."""
    apart = (deep - flat.unsqueeze(2)).square().sum((0, 1, 3, 4)).sqrt() / flat.norm()
    return (apart < 1e-9).nonzero().flatten().tolist()


def still(picture, frames):
    return picture.unsqueeze(2).expand(-1, -1, frames, -1, -1)


# The stages, how far apart their frames lie in frames of the clip, and how many of those a feature spans.
RESNET_STEPS = {"layer1": 2, "layer2": 4, "layer3": 8, "layer4": 16}
RESNETS = {
    "resnet18": ("resnet3d_18", {"layer1": 25, "layer2": 53, "layer3": 109, "layer4": 221}),
    "resnet50": ("resnet3d_50", {"layer1": 21, "layer2": 49, "layer3": 137, "layer4": 217}),
}


@torch.no_grad()
@pytest.mark.parametrize("name", [pytest.param("resnet18"), pytest.param("resnet50", marks=pytest.mark.slow)])
def test_a_resnet_sees_in_the_middle_of_a_still_clip_what_it_saw_in_the_picture(name):
    torch.manual_seed(0)
    ours, spans = RESNETS[name]
    flat, deep = trained(getattr(torchvision.models, name)()), create_model(ours, 5).double().eval()
    inflate_into(deep, flat.state_dict())
    picture, frames = torch.randn(1, 3, 32, 32, dtype=torch.float64), 256

    found = features(deep, still(picture, frames), spans)
    expected = features(flat, picture, spans)

    for (stage, span), out, at_rest in zip(spans.items(), found, expected, strict=True):
        step, reach = RESNET_STEPS[stage], span // 2
        interior = [i for i in range(out.shape[2]) if reach <= i * step < frames - reach]
        assert interior
        alike = frames_alike(out, at_rest)
        assert set(interior) <= set(alike)
        assert 0 not in alike  # zeros before the clip are seen


@torch.no_grad()
def test_i3d_sees_in_the_middle_of_a_still_clip_what_googlenet_saw_in_the_picture():
    torch.manual_seed(0)
    flat = trained(torchvision.models.googlenet(aux_logits=True, init_weights=False))
    deep = create_model("i3d", 5).double().eval()
    report = inflate_into(deep, flat.state_dict())
    places = {
        "conv1": ("Conv3d_1a_7x7", 1),
        "conv2": ("Conv3d_2b_1x1", 1),
        "conv3": ("Conv3d_2c_3x3", 2),
        "inception3a": ("Mixed_3b", 3),
        "inception3b": ("Mixed_3c", 4),
        "inception4a": ("Mixed_4b", 4),
        "inception4e": ("Mixed_4f", 8),
        "inception5a": ("Mixed_5b", 6),
        "inception5b": ("Mixed_5c", 7),
    }
    # 63 pixels: the first layer pads them alike in both networks, and every later map can be halved.
    picture = torch.randn(1, 3, 63, 63, dtype=torch.float64)

    found = features(deep, still(picture, 128), [ours for ours, _ in places.values()])
    expected = features(flat, picture, list(places))

    for (place, (_, margin)), out, at_rest in zip(places.items(), found, expected, strict=True):
        alike = frames_alike(out, at_rest)
        interior = range(margin, out.shape[2] - margin - 1)
        assert set(interior) <= set(alike), place
        assert len(interior) > 0
        assert 0 not in alike
    assert report.fresh == ("logits.conv3d.weight", "logits.conv3d.bias")
    assert {name.split(".")[0] for name in report.unused} == {"fc", "aux1", "aux2"}


@pytest.mark.parametrize(
    ("flat", "name", "options"),
    [
        ("resnet34", "resnet3d_34", {}),
        ("resnet101", "resnet3d_101", {"conv1_t_size": 3}),
        ("resnet152", "resnet3d_152", {"conv1_t_stride": 2, "max_pool": False}),
        ("resnext50_32x4d", "resnext3d_50", {}),
        ("wide_resnet50_2", "wide_resnet3d_50", {"k": 2}),
        ("densenet121", "densenet3d_121", {}),
        ("densenet169", "densenet3d_169", {"conv1_t_size": 5}),
        ("densenet201", "densenet3d_201", {}),
    ],
)
def test_every_tensor_but_the_heads_is_filled(flat, name, options):
    with torch.device("meta"):
        pictures = getattr(torchvision.models, flat)()
        model = create_model(name, 5, **options)
    report = inflate_into(model, pictures.state_dict())
    heads = {f"{head}.{leaf}" for head in model.heads for leaf in ("weight", "bias")}
    assert set(report.fresh) == set(report.unused) == heads
    assert set(report.matched) == set(model.state_dict()) - heads


def by_hand(kernel, frames):
    return torch.stack([kernel / frames] * frames, 2)


def test_what_is_filled_and_what_is_left():
    torch.manual_seed(0)
    flat, model = torchvision.models.resnet18(), create_model("resnet3d_18", 1000, conv1_t_size=5)
    head = model.fc.weight.clone()

    report = inflate_into(model, flat.state_dict())

    assert torch.equal(model.fc.weight, head)  # classes of pictures are none of clips, however many there are
    torch.testing.assert_close(model.conv1.weight.detach(), by_hand(flat.conv1.weight.detach(), 5))
    shortcut = model.layer2[0].downsample[0].weight
    torch.testing.assert_close(shortcut.detach(), flat.layer2[0].downsample[0].weight.detach().unsqueeze(2))
    assert str(report) == "120 tensors inflated; new: fc.weight, fc.bias; 2 of the 2D network unused"


@pytest.mark.parametrize("name", ["resnet3d_18", "i3d"])
@pytest.mark.parametrize("channels", [1, 2, 5])
def test_the_first_convolution_takes_other_channels(name, channels):
    torch.manual_seed(0)
    if name == "i3d":
        flat = torchvision.models.googlenet(aux_logits=False, init_weights=False)
        kernel = flat.conv1.conv.weight.detach() * flat.conv1.bn.weight.detach().reshape(-1, 1, 1, 1)
    else:
        flat = torchvision.models.resnet18()
        kernel = flat.conv1.weight.detach()
    model = create_model(name, 5, channels)
    inflate_into(model, flat.state_dict())
    first = next(tensor for tensor in model.parameters() if tensor.ndim == 5).detach()
    expected = kernel.sum(1, keepdim=True).expand(-1, channels, -1, -1) / channels
    torch.testing.assert_close(first, by_hand(expected, 7))


def test_scales_of_googlenet_go_into_its_convolutions():
    flat = trained(torchvision.models.googlenet(aux_logits=False, init_weights=False)).float()
    model = create_model("i3d", 5)
    inflate_into(model, flat.state_dict())
    norm, unit = flat.inception4b.branch2[1].bn, model.Mixed_4c.b1b
    assert torch.equal(unit.bn.running_mean, norm.running_mean * norm.weight)
    assert torch.equal(unit.bn.running_var, norm.running_var)
    assert torch.equal(unit.bn.bias, norm.bias)


def test_files_from_before_batch_norms_counted_will_do():
    tensors = {
        name: tensor for name, tensor in torchvision.models.resnet18().state_dict().items() if "num_batches" not in name
    }
    model = create_model("resnet3d_18", 5)
    fresh = inflate_into(model, tensors).fresh
    assert {name.rpartition(".")[2] for name in fresh if not name.startswith("fc.")} == {"num_batches_tracked"}


@pytest.mark.parametrize(
    ("flat", "name", "options", "told"),
    [
        ("resnet18", "resnet3d_18", {"shortcut": "A"}, "left over (18): layer2.0.downsample.0.weight"),
        ("resnet18", "resnet3d_34", {}, "missing"),
        ("resnet34", "resnet3d_18", {}, "left over"),
        ("resnet18", "resnet3d_18", {"widen_factor": 0.5}, "conv1.weight (64, 3, 7, 7, 7) instead of (32, 3, 7, 7, 7)"),
        ("resnet18", "preact_resnet3d_18", {}, "layer2.0.bn1"),
        ("resnet50", "i3d", {}, "missing (228): Conv3d_1a_7x7.conv3d.weight"),
        ("densenet121", "densenet3d_121", {"growth_rate": 8}, "other shape"),
    ],
)
def test_other_layouts_are_refused_and_nothing_is_loaded(flat, name, options, told):
    pictures, model = getattr(torchvision.models, flat)(), create_model(name, 5, **options)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    with pytest.raises(WeightsError) as caught:
        inflate_into(model, pictures.state_dict())
    assert told in str(caught.value)
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())


def test_only_the_first_convolution_may_take_other_channels():
    with torch.device("meta"):
        tensors = torchvision.models.resnet18().state_dict()
        model = create_model("resnet3d_18", 5)
    tensors["layer1.0.conv1.weight"] = tensors["layer1.0.conv1.weight"][:, :32]
    with pytest.raises(
        WeightsError, match=r"layer1\.0\.conv1\.weight \(64, 32, 3, 3, 3\) instead of \(64, 64, 3, 3, 3\)"
    ):
        inflate_into(model, tensors)
