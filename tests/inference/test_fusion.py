"""Two networks that answer as one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from kinema.core.errors import MediaError, UsageError, WeightsError
from kinema.core.labels import LabelMap
from kinema.core.spec import FLOW_MEAN, FLOW_STD, ClipSpec, FlowSpec, InputSpec
from kinema.inference.aggregate import video_probabilities
from kinema.inference.fusion import (
    FusedPredictor,
    choose_fusion,
    class_order,
    fuse,
    load_together,
    require_fusion,
    side_by_side,
)
from kinema.inference.predictor import Predictor
from kinema.models.two_stream import fuse as fuse_inside
from kinema.models.weights import ModelCard, save_weights
from kinema.models.zoo import create_model
from kinema.video.flow import FlowChoice, make_algorithm
from kinema.video.flow_record import FlowRecipe
from kinema.video.flow_writer import store_flow
from kinema.video.writer import VideoWriter

DIS = FlowSpec("dis", fps="10", short_side_px=48)
PICTURES = InputSpec(ClipSpec(4), "rgb", 32, 40, "center", (0.5,) * 3, (0.5,) * 3)
MOTION = InputSpec(ClipSpec(4), "flow", 32, 40, "center", (FLOW_MEAN,) * 2, (FLOW_STD,) * 2, flow=DIS)


class FirstChannel(torch.nn.Module):
    """Two logits: plus and minus `gain` times the mean of the first channel: redness, or motion to the right."""

    def __init__(self, gain):
        super().__init__()
        self.gain = gain

    def forward(self, clips):
        mean = self.gain * clips[:, 0].mean(dim=(1, 2, 3))
        return torch.stack([mean, -mean], dim=1)


def seeing(spec, names=("yes", "no"), gain=5.0):
    labels = LabelMap.of(list(names)) if names else LabelMap.unknown(2)
    return Predictor(FirstChannel(gain), ModelCard("resnet3d_10", {}, spec.channels, labels, spec, {}), device="cpu")


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """2 s at 10 frames a second: a dark texture that goes to the right."""
    strip = np.random.default_rng(3).integers(20, 150, (12, 40, 3), dtype=np.uint8).repeat(4, 0).repeat(4, 1)
    path = tmp_path_factory.mktemp("moving") / "moving.mkv"
    with VideoWriter(path, fps=10, size=(80, 48), crf=5) as writer:
        for step in range(20):
            left = 2 * (20 - step)
            writer.write(np.ascontiguousarray(strip[None, :, left : left + 80]))
    return path


def distributions(count, classes, seed):
    raw = np.random.default_rng(seed).random((count, classes)) + 0.01
    return raw / raw.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("fusion", ["logits", "probabilities"])
def test_it_fuses_as_the_two_stream_networks_do_inside(fusion):
    logits = torch.randn(6, 2, 1, 5, generator=torch.Generator().manual_seed(1))
    expected = fuse_inside(logits, fusion).softmax(dim=1)

    one, other = logits.squeeze(2).softmax(dim=2).numpy().transpose(1, 0, 2)

    np.testing.assert_allclose(fuse(one, other, fusion), expected, atol=1e-6)


def test_probabilities_that_a_float_rounds_to_nothing():
    sure, other = np.array([[1.0, 0.0, 0.0]]), np.array([[0.0, 1.0, 0.0]])

    for fusion in ("logits", "probabilities"):
        fused = fuse(sure, other, fusion)
        np.testing.assert_allclose(fused, [[0.5, 0.5, 0.0]], atol=1e-6)


def test_equal_windows_meet_one_to_one():
    spans = np.array([(0.0, 1.0), (0.5, 1.5), (1.0, 2.0)])
    scores = distributions(3, 4, 0)

    assert np.array_equal(side_by_side(spans, spans + 1e-9, scores), scores)


def test_short_windows_are_averaged_and_long_ones_speak_for_several():
    long, short = np.array([(0.0, 4.0), (4.0, 8.0)]), np.array([(t, t + 2.0) for t in (0.0, 2.0, 4.0, 6.0)])
    few, many = distributions(2, 3, 1), distributions(4, 3, 2)

    np.testing.assert_allclose(side_by_side(long, short, many), [many[:2].mean(0), many[2:].mean(0)])
    np.testing.assert_allclose(side_by_side(short, long, few), few[[0, 0, 1, 1]])
    np.testing.assert_allclose(side_by_side(long, short[:1], many[:1]), many[[0, 0]])


def test_classes_are_matched_by_name():
    first, second = LabelMap.of(["a", "b", "c"]), LabelMap.of(["c", "a", "b"])

    assert class_order(first, second) == [1, 2, 0]
    assert class_order(LabelMap.unknown(3), LabelMap.unknown(3)) == [0, 1, 2]
    with pytest.raises(WeightsError, match="only one of them knows c, d"):
        class_order(first, LabelMap.of(["a", "b", "d"]))
    for other in (LabelMap.unknown(3), LabelMap.unknown(2)):
        with pytest.raises(WeightsError, match="same classes"):
            class_order(first if other.count == 3 else LabelMap.unknown(3), other)


def test_names_of_fusions():
    assert require_fusion("logits") == "logits"
    with pytest.raises(UsageError, match="did you mean 'probabilities'"):
        require_fusion("probability")


def test_a_fusion_is_chosen_where_there_is_something_to_fuse():
    assert choose_fusion(None, None) == choose_fusion(None, "b.safetensors") == "logits"
    assert choose_fusion("probabilities", "b.safetensors") == "probabilities"
    with pytest.raises(UsageError, match="--fusion logits without --fuse"):
        choose_fusion("logits", None)


def test_weights_of_raft_are_for_networks_of_its_flow(tmp_path):
    paths = []
    for name, spec in (("pictures", PICTURES), ("dis", MOTION), ("raft", replace(MOTION, flow=FlowSpec("raft")))):
        options = {"widen_factor": 0.125}
        card = ModelCard("resnet3d_10", options, spec.channels, LabelMap.unknown(2), spec, {})
        paths.append(tmp_path / f"{name}.safetensors")
        save_weights(paths[-1], create_model("resnet3d_10", 2, spec.channels, **options), card)
    pictures, dis, raft = paths
    for weights, beside in ((raft, None), (pictures, raft)):
        load_together(weights, beside, device="cpu", raft_weights=tmp_path / "raft.pth")
    for weights, beside in ((pictures, None), (pictures, dis)):
        with pytest.raises(UsageError, match=r"raft\.pth for .*pictures\.safetensors"):
            load_together(weights, beside, device="cpu", raft_weights=tmp_path / "raft.pth")


@pytest.mark.parametrize("fusion", ["logits", "probabilities"])
def test_pictures_and_motion_answer_together(video, fusion):
    pictures, motion = seeing(PICTURES), seeing(MOTION, names=("no", "yes"))
    alone = [each.predict(video) for each in (pictures, motion)]
    assert alone[0].probabilities[0] < 0.4  # dark: "no"
    assert alone[1].probabilities[0] > 0.6  # to the right: its first class, "no"

    fused = FusedPredictor(pictures, motion, fusion).predict(video)

    assert fused.labels.names == ("yes", "no")
    assert [(w.start_seconds, w.end_seconds) for w in fused.windows] == [
        (w.start_seconds, w.end_seconds) for w in alone[0].windows
    ]
    for window in fused.windows[:3]:  # of these the grids are equal; 20 frames have 19 fields
        one = next(w for w in alone[0].windows if w.start_seconds == window.start_seconds)
        other = next(w for w in alone[1].windows if w.start_seconds == window.start_seconds)
        expected = fuse(np.array([one.probabilities]), np.array([other.probabilities[::-1]]), fusion)
        np.testing.assert_allclose(window.probabilities, expected[0], atol=1e-6)
    assert fused.probabilities == video_probabilities(fused.windows)
    assert fused.duration_seconds == alone[0].duration_seconds
    if fusion == "logits":
        assert fused.probabilities[1] > max(alone[0].probabilities[1], alone[1].probabilities[0])


def test_stored_flow_serves_both(video, tmp_path):
    algorithm = make_algorithm(FlowChoice("dis"))
    recipe = FlowRecipe("dis", algorithm.library, algorithm.parameters, fps=DIS.rate, short_side_px=48, store="video")
    store_flow(video, tmp_path / "flow", recipe, algorithm)
    fused = FusedPredictor(seeing(MOTION), seeing(PICTURES))

    found = fused.predict(tmp_path / "flow" / "flow.json")

    assert found.windows == fused.predict(video).windows
    assert found.source.endswith("flow.json")
    video_moved = video.rename(video.with_name("gone.mkv"))
    with pytest.raises(MediaError, match="is not there"):
        fused.predict(tmp_path / "flow" / "flow.json")
    video_moved.rename(video)


def test_networks_of_different_classes_are_refused():
    with pytest.raises(WeightsError, match="only one of them knows maybe, no"):
        FusedPredictor(seeing(PICTURES), seeing(MOTION, names=("yes", "maybe")))
