"""Networks that keep their names: torchvision's, PyTorchVideo's and C3D."""

import pytest
import torch

from kinema.models.convert import c3d, pytorchvideo, torchvision
from kinema.models.zoo import create_model

TORCHVISION = ("r3d_18", "mc3_18", "r2plus1d_18", "s3d", "mvit_v1_b", "mvit_v2_s", "swin3d_t", "swin3d_s", "swin3d_b")
PYTORCHVIDEO = (
    "slow_r50",
    "slowfast_r50",
    "slowfast_r101",
    "slowfast_16x8_r101_50_50",
    "x3d_l",
    "csn_r101",
    "c2d_r50",
    "i3d_r50",
    "r2plus1d_r50",
)
X3D = ("x3d_xs", "x3d_s", "x3d_m")
SOURCES = (torchvision, pytorchvideo, c3d)


def shapes(name, channels=3, **options):
    with torch.device("meta"):
        return create_model(name, 7, channels, **options).state_dict()


def recognise(tensors):
    return [found for source in SOURCES if (found := source.recognise(tensors))]


@pytest.mark.parametrize("channels", [2, 3])
@pytest.mark.parametrize("name", [*TORCHVISION, *PYTORCHVIDEO, "c3d", "c3d_bn"])
def test_each_is_recognised_by_one_source(name, channels):
    (found,) = recognise(shapes(name, channels))
    assert found.architectures == (name,)
    assert (found.in_channels, found.num_classes) == (channels, 7)


@pytest.mark.parametrize("name", X3D)
def test_what_cannot_be_told_apart_is_named_together(name):
    (found,) = recognise(shapes(name))
    assert found.architectures == X3D


@pytest.mark.parametrize("factor", [0.125, 0.3, 0.5, 2.0])
@pytest.mark.parametrize("name", ["slow_r50", "c2d_r50", "i3d_r50", "csn_r101", "r2plus1d_r50", "slowfast_r50", "c3d"])
def test_widths_are_seen_and_kernels_tell_wide_from_narrow(name, factor):
    with torch.device("meta"):
        tensors = shapes(name, widen_factor=factor)
        (found,) = recognise(tensors)
        again = create_model(name, 7, 3, **found.options).state_dict()
    assert found.architectures == (name,)
    assert {key: x.shape for key, x in again.items()} == {key: x.shape for key, x in tensors.items()}


def test_tensors_over_and_tensors_short_do_not_hide_a_network():
    tensors = dict(shapes("mc3_18"))
    del tensors["fc.weight"], tensors["layer3.0.conv1.0.weight"]
    tensors["aux.weight"] = torch.empty(3)
    (found,) = recognise(tensors)
    assert found.architectures == ("mc3_18",)
    assert found.num_classes is None


@pytest.mark.parametrize("name", ["resnet3d_18", "densenet3d_121", "i3d"])
def test_other_networks_are_not_theirs(name):
    assert recognise(shapes(name)) == []
