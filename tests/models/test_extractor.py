"""Which networks can be tapped, where, and what is left of them in front of the tap."""

from types import MappingProxyType

import pytest
import torch

from kinema.core.errors import UsageError
from kinema.models.extractor import Tap, build_extractor, find_tap
from kinema.models.zoo import find_row, list_models

# Where 16 frames leave 4 time steps, in one network of each structure.
TAPS = {
    "c3d": Tap("conv3", 256, 4),
    "c3d_bn": Tap("conv2", 128, 4),
    "cnn_lstm": Tap("inception5", 1024, 16),
    "csn_r101": Tap("res4", 1024, 4),
    "densenet3d_121": Tap("denseblock2", 512, 4),
    "i3d": Tap("Mixed_4f", 832, 4),
    "mc3_18": Tap("layer4", 512, 16),
    "preact_resnet3d_18": Tap("layer2", 128, 4),
    "r2plus1d_18": Tap("layer3", 256, 4),
    "r3d_18": Tap("layer3", 256, 4),
    "resnet2p1d_18": Tap("layer2", 128, 4),
    "resnet3d_18": Tap("layer2", 128, 4),
    "resnet3d_50": Tap("layer2", 512, 4),
    "resnext3d_50": Tap("layer2", 512, 4),
    "s3d": Tap("features.12", 832, 4),
    "slow_r50": Tap("res5", 2048, 16),
    "slowfast_r50": Tap("res5", 2304, 4),
    "swin3d_t": Tap("stage4", 768, 8),
    "wide_resnet3d_50": Tap("layer2", 512, 4),
    "x3d_s": Tap("res5", 192, 16),
}
# Their stages give tokens; they want clips of 5 channels; or it is no extractor at all.
REFUSED = {
    "mvit_v1_b": "a tensor of shape",
    "mvit_v2_s": "a tensor of shape",
    "i3d_two_stream": "5 channels",
    "two_stream": "5 channels",
    "fused_two_stream": "5 channels",
}


def tap(name, stage="auto", channels=3, frames=16):
    return find_tap(find_row(name), channels, stage, frames, 4)


@pytest.mark.parametrize("name", sorted(TAPS))
def test_the_deepest_stage_of_four_time_steps_is_tapped(name):
    assert tap(name) == TAPS[name]


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_gives_no_map_of_features_is_refused(name):
    with pytest.raises(UsageError, match=REFUSED[name]):
        tap(name)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow)
        for name in list_models()
        if name not in TAPS and name not in REFUSED and name != "dymsta"
    ],
)
def test_every_other_network_can_be_tapped(name):
    assert tap(name).time_steps >= 4


def test_a_stage_can_be_named_and_longer_clips_reach_deeper():
    assert tap("resnet3d_18", "layer4") == Tap("layer4", 512, 1)
    assert tap("resnet3d_18", frames=32) == Tap("layer3", 256, 4)
    assert tap("i3d_two_stream", channels=5) == Tap("Mixed_4f", 1664, 4)


@pytest.mark.parametrize(
    ("name", "stage", "told"),
    [
        ("resnet3d_18", "layer22", "resnet3d_18 cannot be tapped at 'layer22'; did you mean 'layer2'"),
        ("resnet3d_18", "fc", "allowed: auto, conv1, layer1, layer2, layer3, layer4"),
        ("mvit_v2_s", "stage1", "stage1"),
    ],
)
def test_stages_that_cannot_be_tapped(name, stage, told):
    with pytest.raises(UsageError) as caught:
        tap(name, stage)
    assert told in str(caught.value)


def test_too_few_frames_for_any_stage():
    with pytest.raises(UsageError, match="no stage of resnet3d_18 leaves 4 time steps of 2 frames"):
        tap("resnet3d_18", frames=2)


class Folded(torch.nn.Module):
    """What a family may do wrong: give maps of frames in the batch, or channels last."""

    trunk = MappingProxyType({"one": ("one",)})
    architecture = "folded"

    def __init__(self, change):
        super().__init__()
        self.change = change

    def forward_features(self, clips, until=None):
        return self.change(clips)


@pytest.mark.parametrize(
    "change",
    [
        lambda clips: clips.transpose(1, 2).flatten(0, 1),
        lambda clips: clips.transpose(1, 2).flatten(0, 1).unsqueeze(2).expand(-1, -1, 4, -1, -1),
        lambda clips: clips[:, :, :4].transpose(1, 2).flatten(0, 1).unsqueeze(2).expand(-1, -1, 4, -1, -1),
        lambda clips: clips.permute(0, 2, 3, 4, 1),
        lambda clips: (clips, clips),
    ],
    ids=["pictures", "pictures as clips", "four pictures as clips", "channels last", "two pathways"],
)
def test_maps_of_other_axes_are_noticed(change, monkeypatch):
    row = find_row("resnet3d_10")
    monkeypatch.setattr(type(row), "build", lambda *_: Folded(change))
    with pytest.raises(UsageError, match="not one map of features"):
        find_tap(row, 3, "auto", 16, 4)


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "stage"),
    [("resnet3d_10", "layer2"), ("i3d", "Mixed_3c"), ("densenet3d_121", "denseblock2"), ("slowfast_r50", "res2"),
     ("cnn_lstm", "inception3"), ("i3d_two_stream", "Mixed_3b"), ("swin3d_t", "stage1"),
     ("preact_resnet3d_18", "layer2")],
)  # fmt: skip
def test_what_is_left_computes_the_same(name, stage):
    row = find_row(name)
    clips = torch.randn(1, row.input.channels, 8, 32, 32)
    torch.manual_seed(0)
    whole = row.build(1, row.input.channels, row.defaults).eval()
    torch.manual_seed(0)
    front = build_extractor(row, row.input.channels, stage).eval()

    assert torch.equal(front.forward_features(clips), whole.forward_features(clips, until=stage))
    kept = front.state_dict()
    assert 0 < len(kept) < len(whole.state_dict())
    assert all(torch.equal(tensor, whole.state_dict()[name]) for name, tensor in kept.items())
    assert list(front.parameters_by_stage())[-1] == stage
