"""3D DenseNet: shapes, options, what it does with short clips. Its outputs are held by tests/golden."""

import pytest
import torch

from kinema.core.errors import UsageError
from kinema.models.zoo import create_model


def small(**options):
    return create_model("densenet3d_121", 5, **{"growth_rate": 4, **options}).eval()


@pytest.mark.parametrize(
    ("options", "first", "last"),
    [
        ({}, (1, 8, 8, 16, 16), (1, 128, 1, 2, 2)),
        ({"max_pool": False}, (1, 8, 16, 32, 32), (1, 128, 2, 4, 4)),
        ({"conv1_t_stride": 2}, (1, 8, 4, 16, 16), (1, 128, 1, 2, 2)),
        ({"conv1_t_stride": 2, "max_pool": False}, (1, 8, 8, 32, 32), (1, 128, 1, 4, 4)),
        ({"conv1_t_size": 4, "max_pool": False}, (1, 8, 17, 32, 32), (1, 128, 2, 4, 4)),
        ({"conv1_t_size": 3, "growth_rate": 6}, (1, 12, 8, 16, 16), (1, 192, 1, 2, 2)),
    ],
)
def test_features_by_option(options, first, last):
    model, clips = small(**options), torch.zeros(1, 3, 16, 64, 64)
    with torch.no_grad():
        assert model.forward_features(clips, until="conv1").shape == first
        assert model.forward_features(clips).shape == last


@pytest.mark.parametrize(
    ("name", "options", "tensor", "shape"),
    [
        ("densenet3d_121", {}, "features.conv1.weight", (64, 3, 7, 7, 7)),
        ("densenet3d_121", {"conv1_t_size": 3}, "features.conv1.weight", (64, 3, 3, 7, 7)),
        ("densenet3d_121", {}, "features.denseblock3.denselayer24.conv1.weight", (128, 992, 1, 1, 1)),
        ("densenet3d_121", {"growth_rate": 12}, "features.denseblock1.denselayer2.conv2.weight", (12, 48, 3, 3, 3)),
        ("densenet3d_169", {}, "features.denseblock4.denselayer32.conv2.weight", (32, 128, 3, 3, 3)),
        ("densenet3d_201", {}, "features.transition3.conv.weight", (896, 1792, 1, 1, 1)),
        ("densenet3d_264", {}, "classifier.weight", (5, 2688)),
    ],
)
def test_tensors_by_option(name, options, tensor, shape):
    with torch.device("meta"):
        assert create_model(name, 5, **options).state_dict()[tensor].shape == shape


def test_a_layer_keeps_what_it_was_given():
    layer = small().features.denseblock1.denselayer1
    x = torch.randn(2, 8, 3, 4, 4)
    with torch.no_grad():
        assert torch.equal(layer(x)[:, :8], x)


@pytest.mark.parametrize(("frames", "height", "width"), [(1, 16, 16), (3, 33, 47), (14, 20, 40), (40, 20, 30)])
def test_any_length_and_size(frames, height, width):
    with torch.no_grad():
        assert small()(torch.randn(1, 3, frames, height, width)).shape == (1, 5)


def test_a_transition_halves_what_can_be_halved():
    pool = small().features.transition1.pool
    x = torch.randn(2, 3, 1, 5, 4)
    torch.testing.assert_close(pool(x), x[..., :4, :].unflatten(3, (2, 2)).unflatten(5, (2, 2)).mean((4, 6)))


def test_dropout_acts_on_every_layer_in_training_only():
    model, clips = small(dropout=0.5, max_pool=False), torch.randn(2, 3, 4, 32, 32)
    with torch.no_grad():
        assert torch.equal(model(clips), model(clips))
        layer, x = model.features.denseblock1.denselayer1, torch.randn(2, 8, 4, 8, 8)
        kept = layer(x)
        layer.train()
        for norm in (layer.norm1, layer.norm2):
            norm.eval()
        dropped = layer(x)
    assert torch.equal(dropped[:, :8], x)
    new = dropped[:, 8:]
    assert 0.4 < (new == 0).float().mean() < 0.6
    torch.testing.assert_close(new[new != 0], 2 * kept[:, 8:][new != 0])


def test_no_dropout_is_refused_as_a_share_of_one():
    with pytest.raises(UsageError, match="allowed: a number from 0 to below 1"):
        small(dropout=1.0)


def test_initialisation():
    torch.manual_seed(0)
    model = create_model("densenet3d_121", 400)
    for name, fan_out in [
        ("conv1", 64 * 343),
        ("denseblock3.denselayer20.conv1", 128),
        ("denseblock4.denselayer16.conv2", 32 * 27),
        ("transition2.conv", 256),
    ]:
        weight = model.features.get_submodule(name).weight
        assert weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.02)
    assert torch.equal(model.features.norm5.weight, torch.ones(1024))
    assert not model.classifier.bias.any()
    assert 0.9 * 1024**-0.5 < model.classifier.weight.abs().max().item() <= 1024**-0.5
