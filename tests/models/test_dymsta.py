"""DyMSTA-Net: its parts in their order, what each option changes, and that both kinds of dynamic kernel learn."""

import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional

from kinema.core.errors import UsageError
from kinema.core.labels import LabelMap
from kinema.models.layers.dynamic_conv3d import GatedKernelConv3d, MixedKernelConv3d
from kinema.models.layers.spatio_temporal_attention import DividedSelfAttention, SpatioTemporalGates
from kinema.models.weights import ModelCard, load_weights, save_weights
from kinema.models.zoo import create_model, describe, find_row

BACKBONE = ("backbone.conv1", "backbone.layer1", "backbone.layer2")
OFF = {"dynamic": "off", "temporal_kernels": "off", "attention": "off"}


def small(classes=3, channels=3, **options):
    torch.manual_seed(0)
    return create_model("dymsta", classes, channels, **{"backbone": "resnet3d_10", **options})


def clips(count=2, frames=8, size=32, channels=3):
    return torch.randn(count, channels, frames, size, size, generator=torch.Generator().manual_seed(1))


def test_the_parts_come_in_the_order_of_the_paper():
    told = describe("dymsta")
    assert [(stage.name, *stage.shapes) for stage in told.stages] == [
        ("backbone.conv1", (64, 8, 28, 28)),
        ("backbone.layer1", (64, 8, 28, 28)),
        ("backbone.layer2", (128, 4, 14, 14)),
        ("dynamic", (128, 4, 14, 14)),
        ("temporal", (128, 4, 14, 14)),
        ("attention", (128, 4, 14, 14)),
        ("fc", (400,)),
    ]


@torch.no_grad()
def test_what_a_part_gives_the_next_is_fed():
    model, x = small().eval(), clips()
    features = model.backbone.forward_features(x)
    assert torch.equal(model.forward_features(x, until="backbone.layer2"), features)
    for part in ("dynamic", "temporal", "attention"):
        features = model.get_submodule(part)(features)
        assert torch.equal(model.forward_features(x, until=part), features)
    assert torch.equal(model(x), model.fc(features.mean(dim=(2, 3, 4))))
    first = model.forward_features(x, until="backbone.conv1")
    assert torch.equal(first, model.backbone.forward_features(x, until="conv1"))


@pytest.mark.parametrize(
    ("off", "parts"),
    [
        ({}, ("dynamic", "temporal", "attention")),
        ({"dynamic": "off"}, ("temporal", "attention")),
        ({"temporal_kernels": "off"}, ("dynamic", "attention")),
        ({"attention": "off"}, ("dynamic", "temporal")),
        (OFF, ()),
    ],
)
def test_a_part_that_is_off_is_not_there(off, parts):
    model = small(**off)
    assert model.stages == (*BACKBONE, *parts, "fc")
    assert all(model.parameters_by_stage().values())
    assert {name.split(".")[0] for name in model.state_dict()} == {"backbone", *parts, "fc"}
    assert model(clips()).shape == (2, 3)
    model.freeze("fc")
    assert {name for name, parameter in model.named_parameters() if parameter.requires_grad} == {"fc.weight", "fc.bias"}


@torch.no_grad()
def test_with_all_parts_off_it_is_its_backbone_and_a_head():
    model, x = small(**OFF).eval(), clips()
    torch.manual_seed(0)
    backbone = create_model("resnet3d_10", 1).eval()
    features = backbone.forward_features(x, until="layer2")
    assert torch.equal(model(x), model.fc(features.mean(dim=(2, 3, 4))))


@pytest.mark.parametrize(
    ("option", "kind"),
    [
        ({"dynamic": "attention"}, MixedKernelConv3d),
        ({"dynamic": "literal"}, GatedKernelConv3d),
        ({"dynamic": "static"}, nn.Conv3d),
    ],
)
def test_kinds_of_dynamic_convolution(option, kind):
    conv, norm, relu = small(**option).dynamic
    assert [type(part) for part in (conv, norm, relu)] == [kind, nn.BatchNorm3d, nn.ReLU]


def test_the_number_of_kernels():
    assert small(kernels=7).dynamic[0].weight.shape == (7, 128, 128, 3, 3, 3)


@pytest.mark.parametrize(("option", "kind"), [("gates", SpatioTemporalGates), ("divided", DividedSelfAttention)])
def test_kinds_of_attention(option, kind):
    assert type(small(attention=option).attention) is kind


@pytest.mark.parametrize(
    ("options", "spans"),
    [
        ({}, (1, 3, 5)),  # 4 time steps of 16 frames
        ({"tap": "layer3"}, (1, 3, 5)),  # 2
        ({"tap": "layer1"}, (3, 5, 7)),  # 8
        ({"temporal_kernels": "3-5-7"}, (3, 5, 7)),
        ({"tap": "layer1", "temporal_kernels": "1-3-5"}, (1, 3, 5)),
    ],
)
def test_spans_follow_the_time_steps_that_the_backbone_leaves(options, spans):
    block = small(**options).temporal
    assert tuple(branch[0].kernel_size for branch in (block.short, block.medium, block.long)) == tuple(
        (span, 3, 3) for span in spans
    )


@torch.no_grad()
@pytest.mark.parametrize("options", [{}, {"dynamic": "literal", "attention": "divided", "temporal_kernels": "3-5-7"}])
@pytest.mark.parametrize("time_steps", [1, 2, 4, 8, 16])
def test_any_number_of_time_steps_reaches_the_parts(options, time_steps):
    model, x = small(**options).eval(), clips(1, 4 * time_steps)
    assert model.forward_features(x).shape == (1, 128, time_steps, 4, 4)


