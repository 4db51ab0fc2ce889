"""One I3D under three sets of names, with and without scales in its batch norms."""

import numpy as np
import pytest
import torch

from kinema.core.errors import WeightsError
from kinema.core.spec import FlowSpec
from kinema.models.convert.conversion import convert_file, convert_tensors


def equal(found, model):
    theirs, ours = found.model.state_dict(), model.state_dict()
    assert list(theirs) == list(ours)
    return all(torch.equal(theirs[name], tensor) for name, tensor in ours.items())


def logits(tensors, clip):
    """What I3D gives whose batch norms have scales, the published way."""
    from kinema.models.zoo import create_model

    model = create_model("i3d", 3, clip.shape[1]).double()
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            scale = tensors[f"{name}.weight"]
            module.register_parameter("weight", torch.nn.Parameter(scale.clone()))
    model.load_state_dict(tensors)
    with torch.no_grad():
        return model.eval()(clip)


def test_pytorch_i3ds_scales_go_into_the_convolutions(scaled_i3d):
    found = convert_tensors(scaled_i3d)

    assert (found.source, found.architecture, found.in_channels, found.num_classes) == ("pytorch-i3d", "i3d", 3, 3)
    assert found.left_over == found.missing == found.filled == ()
    assert not any(name.endswith(".bn.weight") for name in found.model.state_dict())
    clip = torch.randn(1, 3, 9, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(found.model(clip), logits(scaled_i3d, clip), rtol=1e-9, atol=1e-12)


def test_kinetics_i3d_pytorch_has_the_same_under_other_names(scaled_i3d, tools):
    renamed = {tools.hassony_name(name): tensor for name, tensor in scaled_i3d.items()}
    assert {"conv3d_1a_7x7.batch3d.weight", "mixed_3b.branch_1.1.conv3d.weight", "conv3d_0c_1x1.conv3d.bias"} <= set(
        renamed
    )
    found = convert_tensors(renamed)
    assert found.source == "kinetics_i3d_pytorch"
    assert equal(found, convert_tensors(scaled_i3d).model)


def test_kinemas_own_i3d_is_taken_as_it_is(i3d):
    assert equal(convert_tensors(i3d.state_dict()), i3d)


def test_deepminds_checkpoints(i3d, tools, tmp_path):
    variables = tools.deepmind_variables(i3d, "")
    assert len(variables) == 230
    assert "Mixed_5b/Branch_2/Conv3d_0a_3x3/conv_3d/w" in variables
    assert "Mixed_4b/Branch_2/Conv3d_0b_3x3/conv_3d/w" in variables
    slots = {f"{name}/Momentum": values for name, values in variables.items() if name.endswith(("/b", "/beta"))}
    tools.write_bundle(tmp_path / "model.ckpt", variables | slots)

    found = convert_file(tmp_path / "model.ckpt")

    assert found.source == "kinetics-i3d (TensorFlow)"
    assert equal(found, i3d)
    assert sorted(found.skipped) == sorted(slots)
    assert len(found.filled) == 57
    assert found.missing == found.left_over == ()


@pytest.mark.parametrize("scope", ["RGB/inception_i3d/", "Flow/inception_i3d/", "mine/"])
def test_scopes_are_taken_off(i3d, tools, scope):
    variables = tools.deepmind_variables(i3d, scope)
    found = convert_tensors({name: torch.from_numpy(values) for name, values in variables.items()})
    assert equal(found, i3d)
    assert found.left_over == ()


def test_scales_of_a_copy_are_folded_too(i3d, tools):
    variables = tools.deepmind_variables(i3d)
    scope = "RGB/inception_i3d/Conv3d_2c_3x3/"
    variables[f"{scope}batch_norm/gamma"] = np.full((1, 1, 1, 1, 192), 2, "f4")
    found = convert_tensors({name: torch.from_numpy(values) for name, values in variables.items()})
    assert torch.equal(found.model.Conv3d_2c_3x3.conv3d.weight, 2 * i3d.Conv3d_2c_3x3.conv3d.weight)
    assert torch.equal(found.model.Conv3d_2c_3x3.bn.running_mean, 2 * i3d.Conv3d_2c_3x3.bn.running_mean)


def test_what_tensorflow_has_besides_is_left_over(i3d, tools):
    variables = tools.deepmind_variables(i3d)
    tensors = {name: torch.from_numpy(values) for name, values in variables.items()}
    tensors["global_step"] = torch.tensor(5)
    tensors["RGB/inception_i3d/Mixed_9z/Branch_7/Conv3d_0a_1x1/conv_3d/w"] = torch.zeros(1)
    with pytest.raises(WeightsError, match=r"left over \(2\): .*global_step") as caught:
        convert_tensors(tensors)
    assert "RGB/inception_i3d/Mixed_9z/Branch_7" in caught.value.given


def test_two_networks_in_a_checkpoint_are_a_question(i3d, tools):
    both = tools.deepmind_variables(i3d) | tools.deepmind_variables(i3d, "Flow/inception_i3d/")
    with pytest.raises(WeightsError, match="Flow/inception_i3d/, RGB/inception_i3d/"):
        convert_tensors({name: torch.from_numpy(values) for name, values in both.items()})


@pytest.mark.parametrize(("channels", "modality"), [(2, "flow"), (3, "rgb")])
def test_pictures_and_flow_are_fed_from_minus_one_to_one(channels, modality):
    from kinema.models.zoo import create_model

    fed = convert_tensors(create_model("i3d", 3, channels).state_dict()).input
    mean, std = (128 / 255, 127 / 255) if modality == "flow" else (0.5, 0.5)
    assert (fed.modality, fed.mean, fed.std) == (modality, (mean,) * channels, (std,) * channels)
    assert (fed.size_px, fed.short_side_px, fed.clip.fps) == (224, 256, 25)
    assert fed.flow == (FlowSpec("tvl1") if modality == "flow" else None)
