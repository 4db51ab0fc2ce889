"""The five architectures that the paper of I3D compares train through the one loop, two of them on pictures alone."""

import pytest
import torch
from miniatures import make_flow, make_videos
from safetensors.torch import load_file

from kinema.models.weights import load_weights, read_card
from kinema.models.zoo import create_model
from kinema.training.request import begin

pytestmark = pytest.mark.usefixtures("own_cache")

SHORT = {
    "size": 32, "short_side": 36, "fps": 25, "crop": "random", "pixels": "symmetric", "optimizer": "sgd", "lr": 0.001,
    "schedule": "constant", "batch_size": 2, "total_steps": 2, "device": "cpu", "save_seconds": 1e9,
}  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    home = tmp_path_factory.mktemp("data")
    videos = make_videos(home / "videos")
    return {"rgb": videos, "rgb+flow": make_flow(videos, home / "flow")}


@pytest.mark.parametrize(
    ("model", "modality", "frames", "options"),
    [
        ("cnn_lstm", "rgb", 4, {}),
        ("c3d_bn", "rgb", 8, {"widen_factor": 0.125}),
        ("two_stream", "rgb+flow", 10, {}),
        pytest.param("fused_two_stream", "rgb+flow", 16, {}, marks=pytest.mark.slow),
        pytest.param("i3d_two_stream", "rgb+flow", 8, {}, marks=pytest.mark.slow),
    ],
)
def test_an_architecture_trains_through_the_loop(data, tmp_path, model, modality, frames, options):
    settings = {"model": model, "model_options": options, "modality": modality, "frames": frames, **SHORT}

    outcome = begin({"data": data[modality], **settings}, out=tmp_path / "run")

    assert outcome.test.video.n == 2
    card = read_card(outcome.weights[0])
    assert (card.architecture, card.input.modality, card.input.clip.frames) == (model, modality, frames)
    after = load_file(outcome.weights[0])
    torch.manual_seed(0)
    before = create_model(model, 2, card.in_channels, **options)
    moved = {
        name: float((parameter.detach() - after[name]).abs().max()) for name, parameter in before.named_parameters()
    }
    assert min(moved.values()) > 0  # both streams learn, and what joins them
    logits = load_weights(outcome.weights[0]).model(torch.zeros(1, card.in_channels, frames, 32, 32))
    assert torch.isfinite(logits).all()
