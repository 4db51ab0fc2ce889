"""C3D: shapes, the grid its first fully connected layer needs, batch norm. Its outputs are held by tests/golden."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from kinema.models.weights import replace_head
from kinema.models.zoo import create_model, describe


def small(name="c3d", **options):
    return create_model(name, 5, **{"widen_factor": 0.125, **options}).eval()


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("c3d", [(64, 16, 56, 56), (128, 8, 28, 28), (256, 4, 14, 14), (512, 2, 7, 7), (512, 1, 4, 4)]),
        ("c3d_bn", [(64, 8, 56, 56), (128, 4, 28, 28), (256, 2, 14, 14), (512, 1, 7, 7), (512, 1, 4, 4)]),
    ],
)
def test_shapes_on_the_way(name, shapes):
    told = {stage.name: stage.shapes for stage in describe(name).stages}
    assert told == {
        **{f"conv{i}": (shape,) for i, shape in enumerate(shapes, start=1)},
        "fc6": ((4096,),),
        "fc7": ((4096,),),
        "fc8": ((400,),),
    }


def test_the_size_that_the_paper_of_i3d_tells():
    assert describe("c3d_bn").parameters == pytest.approx(79e6, rel=0.05)


def plainly(model, clips):
    """The network of the papers on clips whose last grid is 1x4x4."""
    state = model.state_dict()

    def layer(run, name, norm, x, **arguments):
        x = run(x, state[f"{name}.weight"], state.get(f"{name}.bias"), **arguments)
        if f"{norm}.weight" in state:
            x = functional.batch_norm(
                x, *(state[f"{norm}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
            )
        return x.relu()

    x = clips
    pool1 = (2, 2, 2) if "bn1.weight" in state else (1, 2, 2)
    with_norm = {"pool5": (1, 2, 2)} if "bn1.weight" in state else {}
    for stage, pool, padding in [
        (("1",), pool1, 0),
        (("2",), 2, 0),
        (("3a", "3b"), 2, 0),
        (("4a", "4b"), 2, 0),
        (("5a", "5b"), with_norm.get("pool5", 2), (0, 1, 1)),
    ]:
        for name in stage:
            x = layer(functional.conv3d, f"conv{name}", f"bn{name}", x, padding=1)
        x = functional.max_pool3d(x, pool, pool, padding)
    x = layer(functional.linear, "fc6", "bn6", x.flatten(1))
    x = layer(functional.linear, "fc7", "bn7", x)
    return functional.linear(x, state["fc8.weight"], state["fc8.bias"])


@torch.no_grad()
@pytest.mark.parametrize("name", ["c3d", "c3d_bn"])
@pytest.mark.parametrize("shape", [(2, 3, 16, 112, 112), (1, 3, 19, 100, 127)])
def test_clips_that_give_the_grid_go_through_the_plain_network(name, shape):
    torch.manual_seed(0)
    model = small(name)
    for key, tensor in model.state_dict().items():
        if key.startswith("bn") and tensor.ndim:
            tensor.uniform_(0.5, 1.5)
    clips = torch.randn(shape)
    assert torch.equal(model(clips), plainly(model, clips))


@torch.no_grad()
def test_other_grids_are_averaged_to_it():
    model = small()
    features = torch.randn(2, 64, 2, 8, 12)
    averaged = features.unflatten(4, (4, 3)).unflatten(3, (4, 2)).mean((2, 4, 6)).unsqueeze(2)
    torch.testing.assert_close(model.forward_head(features), model.forward_head(averaged))


@torch.no_grad()
@pytest.mark.parametrize("name", ["c3d", "c3d_bn"])
@pytest.mark.parametrize(("frames", "height", "width"), [(1, 16, 16), (5, 48, 33), (40, 17, 130)])
def test_any_length_and_size(name, frames, height, width):
    assert small(name)(torch.randn(1, 3, frames, height, width)).shape == (1, 5)


@pytest.mark.parametrize(
    ("name", "options", "tensor", "shape"),
    [
        ("c3d", {}, "fc6.weight", (4096, 8192)),
        ("c3d", {"widen_factor": 0.5}, "fc6.weight", (2048, 4096)),
        ("c3d", {"widen_factor": 0.5}, "conv3b.bias", (128,)),
        ("c3d_bn", {"widen_factor": 2}, "bn7.running_mean", (8192,)),
    ],
)
def test_tensors_by_option(name, options, tensor, shape):
    with torch.device("meta"):
        assert create_model(name, 5, **options).state_dict()[tensor].shape == shape


def test_every_layer_but_the_last_has_either_a_bias_or_a_batch_norm():
    layers = ("conv1", "conv2", "conv3a", "conv3b", "conv4a", "conv4b", "conv5a", "conv5b", "fc6", "fc7")
    plain, normed = set(small("c3d").state_dict()), set(small("c3d_bn").state_dict())
    for layer in layers:
        norm = f"bn{layer[-1] if layer.startswith('fc') else layer.removeprefix('conv')}"
        assert (f"{layer}.bias" in plain, f"{norm}.weight" in plain) == (True, False)
        assert (f"{layer}.bias" in normed, f"{norm}.weight" in normed) == (False, True)
    assert "fc8.bias" in plain & normed


def test_a_batch_norm_freezes_with_its_layer():
    model = small("c3d_bn")
    model.train()
    model.freeze("fc7")
    still = {name for name, module in model.named_modules() if name.startswith("bn") and not module.training}
    assert still == {"bn1", "bn2", "bn3a", "bn3b", "bn4a", "bn4b", "bn5a", "bn5b", "bn6"}
    assert [name for name, parameter in model.named_parameters() if parameter.requires_grad] == [
        "fc7.weight",
        "bn7.weight",
        "bn7.bias",
        "fc8.weight",
        "fc8.bias",
    ]


def test_it_can_be_cut_and_its_head_exchanged():
    model = small("c3d_bn")
    assert replace_head(model, 2).heads == ("fc8",)
    model.truncate("conv4")
    assert list(model.parameters_by_stage()) == ["conv1", "conv2", "conv3", "conv4"]
    with torch.no_grad():
        assert model.forward_features(torch.randn(1, 3, 16, 32, 32)).shape == (1, 64, 1, 2, 2)


@torch.no_grad()
def test_dropout_acts_twice_and_in_training_only():
    features = torch.randn(1, 64, 1, 4, 4)
    sure, unsure = small(dropout=0.0).train(), small().train()
    assert torch.equal(sure.forward_head(features), sure.forward_head(features))
    seen = []
    unsure.fc7.register_forward_hook(lambda _module, inputs, _output: seen.append(inputs[0]))
    unsure.fc8.register_forward_hook(lambda _module, inputs, _output: seen.append(inputs[0]))
    for layer in (unsure.fc6, unsure.fc7):
        nn.init.zeros_(layer.weight)
        nn.init.ones_(layer.bias)
    unsure.forward_head(features)
    assert [sorted(x.unique().tolist()) for x in seen] == [[0.0, 2.0], [0.0, 2.0]]
    unsure.eval()
    assert torch.equal(unsure.forward_head(features), unsure.forward_head(features))


def test_initialisation_holds_the_size_of_the_signal():
    torch.manual_seed(0)
    model = create_model("c3d", 5, widen_factor=0.5)
    for layer, expected in [(model.conv3b, (2 / (128 * 27)) ** 0.5), (model.fc7, (2 / 2048) ** 0.5)]:
        assert layer.weight.std().item() == pytest.approx(expected, rel=0.02)
        assert not layer.bias.any()
    assert model.fc8.weight.std().item() == pytest.approx(2048**-0.5, rel=0.02)
