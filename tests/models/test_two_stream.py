"""Two streams: who sees what of a clip, how scores are fused, and streams with weights of their own."""

import math

import pytest
import torch
from torchvision.models import googlenet

from kinema.core.errors import UsageError
from kinema.core.labels import LabelMap
from kinema.models.two_stream import fuse, snippets
from kinema.models.weights import ModelCard, load_backbone, replace_head, save_weights
from kinema.models.zoo import create_model, find_row

NAMES = ["two_stream", "fused_two_stream", "i3d_two_stream"]


def fresh(name, **options):
    torch.manual_seed(0)
    model = create_model(name, 5, **options).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.Conv3d):  # keeps the size of what passes, before batch norms have seen data
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    return model


@pytest.fixture(scope="module")
def two_stream():
    return fresh("two_stream")


@pytest.fixture(scope="module")
def i3d_two_stream():
    return fresh("i3d_two_stream")


def numbered(steps):
    """A clip whose values are 100 · channel + step."""
    values = 100 * torch.arange(5.0).view(1, 5, 1, 1, 1) + torch.arange(float(steps)).view(1, 1, steps, 1, 1)
    return values.expand(1, 5, steps, 16, 16)


@pytest.mark.parametrize(
    ("name", "millions"), [("two_stream", 12), ("fused_two_stream", 39), ("i3d_two_stream", 25), ("c3d_bn", 79)]
)
def test_sizes_of_the_paper(name, millions):
    assert find_row(name).parameters == pytest.approx(millions * 1e6, rel=0.05)


@pytest.mark.parametrize(
    ("steps", "starts"),
    [(10, [0]), (11, [0, 1]), (16, [0, 6]), (20, [0, 10]), (25, [0, 7, 15]), (50, [0, 10, 20, 30, 40])],
)
def test_snippets_cover_a_clip_evenly(steps, starts):
    cut = snippets(numbered(steps))
    assert cut.shape == (1, 5, len(starts), 10, 16, 16)
    assert cut[0, 1, :, :, 0, 0].tolist() == [[100.0 + start + step for step in range(10)] for start in starts]


def test_a_short_clip_is_repeated():
    assert snippets(numbered(4))[0, 0, 0, :, 0, 0].tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1]
    assert snippets(numbered(1))[0, 0, 0, :, 0, 0].tolist() == [0] * 10


@torch.no_grad()
@pytest.mark.parametrize("name", ["two_stream", "fused_two_stream"])
def test_a_picture_and_ten_fields_a_snippet(name):
    model = fresh(name)
    seen = {}
    for stream in ("rgb", "flow"):
        model.get_submodule(stream).conv1.register_forward_pre_hook(
            lambda _module, inputs, stream=stream: seen.update({stream: inputs[0]})
        )
    model(numbered(20))
    assert seen["rgb"][:, :, 0, 0].tolist() == [[5, 105, 205], [15, 115, 215]]
    assert seen["flow"].shape == (2, 20, 16, 16)
    to_the_right_and_down = [[300.0 + step, 400.0 + step] for step in range(10, 20)]
    assert seen["flow"][1, :, 0, 0].tolist() == [value for field in to_the_right_and_down for value in field]


@torch.no_grad()
def test_streams_of_i3d_see_all_of_their_channels(i3d_two_stream):
    clips = torch.randn(2, 5, 9, 32, 40)
    alone = i3d_two_stream.rgb(clips[:, :3]) + i3d_two_stream.flow(clips[:, 3:])
    torch.testing.assert_close(i3d_two_stream(clips), alone)


@torch.no_grad()
def test_a_stream_alone_is_torchvisions_network(two_stream):
    theirs = googlenet(num_classes=5, aux_logits=False, init_weights=False).eval()
    theirs.load_state_dict(two_stream.rgb.state_dict())
    clips = torch.randn(2, 5, 20, 48, 48)
    features = two_stream.forward_features(clips)
    assert features.shape == (2, 2048, 2, 2, 2)
    features[:, 1024:] = 0
    expected = (theirs(clips[:, :3, 5]) + theirs(clips[:, :3, 15])) / 2 + two_stream.flow.fc.bias
    torch.testing.assert_close(two_stream.forward_head(features), expected)


def test_logits_are_added_and_probabilities_averaged():
    scores = torch.randn(2, 2, 3, 5)  # clips, streams, snippets, classes
    torch.testing.assert_close(fuse(scores, "logits"), scores[:, 0].mean(1) + scores[:, 1].mean(1))
    mean = scores.softmax(-1).mean((1, 2))
    torch.testing.assert_close(fuse(scores, "probabilities"), mean.log())
    assert torch.isfinite(fuse(1e4 * scores, "probabilities")).all()


