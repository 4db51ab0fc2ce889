"""What the converter takes from a file, what it refuses, and what it says about the rest."""

import copy

import pytest
import torch
from safetensors.torch import save_file

from kinema.core.errors import UsageError, WeightsError
from kinema.models.convert.conversion import convert_file, convert_tensors
from kinema.models.zoo import create_model


def equal(found, model):
    return all(torch.equal(found.model.state_dict()[name], x) for name, x in model.state_dict().items())


def test_a_network_comes_out_as_it_went_in(resnet):
    found = convert_tensors(resnet.state_dict())

    assert equal(found, resnet)
    assert not found.model.training
    assert found.model.architecture == found.architecture == "resnet3d_10"
    assert found.model.options == found.options == resnet.options
    assert (found.in_channels, found.num_classes) == (3, 5)
    assert found.matched == tuple(resnet.state_dict())
    assert found.filled == found.missing == found.left_over == found.skipped == ()
    assert str(found).startswith("resnet3d_10 from 3D-ResNets-PyTorch: 5 classes, shortcut B, ")


def test_tensors_are_copied(resnet):
    tensors = copy.deepcopy(resnet.state_dict())
    found = convert_tensors(tensors)
    tensors["conv1.weight"].zero_()
    assert equal(found, resnet)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "module.model.", "_orig_mod.module."])
def test_prefixes_of_wrappers_are_taken_off(resnet, prefix):
    tensors = {prefix + name: tensor for name, tensor in resnet.state_dict().items()}
    found = convert_tensors(tensors)
    assert equal(found, resnet)
    tensors[f"{prefix}extra"] = torch.zeros(1)
    found = convert_tensors(tensors, allow_unmatched=True)
    assert found.left_over == (f"{prefix}extra",)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_the_precision_of_the_tensors_is_kept(resnet, dtype):
    model = copy.deepcopy(resnet).to(dtype)
    found = convert_tensors(model.state_dict())
    assert {parameter.dtype for parameter in found.model.parameters()} == {dtype}
    assert found.model.bn1.num_batches_tracked.dtype == torch.int64
    assert equal(found, model)


def test_mixed_precisions_become_the_widest(resnet):
    tensors = {name: x.half() if x.ndim == 5 else x for name, x in resnet.state_dict().items()}
    found = convert_tensors(tensors).model
    assert {parameter.dtype for parameter in found.parameters()} == {torch.float32}
    assert torch.equal(found.conv1.weight, resnet.conv1.weight.half().float())


def test_counters_of_batches_may_be_missing(resnet):
    counted = {name: x + 9 if name.endswith("tracked") else x for name, x in resnet.state_dict().items()}
    without = {name: x for name, x in counted.items() if not name.endswith("tracked")}
    assert convert_tensors(counted).model.bn1.num_batches_tracked == 9
    found = convert_tensors(without)
    assert found.model.bn1.num_batches_tracked == 0
    assert found.filled == tuple(name for name in counted if name.endswith("tracked"))
    assert "counters set to 0 (12)" in str(found)


def test_what_no_shape_shows_is_told(resnet):
    found = convert_tensors(resnet.state_dict(), options={"conv1_t_stride": 2, "max_pool": False})
    assert found.options["conv1_t_stride"] == found.model.conv1.stride[0] == 2
    assert isinstance(found.model.maxpool, torch.nn.Identity)


def test_what_agrees_may_be_told_too(resnet):
    told = {"architecture": "resnet3d_10", "num_classes": 5, "options": {"shortcut": "B", "widen_factor": 0.126}}
    found = convert_tensors(resnet.state_dict(), **told)
    assert found.options["widen_factor"] == 0.126  # gives the same widths as 0.125, and was asked for


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"architecture": "resnet3d_18"}, r"tensors of resnet3d_10 .*where resnet3d_18 is asked for"),
        ({"architecture": "i3d"}, "where i3d is asked for"),
        ({"num_classes": 400}, "a last layer of 5 classes, where 400 are asked for"),
        ({"options": {"shortcut": "A"}}, "shortcut=A are asked for, where the tensors show shortcut=B"),
        ({"options": {"conv1_t_size": 3, "widen_factor": 1}}, "widen_factor=1.0, conv1_t_size=3 are asked for"),
        ({"options": {"shortcut": "A"}, "allow_unmatched": True}, "shortcut=A are asked for"),
    ],
)
def test_contradictions_are_errors(resnet, told, words):
    with pytest.raises(WeightsError, match=words) as caught:
        convert_tensors(resnet.state_dict(), **told)
    assert caught.value.allowed
    assert caught.value.next_step


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"architecture": "resnet3d_11"}, "no model named"),
        ({"num_classes": 0}, "num_classes=0"),
        ({"options": {"k": 2}}, "has no option 'k'"),
        ({"options": {"shortcut": "C"}}, "shortcut='C'"),
        ({"architecture": "i3d", "options": {"shortcut": "A"}}, "i3d has no option 'shortcut'"),
    ],
)
def test_what_no_network_has_is_wrong_usage(resnet, told, words):
    with pytest.raises(UsageError, match=words):
        convert_tensors(resnet.state_dict(), **told)


