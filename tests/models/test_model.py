"""What every network answers about its stages. tests/battery asks the same of every row of the zoo."""

import copy

import pytest
import torch
from torch import nn

from kinema.core.errors import UsageError
from kinema.models.model import Option
from kinema.models.weights import replace_head
from kinema.models.zoo import create_model


def small():
    return create_model("resnet3d_10", 5, widen_factor=0.125)


def trained(model):
    return {name.split(".")[0] for name, parameter in model.named_parameters() if parameter.requires_grad}


def still(model):
    return {
        name.split(".")[0]
        for name, module in model.named_modules()
        if isinstance(module, nn.BatchNorm3d) and not module.training
    }


def test_stages_run_from_the_clip_to_the_logits():
    assert small().stages == ("conv1", "layer1", "layer2", "layer3", "layer4", "fc")


def test_features_of_a_stage_are_those_that_the_next_one_is_fed():
    model, clips = small().eval(), torch.randn(1, 3, 8, 32, 32)
    with torch.no_grad():
        assert torch.equal(
            model.layer3(model.forward_features(clips, "layer2")), model.forward_features(clips, "layer3")
        )
        assert torch.equal(model.forward_features(clips, "layer4"), model.forward_features(clips))


def test_parameters_belong_to_the_stage_that_runs_them():
    owned = small().parameters_by_stage()
    assert owned["conv1"] == ("conv1.weight", "bn1.weight", "bn1.bias")
    assert owned["fc"] == ("fc.weight", "fc.bias")


def test_freezing_starts_training_at_a_stage():
    model = small().train()
    model.freeze("layer4")
    assert trained(model) == {"layer4", "fc"}
    assert still(model) == {"bn1", "layer1", "layer2", "layer3"}


def test_statistics_may_go_on_moving():
    model = small().train()
    model.freeze("layer4", statistics=False)
    assert trained(model) == {"layer4", "fc"}
    assert not still(model)


def test_held_statistics_survive_a_change_of_mode_and_a_copy():
    model = small()
    model.freeze("layer2")
    for network in (model, copy.deepcopy(model)):
        network.eval()
        assert network.train() is network
        assert still(network) == {"bn1", "layer1"}


def test_the_first_stage_thaws_everything():
    model = small().train()
    model.freeze("fc")
    model.freeze("conv1")
    assert trained(model) == {"conv1", "bn1", "layer1", "layer2", "layer3", "layer4", "fc"}
    assert not still(model)


def test_freezing_leaves_the_mode_as_it_is():
    model = small().eval()
    model.freeze("layer4")
    assert not any(module.training for module in model.modules())


def test_an_unknown_stage_is_answered_with_the_nearest():
    with pytest.raises(UsageError, match=r"resnet3d_10 has no stage 'layer5'.*did you mean 'layer") as caught:
        small().freeze("layer5")
    assert caught.value.allowed == "conv1, layer1, layer2, layer3, layer4, fc"


def test_a_new_head_is_trained_even_where_the_old_one_was_not():
    model = small()
    model.freeze("fc")
    told = replace_head(model, 2)
    assert trained(model) == {"fc"}
    assert str(told) == "fc: new weights for 2 classes in place of 5"


def test_an_impossible_head_is_refused():
    with pytest.raises(UsageError, match="num_classes=0"):
        replace_head(small(), 0)


def test_an_option_in_words_takes_any_string():
    option = Option("backbone", str, "", words="a name of `kinema models list`")
    assert option.check("resnet3d_18") == "resnet3d_18"
    assert option.allowed == "a name of `kinema models list`"
    with pytest.raises(UsageError, match="backbone=3"):
        option.check(3)


@torch.no_grad()
def test_a_truncated_network_gives_the_features_it_gave_before():
    model, clips = small().eval(), torch.randn(1, 3, 8, 32, 32)
    before = model.forward_features(clips, until="layer2")
    whole = set(model.state_dict())

    model.truncate("layer2")

    assert torch.equal(model.forward_features(clips), before)
    assert torch.equal(model.forward_features(clips, until="layer2"), before)
    assert model.stages == ("conv1", "layer1", "layer2")
    assert model.heads == ()
    gone = {name.split(".")[0] for name in whole - set(model.state_dict())}
    assert gone == {"layer3", "layer4", "fc"}


def test_truncating_one_network_leaves_its_family_alone():
    model = small()
    model.truncate("conv1")
    assert list(model.parameters_by_stage()) == ["conv1"]
    assert small().stages[-1] == "fc"


@pytest.mark.parametrize(("stage", "told"), [("layer33", "did you mean 'layer3'"), ("fc", "allowed: conv1, layer1")])
def test_a_network_cannot_be_truncated_where_it_has_no_features(stage, told):
    with pytest.raises(UsageError, match=told):
        small().truncate(stage)