@torch.no_grad()
def test_fusion_is_an_option(two_stream, i3d_two_stream):
    clips = torch.randn(2, 5, 6, 32, 32)
    for model in (two_stream, i3d_two_stream):
        features = model.forward_features(clips)
        added = model.forward_head(features)
        model.fusion = "probabilities"
        averaged = model.forward_head(features)
        model.fusion = "logits"
        assert not torch.allclose(averaged, added)
        torch.testing.assert_close(averaged.exp().sum(1), torch.ones(2))
    rgb, flow = i3d_two_stream.rgb(clips[:, :3]), i3d_two_stream.flow(clips[:, 3:])
    torch.testing.assert_close(averaged.exp(), (rgb.softmax(1) + flow.softmax(1)) / 2)


@pytest.mark.parametrize("name", ["two_stream", "i3d_two_stream"])
def test_the_option_reaches_the_network(name):
    with torch.device("meta"):
        assert create_model(name, 5, fusion="probabilities").fusion == "probabilities"
        assert create_model(name, 5).fusion == "logits"
        with pytest.raises(UsageError, match="logits or probabilities"):
            create_model(name, 5, fusion="sum")


@pytest.mark.parametrize("name", NAMES)
def test_dropout_reaches_the_streams(name):
    with torch.device("meta"):
        model = create_model(name, 5, dropout=0.3)
    own = [model] if name == "fused_two_stream" else [model.rgb, model.flow]
    assert [part.dropout.p for part in own] == [0.3] * len(own)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("channels", [2, 3])
def test_other_channels_are_refused(name, channels):
    with pytest.raises(UsageError, match="5 channels") as caught:
        create_model(name, 5, channels)
    assert "i3d" in caught.value.next_step


@torch.no_grad()
def test_fused_features():
    model = fresh("fused_two_stream")
    shapes = []
    model.fusion[0].register_forward_hook(lambda _module, _inputs, output: shapes.append(tuple(output.shape[1:])))
    model.fusion.register_forward_hook(lambda _module, _inputs, output: shapes.append(tuple(output.shape[1:])))
    model.forward_head(torch.randn(1, 2048, 5, 7, 7))
    assert shapes == [(512, 5, 7, 7), (512, 3, 4, 4)]
    # A snippet is judged beside its neighbours, so their order matters.
    features = torch.randn(1, 2048, 3, 2, 2)
    assert not torch.allclose(model.forward_head(features), model.forward_head(features.flip(2)), rtol=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_both_classifiers_are_one_stage(name):
    with torch.device("meta"):
        model = create_model(name, 5)
    last = model.stages[-1]
    model.freeze(last)
    trained = {key for key, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained == {f"{head}.{tensor}" for head in model.heads for tensor in ("weight", "bias")}
    replace_head(model, 3)
    assert {parameter.shape[0] for key, parameter in model.named_parameters() if key in trained} == {3}


def test_a_stage_names_the_layers_of_both_streams(two_stream, i3d_two_stream):
    assert two_stream.modules_by_stage()["conv2"] == tuple(
        f"{stream}.{layer}" for stream in ("rgb", "flow") for layer in ("maxpool1", "conv2", "conv3")
    )
    assert i3d_two_stream.modules_by_stage()["logits"] == ("rgb.logits", "flow.logits")
    assert i3d_two_stream.stages == create_model("i3d", 5).stages


def test_each_stream_of_i3d_starts_from_its_own_weights(tmp_path):
    labels = LabelMap.of(("a", "b", "c", "d", "e"))
    model = fresh("i3d_two_stream")
    for stream, channels in (("rgb", 3), ("flow", 2)):
        torch.manual_seed(channels)
        alone = create_model("i3d", 5, channels).eval()
        spec = find_row("i3d").input
        if channels == 2:
            spec = type(spec)(
                clip=spec.clip, modality="flow", size_px=224, short_side_px=256, mean=(0.5,) * 2, std=(0.5,) * 2
            )
        path = tmp_path / f"{stream}.safetensors"
        save_weights(path, alone, ModelCard("i3d", {}, channels, labels, spec, {}))
        report = load_backbone(model.get_submodule(stream), path, labels)
        assert not report.fresh
        assert not report.differing_options
        taken = model.get_submodule(stream).state_dict()
        assert all(torch.equal(tensor, taken[key]) for key, tensor in alone.state_dict().items())


def test_several_snippets_of_one_scene_say_what_one_says(two_stream):
    clips = torch.randn(1, 5, 1, 32, 32).expand(1, 5, 30, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(two_stream(clips), two_stream(clips[:, :, :10]), rtol=1e-4, atol=1e-5)
    assert math.isfinite(two_stream(clips[:, :, :1]).sum().item())