def test_wide_features_are_reduced():
    model = small(backbone="resnet3d_50")
    assert model.stages == (*BACKBONE, "reduce", "dynamic", "temporal", "attention", "fc")
    assert model.reduce[0].weight.shape == (256, 512, 1, 1, 1)
    assert model.fc.in_features == 256
    assert "reduce" not in small(tap="layer3").stages  # 256 channels are not too wide


def test_dropout_acts_in_training_only():
    model = small(dropout=0.9)
    features = torch.ones(1, 128, 1, 1, 1)
    assert not torch.equal(model.forward_head(features), model.forward_head(features))
    model.eval()
    assert torch.equal(model.forward_head(features), model.fc(torch.ones(1, 128)))


@pytest.mark.parametrize("backbone", ["i3d", "preact_resnet3d_18", "slowfast_r50", "swin3d_t", "x3d_s"])
def test_a_gradient_reaches_every_parameter_of_other_backbones(backbone):
    model = small(backbone=backbone)
    model(clips(2, 16, 64)).square().sum().backward()
    assert not [name for name, parameter in model.named_parameters() if parameter.grad is None]


@torch.no_grad()
def test_clips_of_flow():
    assert small(channels=2)(clips(channels=2)).shape == (2, 3)


@torch.no_grad()
@pytest.mark.parametrize(
    ("dynamic", "attention"), list(itertools.product(("attention", "literal", "static"), ("gates", "divided")))
)
def test_options_combine_in_a_batch_as_alone_and_exported(dynamic, attention):
    model, x = small(dynamic=dynamic, attention=attention).eval(), clips(3)
    model.set_epoch(10)
    together = model(x)
    torch.testing.assert_close(torch.cat([model(x[n : n + 1]) for n in range(3)]), together, rtol=1e-4, atol=1e-5)
    program = torch.export.export(model, (x,), dynamic_shapes=({0: torch.export.Dim("N")},)).module()
    torch.testing.assert_close(program(x[:2]), together[:2], rtol=1e-4, atol=1e-5)


def test_epochs_cool_the_softmax_and_the_weights_file_keeps_the_temperature(tmp_path):
    model = small()
    assert model.dynamic[0].temperature == 30
    model.set_epoch(5)
    assert model.dynamic[0].temperature == 15.5
    card = ModelCard("dymsta", dict(model.options), 3, LabelMap.unknown(3), find_row("dymsta").input, {})
    save_weights(tmp_path / "w.safetensors", model, card)
    assert load_weights(tmp_path / "w.safetensors").model.dynamic[0].temperature == 15.5
    small(dynamic="literal").set_epoch(5)  # nothing to cool


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"backbone": "resnet3d_81"}, "no network named 'resnet3d_81' to be a backbone; did you mean 'resnet3d_18'"),
        ({"backbone": "dymsta"}, "no network named 'dymsta'"),
        ({"backbone": "mvit_v2_s"}, "mvit_v2_s cannot be a backbone"),
        ({"tap": "layer22"}, "did you mean 'layer2'"),
        ({"kernels": 1}, "allowed: a whole number from 2"),
        ({"dynamic": "on"}, "allowed: attention or literal or static or off"),
        ({"temporal_kernels": "1-2-3"}, "allowed: auto or 1-3-5 or 3-5-7 or off"),
    ],
)
def test_mistakes_are_answered(options, told):
    with pytest.raises(UsageError) as caught:
        small(**options)
    assert told in str(caught.value)


def moving_squares(count, generator):
    """Clips (count, 3, 8, 32, 32) of a bright square that goes right, left or down, and which of them it does."""
    ways = torch.arange(count) % 3
    x = 0.3 * torch.randn(count, 3, 8, 32, 32, generator=generator)
    for clip, way in zip(x, ways, strict=True):
        row, column = (int(number) for number in torch.randint(8, 16, (2,), generator=generator))
        for step in range(8):
            across = (2 * step, -2 * step, 0)[way]
            down = 2 * step if way == 2 else 0
            top, left = row + down - 7 * (way == 2), column + across
            clip[:, step, max(top, 0) : top + 8, max(left, 0) : left + 8] += 2
    return x, ways


@pytest.mark.parametrize("dynamic", ["attention", "literal"])
def test_both_kinds_of_dynamic_kernel_learn(dynamic):
    generator = torch.Generator().manual_seed(0)
    x, ways = moving_squares(24, generator)
    model = small(dynamic=dynamic, dropout=0.0)
    start = {name: parameter.detach().clone() for name, parameter in model.dynamic[0].named_parameters()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    losses = []
    for epoch in range(5):
        model.set_epoch(epoch)
        for batch in torch.randperm(24, generator=generator).split(8):
            loss = functional.cross_entropy(model(x[batch]), ways[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    assert sum(losses[-3:]) < 0.3 * sum(losses[:3])
    assert all(not torch.equal(parameter, start[name]) for name, parameter in model.dynamic[0].named_parameters())


@torch.no_grad()
@pytest.mark.parametrize(
    "options", [{}, pytest.param({"dynamic": "literal", "attention": "divided"}, marks=pytest.mark.slow)]
)
def test_onnx_gives_the_same_logits_for_any_batch(options, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    model, path = small(**options).eval(), tmp_path / "dymsta.onnx"
    model.set_epoch(10)
    torch.onnx.export(model, (clips(),), path, dynamic_shapes=({0: torch.export.Dim("N")},), dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (name,) = (given.name for given in session.get_inputs())
    for count in (1, 2, 5):
        x = clips(count)
        (logits,) = session.run(None, {name: x.numpy()})
        torch.testing.assert_close(torch.from_numpy(logits), model(x), rtol=1e-4, atol=1e-5)
