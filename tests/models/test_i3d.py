"""I3D: padding, shapes, batch norms without scale, the last average. Its outputs are held by tests/golden."""

import pytest
import torch
from torch.nn import functional

from kinema.models.i3d import SamePadding, ShiftBatchNorm3d, Unit3d
from kinema.models.zoo import create_model, describe

STAGES = {
    "Conv3d_1a_7x7": (64, 32, 112, 112),
    "Conv3d_2b_1x1": (64, 32, 56, 56),
    "Conv3d_2c_3x3": (192, 32, 56, 56),
    "Mixed_3b": (256, 32, 28, 28),
    "Mixed_3c": (480, 32, 28, 28),
    "Mixed_4b": (512, 16, 14, 14),
    "Mixed_4c": (512, 16, 14, 14),
    "Mixed_4d": (512, 16, 14, 14),
    "Mixed_4e": (528, 16, 14, 14),
    "Mixed_4f": (832, 16, 14, 14),
    "Mixed_5b": (832, 8, 7, 7),
    "Mixed_5c": (1024, 8, 7, 7),
    "logits": (400, 7, 1, 1),
}


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return create_model("i3d", 5).eval()


def test_stages_are_the_endpoints_of_the_paper():
    assert {stage.name: stage.shapes for stage in describe("i3d").stages} == {
        name: (shape,) for name, shape in STAGES.items()
    }


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "front", "behind"),
    [
        (224, 7, 2, 2, 3),
        (225, 7, 2, 3, 3),
        (112, 3, 2, 0, 1),
        (113, 3, 2, 1, 1),
        (14, 2, 2, 0, 0),
        (15, 2, 2, 0, 1),
        (1, 7, 2, 3, 3),
        (9, 1, 1, 0, 0),
        (10, 3, 3, 1, 1),
        (9, 3, 1, 1, 1),
    ],
)
def test_padding_is_what_tensorflow_calls_same(size, kernel, stride, front, behind):
    clip = torch.ones(1, 1, size, size + 1, size + 2)
    padded = SamePadding((kernel,) * 3, (stride,) * 3)(clip)
    expected = torch.cat([torch.zeros(front), torch.ones(size), torch.zeros(behind)])
    assert torch.equal(padded.amax((0, 1, 3, 4)), expected)
    for axis, length in enumerate(clip.shape[2:]):
        assert (padded.shape[2 + axis] - kernel) // stride + 1 == -(-length // stride)


def test_padding_differs_by_axis():
    padded = SamePadding((1, 3, 2), (1, 2, 2))(torch.ones(1, 1, 4, 6, 7))
    assert padded.shape == (1, 1, 4, 7, 8)
    assert not padded[:, :, :, -1].any()
    assert not padded[..., -1].any()
    assert padded[:, :, :, :-1, :-1].all()


@pytest.mark.parametrize("shape", [(3, 8, 8, 8), (3, 5, 9, 6)])
def test_built_in_padding_is_the_same_at_stride_one(shape):
    unit = Unit3d(3, 4, 3).eval()
    clip = torch.randn(2, *shape)
    padded = SamePadding((3, 3, 3), (1, 1, 1))(clip)
    expected = functional.conv3d(padded, unit.conv3d.weight) / (1 + 1e-3) ** 0.5
    with torch.no_grad():
        torch.testing.assert_close(unit(clip), expected.relu())


def test_tensors_carry_published_names_without_scales(model):
    names = set(model.state_dict())
    norms = {"bias", "running_mean", "running_var", "num_batches_tracked"}
    assert {name for name in names if name.startswith("Conv3d_1a_7x7.")} == {
        "Conv3d_1a_7x7.conv3d.weight",
        *(f"Conv3d_1a_7x7.bn.{name}" for name in norms),
    }
    assert {name.split(".")[1] for name in names if name.startswith("Mixed_4e.")} == {
        "b0",
        "b1a",
        "b1b",
        "b2a",
        "b2b",
        "b3b",
    }
    assert {name for name in names if name.startswith("logits")} == {"logits.conv3d.weight", "logits.conv3d.bias"}
    assert not [name for name in names if name.endswith("bn.weight")]


