"""Networks of flow, and of pictures with flow, on videos and on flow that was stored before."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch

from kinema.core.errors import MediaError, UsageError
from kinema.core.labels import LabelMap
from kinema.core.progress import Progress, Task
from kinema.core.spec import FLOW_MEAN, FLOW_STD, ClipSpec, FlowSpec, InputSpec
from kinema.inference.predictor import Predictor
from kinema.models.weights import ModelCard
from kinema.models.zoo import create_model
from kinema.video.flow import FlowChoice, make_algorithm
from kinema.video.flow_record import FlowRecipe
from kinema.video.flow_writer import store_flow
from kinema.video.writer import VideoWriter

DIS = FlowSpec("dis", fps="10", short_side_px=48)


class Rightwards(torch.nn.Module):
    """Two logits: plus and minus the mean motion to the right, the last channel but one."""

    def forward(self, clips):
        mean = 20 * clips[:, -2].mean(dim=(1, 2, 3))
        return torch.stack([mean, -mean], dim=1)


def by_motion(modality="flow", flow=DIS, **settings):
    channels = 2 if modality == "flow" else 5
    mean, std = ((0.5,) * (channels - 2) + (value, value) for value in (FLOW_MEAN, FLOW_STD))
    spec = InputSpec(ClipSpec(4), modality, 32, 40, "center", mean, std, flow=flow)
    card = ModelCard("resnet3d_10", {}, channels, LabelMap.of(["right", "left"]), spec, {})
    return Predictor(Rightwards(), card, device="cpu", **settings)


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """2.4 s at 10 frames a second: a texture that goes to the right, and from 1.2 s on to the left."""
    strip = np.random.default_rng(3).integers(30, 220, (12, 40, 3), dtype=np.uint8).repeat(4, 0).repeat(4, 1)
    path = tmp_path_factory.mktemp("swing") / "swing.mkv"
    with VideoWriter(path, fps=10, size=(80, 48), crf=5) as writer:
        for step in range(24):
            left = 40 - 2 * min(step, 24 - step)
            writer.write(np.ascontiguousarray(strip[None, :, left : left + 80]))
    return path


@pytest.fixture(scope="module", params=["video", "jpeg"])
def stored(request, video, tmp_path_factory):
    algorithm = make_algorithm(FlowChoice("dis"))
    recipe = FlowRecipe(
        "dis", algorithm.library, algorithm.parameters, fps=Fraction(10), short_side_px=48, store=request.param
    )
    folder = tmp_path_factory.mktemp(request.param) / "swing"
    store_flow(video, folder, recipe, algorithm)
    return folder / "flow.json"


@pytest.mark.parametrize("modality", ["flow", "rgb+flow"])
def test_a_video_is_judged_as_its_stored_flow_is(video, stored, modality):
    """Equal where it was stored without loss; JPEG shifts a byte by 0.05 on average."""
    predictor = by_motion(modality)

    found, kept = predictor.predict(video), predictor.predict(stored)

    assert found.labels.names[int(np.argmax(found.windows[0].probabilities))] == "right"
    assert found.labels.names[int(np.argmax(found.windows[-1].probabilities))] == "left"
    assert [(one.start_seconds, one.end_seconds) for one in found.windows] == [
        (one.start_seconds, one.end_seconds) for one in kept.windows
    ]
    assert found.duration_seconds == pytest.approx(2.3)  # 24 frames have 23 fields
    assert found.warnings == kept.warnings == ()
    scores, others = (np.array([one.probabilities for one in each.windows]) for each in (found, kept))
    if stored.parent.parent.name.startswith("video"):
        assert np.array_equal(scores, others)
    else:
        assert np.abs(scores - others).max() < 0.02


def test_two_streams_predict_from_a_video(video):
    torch.manual_seed(0)
    card = by_motion("rgb+flow").card
    model = create_model("two_stream", 2, 5)
    predictor = Predictor(model, card, device="cpu")

    found = predictor.predict(video)

    assert len(found.windows) == 11
    assert sum(found.probabilities) == pytest.approx(1)


def test_flow_is_computed_as_the_weights_say(video):
    usual = by_motion().predict(video)

    bounded = by_motion(flow=FlowSpec("dis", "10", 48, bound_px=60.0)).predict(video)
    slow = by_motion(flow=FlowSpec("dis", "5", 48)).predict(video)

    assert bounded.windows[0].probabilities[0] < usual.windows[0].probabilities[0] - 0.1
    assert len(slow.windows) < len(usual.windows)


def test_weights_that_do_not_say_how_and_pictures_for_them(video, stored):
    unsaid = by_motion(flow=None)

    with pytest.raises(UsageError, match="does not say how its flow is computed"):
        unsaid.predict(video)
    assert unsaid.predict(stored).windows


def test_flow_that_was_computed_otherwise_is_warned_of(stored):
    (doubt,) = by_motion(flow=FlowSpec("tvl1")).predict(stored).warnings
    assert "by dis, and the network was trained on tvl1" in doubt
    (doubt,) = by_motion(flow=FlowSpec("dis", "25", 48)).predict(stored).warnings
    assert "fps 10 and not 25" in doubt


class Counting(Progress):
    """Notes every step of every task."""

    def __init__(self):
        self.steps = []

    def task(self, name, total, unit):
        return Noting(self.steps)


class Noting(Task):
    def __init__(self, steps):
        self.steps = steps

    def advance(self, steps=1, note=""):
        self.steps.append(steps)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None


def test_it_tells_how_far_it_is_every_few_fields(video):
    progress = Counting()

    by_motion().predict(video, progress=progress)

    assert sum(progress.steps) == 23
    assert max(progress.steps) <= 4  # a field of TV-L1 takes seconds


def test_what_decodes_of_a_damaged_video_is_judged(video, tmp_path):
    content = video.read_bytes()
    (tmp_path / "cut.mkv").write_bytes(content[: len(content) * 9 // 10])

    found = by_motion().predict(tmp_path / "cut.mkv")

    assert "judged by the" in found.warnings[0]
    assert found.duration_seconds < 2.3


def test_one_frame_has_no_flow(tmp_path):
    with VideoWriter(tmp_path / "one.mkv", fps=10, size=(64, 48)) as writer:
        writer.write(np.zeros((1, 48, 64, 3), np.uint8))

    with pytest.raises(MediaError, match="flow is what lies between two"):
        by_motion().predict(tmp_path / "one.mkv")
