"""CNN-LSTM: the recurrent layer, and pictures one by one."""

import pytest
import torch
from torch import nn

from kinema.models.cnn_lstm import BatchNormLstm
from kinema.models.layers.inception import inception_v1
from kinema.models.zoo import create_model, find_row


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return create_model("cnn_lstm", 5).eval()


def trained_a_little(in_features=6, hidden=4):
    torch.manual_seed(0)
    layer = BatchNormLstm(in_features, hidden)
    for _ in range(3):
        layer(2 + torch.randn(8, 5, in_features))
    return layer.eval()


def test_it_has_nine_million_parameters():
    assert find_row("cnn_lstm").parameters == pytest.approx(9e6, rel=0.05)


@torch.no_grad()
@pytest.mark.parametrize("frames", [1, 2, 7])
def test_with_norms_that_change_nothing_it_is_an_lstm(frames):
    torch.manual_seed(0)
    ours, theirs = BatchNormLstm(6, 4).eval(), nn.LSTM(6, 4, batch_first=True)
    for norm in (ours.input_norm, ours.recurrent_norm):
        norm.running_var.fill_(1 - norm.eps)
        norm.weight.fill_(1)
    ours.input_norm.bias.normal_()

    def gates(weight):  # theirs are input, forget, candidate, output
        enters, keeps, leaves, candidate = weight.chunk(4)
        return torch.cat([enters, keeps, candidate, leaves])

    theirs.weight_ih_l0.copy_(gates(ours.input.weight))
    theirs.weight_hh_l0.copy_(gates(ours.recurrent.weight))
    theirs.bias_ih_l0.copy_(gates(ours.input_norm.bias))
    theirs.bias_hh_l0.zero_()
    clips = torch.randn(3, frames, 6)
    torch.testing.assert_close(ours(clips), theirs(clips)[0][:, -1])


@torch.no_grad()
def test_norms_remember_what_training_saw():
    layer = trained_a_little()
    assert layer.input_norm.num_batches_tracked == 3  # all steps of a batch together
    assert layer.recurrent_norm.num_batches_tracked == 3 * 4  # the first step has none before it
    clips = torch.randn(2, 5, 6)
    before = layer(clips)
    layer.recurrent_norm.running_mean += 1
    assert not torch.allclose(layer(clips), before)


def test_one_clip_alone_trains_by_the_running_statistics():
    layer = trained_a_little()
    clip = torch.randn(1, 1, 6).expand(1, 4, 6) + 0.1 * torch.randn(1, 4, 6)
    mean = layer.recurrent_norm.running_mean.clone()
    layer.train()
    out = layer(clip)
    out.sum().backward()
    assert torch.isfinite(out).all()
    assert layer.recurrent.weight.grad.any()
    assert torch.equal(layer.recurrent_norm.running_mean, mean)
    layer(clip.repeat(2, 1, 1))
    assert not torch.equal(layer.recurrent_norm.running_mean, mean)


def test_initialisation():
    layer = BatchNormLstm(6, 4)
    assert layer.input_norm.bias.tolist() == [0.0] * 4 + [1.0] * 4 + [0.0] * 8
    assert layer.recurrent_norm.bias is None
    for norm in (layer.input_norm, layer.recurrent_norm):
        assert torch.equal(norm.weight, torch.full((16,), 0.1))
    torch.testing.assert_close(layer.recurrent.weight.T @ layer.recurrent.weight, torch.eye(4))
    layer.recurrent_norm.weight.data.zero_()
    layer.recurrent_norm.reset_parameters()
    assert layer.recurrent_norm.weight.all()


@torch.no_grad()
def test_the_order_of_pictures_matters(model):
    clips = torch.randn(1, 3, 5, 32, 32)
    assert not torch.allclose(model(clips), model(clips.flip(2)), rtol=1e-6, atol=0)


@torch.no_grad()
def test_each_picture_is_seen_alone(model):
    clips = torch.randn(2, 3, 4, 48, 48)
    features = model.forward_features(clips)
    assert features.shape == (2, 1024, 4, 2, 2)
    assert model.forward_features(clips, "conv2").shape == (2, 192, 4, 12, 12)
    torch.testing.assert_close(features[1:, :, 2:3], model.forward_features(clips[1:, :, 2:3]), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_the_lstm_gets_the_mean_of_each_picture(model):
    features = torch.randn(2, 1024, 3, 2, 2)
    expected = model.fc(model.lstm(features.mean((3, 4)).transpose(1, 2)))
    torch.testing.assert_close(model.forward_head(features), expected)


def test_tensors_of_inception_carry_torchvisions_names(model):
    network = inception_v1(3, None)
    assert {name.removeprefix("inception.") for name in model.state_dict() if name.startswith("inception.")} == set(
        network.state_dict()
    )


def test_dropout_acts_in_training_only():
    torch.manual_seed(0)
    model = create_model("cnn_lstm", 5, dropout=0.5)
    model.lstm.eval()
    features = torch.randn(2, 1024, 3, 1, 1)
    with torch.no_grad():
        assert not torch.equal(model.forward_head(features), model.forward_head(features))
        model.eval()
        assert torch.equal(model.forward_head(features), model.forward_head(features))