def test_flow_has_two_channels():
    with torch.device("meta"):
        flow = create_model("i3d", 400, 2)
    assert flow.Conv3d_1a_7x7.conv3d.weight.shape == (64, 2, 7, 7, 7)
    assert sum(parameter.numel() for parameter in flow.parameters()) == 12_668_032


@pytest.mark.parametrize(
    ("grid", "window"),
    [
        ((2, 7, 7), (2, 7, 7)),
        ((5, 7, 7), (2, 7, 7)),
        ((3, 9, 8), (2, 7, 7)),
        ((1, 2, 3), (1, 2, 3)),
        ((4, 3, 8), (2, 3, 7)),
    ],
)
def test_logits_average_the_windows_of_the_last_grid(model, grid, window):
    features = torch.randn(2, 1024, *grid)
    windows = functional.avg_pool3d(features, window, stride=1).flatten(2).mean(2)
    expected = functional.linear(windows, model.logits.conv3d.weight.flatten(1), model.logits.conv3d.bias)
    with torch.no_grad():
        torch.testing.assert_close(model.forward_head(features), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("frames", "height", "width"), [(1, 16, 16), (3, 33, 47), (19, 20, 30)])
def test_any_length_and_size(model, frames, height, width):
    with torch.no_grad():
        assert model(torch.randn(1, 3, frames, height, width)).shape == (1, 5)


def test_batch_norm_shifts_and_does_not_scale():
    norm = ShiftBatchNorm3d(4)
    assert isinstance(norm, torch.nn.BatchNorm3d)
    assert norm.weight is None
    x = 3 + 2 * torch.randn(8, 4, 2, 3, 3)
    out = norm(x)
    out.sum().backward()
    assert torch.equal(norm.bias.grad, torch.full((4,), 8.0 * 18))
    torch.testing.assert_close(out.std((0, 2, 3, 4), correction=0), torch.ones(4), rtol=1e-3, atol=0)
    torch.testing.assert_close(norm.running_mean, 0.01 * x.mean((0, 2, 3, 4)))
    zeros = torch.full((1, 4, 1, 1, 1), 0.5)
    norm.reset_parameters()
    torch.testing.assert_close(norm.eval()(zeros), zeros / (1 + 1e-3) ** 0.5)


def test_batch_norms_can_be_synchronised():
    unit = torch.nn.SyncBatchNorm.convert_sync_batchnorm(Unit3d(3, 4, 1))
    assert type(unit.bn) is torch.nn.SyncBatchNorm
    assert set(unit.state_dict()) == set(Unit3d(3, 4, 1).state_dict())


@torch.no_grad()
def test_dropout_acts_in_training_only(model):
    features = torch.randn(1, 1024, 2, 7, 7)
    assert torch.equal(model.forward_head(features), model.forward_head(features))
    model.dropout.train()
    assert not torch.equal(model.forward_head(features), model.forward_head(features))
    model.dropout.eval()


def test_dropout_is_an_option():
    with torch.device("meta"):
        assert create_model("i3d", 5).dropout.p == 0.5
        assert create_model("i3d", 5, dropout=0.0).dropout.p == 0.0


def test_initialisation(model):
    weight = model.Mixed_5c.b1b.conv3d.weight
    deviation = (192 * 27) ** -0.5
    assert weight.abs().max().item() <= 2 * deviation
    # Cutting a normal distribution at two deviations leaves 0.88 of one.
    assert weight.std().item() == pytest.approx(0.8796 * deviation, rel=0.01)
    assert not model.logits.conv3d.bias.any()
    assert not model.Conv3d_1a_7x7.bn.bias.any()


class LeafNorms(torch.fx.Tracer):
    def is_leaf_module(self, module, name):
        return isinstance(module, ShiftBatchNorm3d) or super().is_leaf_module(module, name)


@torch.no_grad()
def test_a_graph_of_it_takes_other_sizes(model):
    graph = torch.fx.GraphModule(model, LeafNorms().trace(model))
    for shape in [(1, 3, 6, 48, 48), (2, 3, 9, 33, 49)]:
        clips = torch.randn(shape)
        assert torch.equal(graph(clips), model(clips))
