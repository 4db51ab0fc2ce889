"""Pictures and flow together: one network of both trained on stored flow, and two networks fused, end to end."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from kinema.core.errors import BrokenFilesError, DataError, UsageError
from kinema.core.progress import Silent
from kinema.core.spec import FLOW_MEAN, FLOW_STD
from kinema.datasets.cache import FrameCache
from kinema.datasets.flow import compute_flow
from kinema.datasets.loader import Draw, TrainingClips
from kinema.datasets.manifest import read_manifest
from kinema.evaluation import fused
from kinema.evaluation.examine import examine
from kinema.evaluation.fused import examine_fused
from kinema.evaluation.protocol import Views
from kinema.inference.fusion import FusedPredictor, load_together
from kinema.inference.predictor import load
from kinema.models.weights import load_weights, read_card, save_weights
from kinema.training.recipe import make_config
from kinema.training.request import begin
from kinema.transforms.presets import AugmentSpec, TrainTransform
from kinema.video.flow import FlowChoice
from kinema.video.writer import VideoWriter

pytestmark = pytest.mark.usefixtures("own_cache")

SMALL = {
    "model": "resnet3d_10",
    "model_options": {"widen_factor": 0.125, "conv1_t_size": 3},
    "frames": 4,
    "stride": 1,
    "size": 32,
    "short_side": 40,
    "epochs": 1,
    "batch_size": 2,
    "device": "cpu",
}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def videos(home):
    """Six videos in three splits; the classes differ by where a texture goes."""
    rows = ["path,label,split"]
    for number in range(6):
        label = ("left", "right")[number % 2]
        path = home / "data" / label / f"{number}.mp4"
        strip = np.random.default_rng(number).integers(0, 256, (6, 14, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
        with VideoWriter(path, fps=10, size=(48, 48)) as writer:
            for step in range(8):
                left = 2 * (8 - step if number % 2 else step)
                writer.write(np.ascontiguousarray(strip[None, :, left : left + 48]))
        rows.append(f"{label}/{path.name},{label},{('train', 'val', 'test')[number // 2]}")
    (home / "data" / "clips.csv").write_text("\n".join(rows))
    return home / "data" / "clips.csv"


@pytest.fixture(scope="module")
def flow(videos, home):
    """Their flow, stored without loss."""
    manifest, rate = read_manifest(videos), Fraction(10)
    report = compute_flow(
        manifest, home / "flow", FlowChoice("dis"), store="video", fps=rate, short_side_px=48, workers=0
    )
    return report.manifest.source


@pytest.fixture(scope="module")
def runs(videos, flow, home):
    """Weights of a network of pictures, one of flow, and one of both that was trained on stored flow."""
    found = {}
    for name, data, settings in (
        ("rgb", videos, {}),
        ("flow", flow, {"modality": "flow"}),
        ("rgb+flow", flow, {"modality": "rgb+flow"}),
    ):
        outcome = begin({"data": data, **SMALL, **settings}, out=home / f"run-{name}")
        found[name] = outcome.folder / "best.safetensors"
    return found


def asked(**options):
    return {
        "split": "all", "views": Views(), "skip_broken": False, "device": "cpu", "out": None, "progress": Silent(),
        **options,
    }  # fmt: skip


def test_a_network_of_both_trains_on_videos_with_stored_flow(runs):
    card = read_card(runs["rgb+flow"])

    assert (card.in_channels, card.input.modality, card.input.channels) == (5, "rgb+flow", 5)
    assert card.input.mean[3:] == (FLOW_MEAN,) * 2
    assert card.input.std[3:] == (FLOW_STD,) * 2
    assert (card.input.flow.algorithm, card.input.flow.rate, card.input.flow.short_side_px) == ("dis", 10, 48)
    assert card.provenance["flow"]["store"] == "video"


@pytest.mark.parametrize("name", ["flow", "rgb+flow"])
def test_it_is_tested_alike_on_videos_and_on_their_stored_flow(runs, videos, flow, name):
    on_videos, on_flow = (examine(runs[name], data, **asked()) for data in (videos, flow))

    assert len(on_videos.scored) == len(on_flow.scored) == 6
    for one, other in zip(on_videos.scored, on_flow.scored, strict=True):
        np.testing.assert_array_equal(one.clips, other.clips)
    predicted = load(runs[name], device="cpu").predict(on_videos.scored[0].sample.path)
    np.testing.assert_allclose(
        [window.probabilities for window in predicted.windows], on_videos.scored[0].clips, atol=1e-5
    )


@pytest.mark.parametrize("name", ["flow", "rgb+flow"])
def test_training_wants_its_flow_stored(videos, home, name):
    with pytest.raises(DataError, match=r"6 of 6 samples, such as .*, are no flow") as caught:
        begin({"data": videos, **SMALL, "modality": name}, out=home / "refused")
    assert "kinema data flow" in caught.value.next_step


def test_weights_that_do_not_say_how_flow_is_computed_need_it_stored(runs, videos, flow, tmp_path):
    weights = load_weights(runs["flow"])
    unsaid = replace(weights.card, input=replace(weights.card.input, flow=None))
    save_weights(tmp_path / "unsaid.safetensors", weights.model, unsaid)

    with pytest.raises(DataError, match="are no flow"):
        examine(tmp_path / "unsaid.safetensors", videos, **asked())
    assert examine(tmp_path / "unsaid.safetensors", flow, **asked()).video.n == 6


def test_a_two_stream_network_trains_and_predicts(flow, videos, home):
    settings = {**SMALL, "model": "two_stream", "model_options": {}, "modality": "rgb+flow", "flip": 0.5}

    outcome = begin({"data": flow, **settings}, out=home / "run-two-stream")

    assert outcome.test.video.n == 2
    found = load(outcome.weights[0], device="cpu").predict(read_manifest(videos).samples[0].path)
    assert sum(found.probabilities) == pytest.approx(1, abs=1e-5)
    with pytest.raises(UsageError, match="two streams for clips of 3 channels"):
        begin({"data": videos, **settings, "modality": "rgb"}, out=home / "refused")


def test_pictures_and_flow_are_cropped_and_mirrored_alike(runs, flow):
    """Clips whose picture shows its own place: after crop and flip the flow channels still lie on the same pixels."""
    spec = read_card(runs["rgb+flow"]).input
    transform = TrainTransform(spec, AugmentSpec(flip=1.0))
    sample = read_manifest(flow).samples[0]
    clips = TrainingClips([sample], [0], spec, transform=transform, cache=FrameCache.of(spec), seed=3)

    class Marked(FrameCache):
        def open(self, path, **segment):
            video = super().open(path, **segment)
            columns = torch.arange(video.data.shape[3]).mul(5).clamp(1, 255).to(torch.uint8)
            return replace(video, data=columns.expand(video.data.shape).contiguous())

    clips.cache = Marked(spec.short_side_px, fed=spec)
    clip, _, _ = clips[Draw(0, 0)]
    assert torch.equal(clip[:, 0], clip[:, 3])
    assert clip[0, 0, 0, 0] < clip[0, 0, 0, -1]

    made = transform.batch(clip[None], torch.Generator().manual_seed(0))

    first, right, down = (made[0, channel, 0, 0] * spec.std[channel] + spec.mean[channel] for channel in (0, 3, 4))
    mirrored = clip[0, 0, 0].flip(0).float() / 255
    torch.testing.assert_close(first, mirrored, atol=1e-5, rtol=0)
    torch.testing.assert_close(down, mirrored, atol=1e-5, rtol=0)
    torch.testing.assert_close(right, (256 - clip[0, 3, 0].flip(0).float()) / 255, atol=1e-5, rtol=0)


def test_flow_has_no_colours():
    with pytest.raises(UsageError, match="no colours to jitter"):
        make_config({"data": "c", "modality": "rgb+flow", "brightness": 0.1})


@pytest.mark.parametrize("fusion", ["logits", "probabilities"])
def test_two_runs_are_tested_as_one(runs, videos, flow, fusion, tmp_path):
    out = tmp_path / "report"

    found = examine_fused(runs["rgb"], videos, beside=runs["flow"], fusion=fusion, **asked(out=out))

    both = load_together(runs["rgb"], runs["flow"], fusion=fusion, device="cpu")
    assert isinstance(both, FusedPredictor)
    for video in found.scored:
        predicted = both.predict(video.sample.path)
        np.testing.assert_allclose([w.probabilities for w in predicted.windows], video.clips, atol=1e-5)
    alone = [examine(runs[name], data, **asked()) for name, data in (("rgb", videos), ("flow", flow))]
    figures = ", ".join(f"best.safetensors {each.video.accuracy.value:.3f}" for each in alone)
    assert f"fused with those of best.safetensors by {fusion} (video top-1 alone: {figures})" in found.protocol.views
    assert json.loads((out / "metrics.json").read_text())["protocol"]["views"] == found.protocol.views
    assert (out / "predictions.csv").exists()


def test_a_folder_is_called_by_its_name(runs, videos, tmp_path, monkeypatch):
    monkeypatch.chdir(videos.parent)
    examine_fused(runs["rgb"], ".", beside=runs["flow"], **asked(out=tmp_path))
    assert "best.safetensors and best.safetensors on data" in (tmp_path / "report.html").read_text()


def test_stored_flow_serves_a_network_of_pictures_beside(runs, videos, flow):
    on_flow = examine_fused(runs["flow"], flow, beside=runs["rgb"], **asked())
    on_videos = examine_fused(runs["flow"], videos, beside=runs["rgb"], **asked())

    for one, other in zip(on_flow.scored, on_videos.scored, strict=True):
        np.testing.assert_array_equal(one.clips, other.clips)


def test_what_the_second_network_cannot_see_is_left_out_of_both(runs, videos, flow, tmp_path):
    for folder in (videos.parent, flow.parent):
        shutil.copytree(folder, tmp_path / folder.name)
    stored = tmp_path / flow.parent.name / flow.name
    damaged = tmp_path / "data" / read_manifest(videos).samples[0].path.relative_to(videos.parent)
    damaged.write_bytes(b"x" * damaged.stat().st_size)
    with pytest.raises(BrokenFilesError) as caught:
        examine_fused(runs["flow"], stored, beside=runs["rgb"], **asked())
    assert list(caught.value.broken) == [damaged]
    found = examine_fused(runs["flow"], stored, beside=runs["rgb"], **asked(skip_broken=True))
    whole = examine_fused(runs["flow"], flow, beside=runs["rgb"], **asked())

    assert [file.path for file in found.broken] == [str(damaged)]
    assert any("1 broken" in warning for warning in found.warnings)
    assert len(found.scored) == 5
    for one, other in zip(found.scored, whole.scored[1:], strict=True):
        np.testing.assert_array_equal(one.clips, other.clips)


def test_what_cannot_be_done_is_told_before_anything_is_read(runs, videos, tmp_path, monkeypatch):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(DataError, match="taken is a file"):
        examine_fused(runs["rgb"], videos, beside=runs["flow"], **asked(out=tmp_path / "taken"))
    monkeypatch.setattr(fused, "examine", lambda *_, **__: pytest.fail("read"))
    with pytest.raises(UsageError, match="windows of 4 frames every 5 frames"):
        examine_fused(runs["rgb"], videos, beside=runs["flow"], **asked(views=Views(5)))


def test_a_split_of_its_own_is_told(runs, home, videos):
    plain = Path(videos).with_name("unsplit.csv")
    plain.write_text("\n".join(line.rsplit(",", 1)[0] for line in videos.read_text().splitlines()))
    weights = load_weights(runs["rgb"])

    begin({"data": plain, **SMALL, "test_fraction": 0.4, "val_fraction": 0.0}, out=home / "run-own-split")
    own = home / "run-own-split" / "best.safetensors"
    found = examine_fused(own, plain, beside=runs["flow"], **asked(split="test"))

    assert "may have seen what is tested here" in " ".join(found.warnings)
    told = examine_fused(runs["rgb"], videos, beside=runs["flow"], **asked(split="test")).warnings
    assert "may have seen" not in " ".join(told)
    assert weights.card.labels.names == ("left", "right")


def test_the_command_line(kinema_command, runs, videos):
    source = read_manifest(videos).samples[0].path

    one, both, by_mean = (
        json.loads(kinema_command("predict", runs["rgb"], source, "--json", *words).out)["probabilities"]
        for words in ((), ("--fuse", runs["flow"]), ("--fuse", runs["flow"], "--fusion", "probabilities"))
    )
    assert len({tuple(answer) for answer in (one, both, by_mean)}) == 3
    assert json.loads(kinema_command("predict", runs["rgb+flow"], source, "--json").out)["warnings"] == []

    ran = kinema_command("evaluate", runs["rgb"], videos, "--split", "all", "--fuse", runs["flow"], "--json")
    assert (ran.code, ran.err) == (0, "")
    assert "fused with those of best.safetensors by logits" in json.loads(ran.out)["protocol"]["views"]

    ran = kinema_command("evaluate", runs["rgb"], videos, "--fuse", runs["flow"], "--fusion", "logit")
    assert ran.code == 2
    assert "did you mean 'logits'" in ran.err


def test_packed_data_holds_nothing_for_a_second_network(runs, tmp_path):
    (tmp_path / "index.json").write_text("{}")

    with pytest.raises(DataError, match="is packed, and holds no files"):
        examine_fused(runs["rgb"], tmp_path / "index.json", beside=runs["flow"], **asked())
