"""Inception-v1: the stages run what torchvision runs."""

import pytest
import torch
from torchvision.models import googlenet

from kinema.models.layers.inception import FEATURES, STAGES, inception_v1


@torch.no_grad()
def test_the_stages_are_torchvisions_forward():
    torch.manual_seed(0)
    network = inception_v1(3, 5).eval()
    theirs = googlenet(num_classes=5, aux_logits=False, init_weights=False).eval()
    theirs.load_state_dict(network.state_dict())
    pictures = torch.randn(2, 3, 65, 48)

    x = pictures
    for names in STAGES.values():
        for name in names:
            x = network.get_submodule(name)(x)
    assert x.shape == (2, FEATURES, 2, 2)
    torch.testing.assert_close(network.fc(x.mean((2, 3))), theirs(pictures))
    assert theirs(pictures).std(0).min() > 0.01  # pictures are told apart


def test_every_layer_before_the_pool_is_in_one_stage():
    network = inception_v1(3, None)
    staged = [name for names in STAGES.values() for name in names]
    children = [name for name, _ in network.named_children()]
    assert staged == [name for name in children if name not in {"avgpool", "dropout"}]


@pytest.mark.parametrize(("channels", "parameters"), [(3, 5_599_904), (20, 5_653_216)])
def test_a_picture_may_have_other_channels(channels, parameters):
    torch.manual_seed(0)
    network = inception_v1(channels, None)
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters
    assert network.conv1(torch.randn(1, channels, 32, 32)).shape == (1, 64, 16, 16)
    assert network.conv1.conv.weight.std().item() == pytest.approx((2 / (49 * channels)) ** 0.5, rel=0.05)
    assert inception_v1(channels, None, dropout=0.3).dropout.p == 0.3