def spoilt(resnet):
    tensors = dict(resnet.state_dict())
    del tensors["layer2.0.bn2.bias"]
    tensors["layer3.0.bn1.weight"] = torch.ones(9)
    tensors["layer4.0.bn1.weight"] = torch.ones(64, dtype=torch.int8)
    tensors["aux.weight"] = torch.ones(3)
    return tensors


def test_what_does_not_match_is_listed(resnet):
    with pytest.raises(WeightsError) as caught:
        convert_tensors(spoilt(resnet))
    total = len(resnet.state_dict())
    assert f"{total - 3} of the {total} tensors of a resnet3d_10 match" in caught.value.given
    assert "missing (1): layer2.0.bn2.bias" in caught.value.given
    assert "left over (1): aux.weight" in caught.value.given
    assert "layer3.0.bn1.weight (9,) instead of (32,)" in caught.value.given
    assert "layer4.0.bn1.weight torch.int8 instead of floating numbers" in caught.value.given
    assert "--allow-unmatched" in caught.value.next_step


def test_what_does_not_match_may_be_left_out(resnet):
    before = torch.get_rng_state()
    found = convert_tensors(spoilt(resnet), allow_unmatched=True)

    assert torch.equal(torch.get_rng_state(), before)
    assert found.missing == ("layer2.0.bn2.bias", "layer3.0.bn1.weight", "layer4.0.bn1.weight")
    assert found.left_over == ("aux.weight", "layer3.0.bn1.weight", "layer4.0.bn1.weight")
    assert set(found.matched) == set(resnet.state_dict()) - set(found.missing)
    state = found.model.state_dict()
    assert all(torch.equal(state[name], resnet.state_dict()[name]) for name in found.matched)
    assert torch.equal(state["layer3.0.bn1.weight"], torch.ones(32))  # fresh
    assert "missing, left fresh (3): layer2.0.bn2.bias" in str(found)


def test_a_missing_head_is_fresh_and_the_same_each_time(resnet):
    tensors = {name: x for name, x in resnet.state_dict().items() if not name.startswith("fc.")}
    with pytest.raises(WeightsError, match="without the last layer"):
        convert_tensors(tensors, allow_unmatched=True)
    with pytest.raises(WeightsError, match=r"missing \(2\): fc\.weight, fc\.bias"):
        convert_tensors(tensors, num_classes=3)
    found = convert_tensors(tensors, num_classes=3, allow_unmatched=True)
    torch.rand(1)  # whatever else draws numbers in between
    again = convert_tensors(tensors, num_classes=3, allow_unmatched=True)
    assert found.missing == ("fc.weight", "fc.bias")
    assert found.model.fc.weight.shape == (3, 64)
    assert torch.equal(found.model.fc.weight, again.model.fc.weight)


def test_networks_with_all_tensors_alike_are_a_question():
    tensors = create_model("x3d_s", 3, widen_factor=0.125).state_dict()
    with pytest.raises(WeightsError, match="x3d_xs or x3d_s or x3d_m have alike") as caught:
        convert_tensors(tensors, options={"widen_factor": 0.125})
    assert "--arch" in caught.value.next_step
    found = convert_tensors(tensors, architecture="x3d_m", options={"widen_factor": 0.125})
    assert found.architecture == "x3d_m"
    assert found.input.size_px == 224


@pytest.mark.parametrize(
    ("name", "options", "channels"),
    [("c3d_bn", {"widen_factor": 0.125}, 3), ("i3d_two_stream", {}, 5), ("resnet3d_10", {"widen_factor": 0.125}, 2)],
)
def test_tensors_under_kinemas_own_names(tmp_path, name, options, channels):
    torch.manual_seed(0)
    model = create_model(name, 3, channels, **options).eval()
    save_file(model.state_dict(), tmp_path / "own.safetensors")
    found = convert_file(tmp_path / "own.safetensors", architecture=name, options=options)
    assert (found.architecture, found.in_channels, found.num_classes) == (name, channels, 3)
    assert equal(found, model)


def test_the_unknown_is_described(tmp_path):
    torch.save({"arch": "mynet", "state_dict": {"encoder.weight": torch.zeros(3, 2)}}, tmp_path / "a.pth")
    with pytest.raises(WeightsError) as caught:
        convert_file(tmp_path / "a.pth")
    assert f"{tmp_path / 'a.pth'}: tensors of a network unknown to kinema, called mynet: encoder.weight (3, 2)" in str(
        caught.value
    )
    assert "3D-ResNets-PyTorch" in caught.value.allowed
    assert "--arch" in caught.value.next_step


def test_networks_for_pictures_are_told_apart():
    tensors = {"conv1.weight": torch.zeros(64, 3, 7, 7), "layer1.0.conv1.weight": torch.zeros(64, 64, 3, 3)}
    with pytest.raises(WeightsError, match="convolutions over pictures, not over clips"):
        convert_tensors(tensors)


def test_a_file_is_remembered(resnet, tmp_path):
    path = tmp_path / "a.pth"
    torch.save({"arch": "resnet-10", "state_dict": resnet.state_dict()}, path)
    found = convert_file(path)
    assert found.files == (path,)
    assert found.called == "resnet-10"
    assert equal(found, resnet)
