"""What every network can do beyond its forward pass: lose the stages behind a point."""

import pytest
import torch

from kinema.core.errors import UsageError
from kinema.models.zoo import create_model, find_row


@torch.no_grad()
def test_a_truncated_network_gives_the_features_it_gave_before():
    clips = torch.randn(1, 3, 8, 32, 32)
    model = create_model("resnet3d_10", 2, widen_factor=0.25).eval()
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
    model = create_model("resnet3d_10", 2, widen_factor=0.25)
    model.truncate("conv1")
    assert create_model("resnet3d_10", 2, widen_factor=0.25).stages[-1] == "fc"
    assert list(model.parameters_by_stage()) == ["conv1"]


@pytest.mark.parametrize(("stage", "told"), [("layer33", "did you mean 'layer3'"), ("fc", "allowed: conv1, layer1")])
def test_a_network_cannot_be_truncated_where_it_has_no_features(stage, told):
    with pytest.raises(UsageError, match=told):
        create_model("resnet3d_10", 2, widen_factor=0.25).truncate(stage)


def test_a_row_builds_what_it_names():
    row = find_row("resnet3d_10")
    model = row.build(4, 1, {**row.defaults, "widen_factor": 0.25})
    assert model.architecture == "resnet3d_10"
    assert model.options["widen_factor"] == 0.25
    assert model.fc.weight.shape == (4, 128)
    assert model.conv1.weight.shape[1] == 1
