"""Files of 3D-ResNets-PyTorch: every family, its options seen in the shapes, old names and new."""

import re

import pytest
import torch

from kinema.core.errors import WeightsError
from kinema.models.convert.conversion import convert_tensors
from kinema.models.convert.hara import recognise
from kinema.models.zoo import create_model, full_options, list_models

FAMILIES = ("resnet3d_", "resnet2p1d_", "preact_resnet3d_", "wide_resnet3d_", "resnext3d_", "densenet3d_")
NAMES = [name for name in list_models() if name.startswith(FAMILIES)]


def shapes(name, classes=7, channels=3, **options):
    """The tensors of a network without their memory."""
    with torch.device("meta"):
        return create_model(name, classes, channels, **options).state_dict()


@pytest.mark.parametrize("name", NAMES)
def test_every_network_is_recognised(name):
    found = recognise(shapes(name), prefixed=False)
    assert found.architectures == (name,)
    assert full_options(name, found.options) == full_options(name, {})
    assert (found.in_channels, found.num_classes) == (3, 7)


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("resnet3d_18", {"shortcut": "A", "conv1_t_size": 3, "widen_factor": 0.3}),
        ("resnet3d_50", {"shortcut": "A", "widen_factor": 1.5}),
        ("resnet3d_50", {"conv1_t_size": 5, "widen_factor": 0.375}),
        ("resnet3d_200", {"widen_factor": 2.0}),
        ("resnet2p1d_18", {"shortcut": "A", "conv1_t_size": 5, "widen_factor": 0.7}),
        ("resnet2p1d_50", {"conv1_t_size": 1, "widen_factor": 0.25}),
        ("preact_resnet3d_18", {"shortcut": "A", "widen_factor": 0.5}),
        ("preact_resnet3d_34", {"conv1_t_size": 3}),
        ("preact_resnet3d_152", {"shortcut": "A", "widen_factor": 1.1}),
        ("wide_resnet3d_50", {"k": 1.0, "shortcut": "A"}),
        ("wide_resnet3d_50", {"k": 3.0, "conv1_t_size": 3, "widen_factor": 0.5}),
        ("wide_resnet3d_50", {"k": 2.5}),
        ("resnext3d_50", {"cardinality": 1, "widen_factor": 0.5}),
        ("resnext3d_50", {"cardinality": 16, "shortcut": "A"}),
        ("resnext3d_101", {"cardinality": 8, "conv1_t_size": 3, "widen_factor": 2.0}),
        ("resnext3d_152", {"cardinality": 64}),
        ("densenet3d_121", {"conv1_t_size": 3}),
        ("densenet3d_201", {"conv1_t_size": 1, "growth_rate": 16}),
    ],
)
def test_options_are_seen_in_the_shapes(name, options, channels):
    found = recognise(shapes(name, channels=channels, **options), prefixed=False)
    assert found.architectures == (name,)
    assert full_options(name, found.options) == full_options(name, options)
    assert found.in_channels == channels


def old_dense_name(name):
    name = name.replace("features.conv1", "features.conv0").replace("features.norm1", "features.norm0")
    return re.sub(r"(denselayer\d+\.)(norm|conv)(\d)", r"\1\2.\3", name)


def test_old_densenets_are_renamed(tools):
    torch.manual_seed(0)
    model = tools.randomised(create_model("densenet3d_121", 4, growth_rate=4))
    old = {f"module.{old_dense_name(name)}": tensor for name, tensor in model.state_dict().items()}
    assert "module.features.denseblock3.denselayer24.norm.2.running_var" in old
    assert "module.features.transition1.norm.weight" in old

    found = convert_tensors(old)

    assert found.source == "3D-ResNets-PyTorch, branch CVPR2018"
    assert found.left_over == found.missing == ()
    assert all(torch.equal(found.model.state_dict()[name], x) for name, x in model.state_dict().items())


@pytest.mark.parametrize(("prefixed", "branch"), [(True, "CVPR2018"), (False, "master")])
def test_what_was_fed_depends_on_the_branch(prefixed, branch):
    found = recognise(shapes("resnet3d_18"), prefixed=prefixed)
    assert branch in found.input_reason
    if prefixed:
        assert found.input.value_range == 255
        assert found.input.mean == (114.7748, 107.7354, 99.475)
        assert found.input.std == (1, 1, 1)
    else:
        assert found.input is None  # as the row of the zoo says


@pytest.mark.parametrize("name", ["wide_resnet3d_50", "resnext3d_101"])
def test_families_that_master_cannot_write_are_of_the_old_branch(name):
    assert recognise(shapes(name), prefixed=False).input.value_range == 255


def test_wide_networks_of_master_have_a_wide_first_convolution():
    # As master builds k = 2: every layer twice as wide, the first convolution too.
    found = recognise(shapes("wide_resnet3d_50", k=1.0, widen_factor=2.0), prefixed=False)
    assert (found.options["k"], found.options["widen_factor"]) == (1, 2)
    assert found.source == "3D-ResNets-PyTorch"
    assert found.input is None


def test_flow_has_two_of_the_means():
    found = recognise(shapes("resnet3d_18", channels=2), prefixed=False)
    assert (found.input.modality, found.input.mean, found.input.std) == ("flow", (0.4345, 0.4051), (0.2768, 0.2713))


def test_a_depth_that_was_not_published_is_refused():
    tensors = {name: x for name, x in shapes("resnet3d_34").items() if not name.startswith("layer2.3")}
    with pytest.raises(WeightsError, match="basic blocks with 3, 3, 6, 3 of them") as caught:
        recognise(tensors, prefixed=False)
    assert "3, 4, 6, 3 (depth 34)" in caught.value.allowed


def test_a_depth_that_kinema_does_not_build_is_refused():
    tensors = shapes("preact_resnet3d_18")
    one_each = {name: x for name, x in tensors.items() if not re.match(r"layer\d\.1\.", name)}
    with pytest.raises(WeightsError, match="preact_resnet3d_10, a depth that kinema does not build"):
        recognise(one_each, prefixed=False)


def test_a_network_without_a_convolution_is_refused_in_words():
    tensors = shapes("resnet3d_18")
    del tensors["layer3.0.conv1.weight"]
    with pytest.raises(WeightsError, match=r"without its layer3\.0\.conv1\.weight"):
        recognise(tensors, prefixed=False)


def test_widths_of_no_factor_are_refused():
    tensors = shapes("resnet3d_18")
    tensors["conv1.weight"] = torch.empty(100, 3, 7, 7, 7, device="meta")
    with pytest.raises(WeightsError, match="layers of 100, 64, 128, 256, 512 channels"):
        recognise(tensors, prefixed=False)


def test_pictures_networks_are_not_taken_for_these():
    tensors = {name: x[:, :, 0] if x.ndim == 5 else x for name, x in shapes("resnet3d_18").items()}
    assert recognise(tensors, prefixed=False) is None
