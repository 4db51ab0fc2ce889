"""One road from a file to an answer: the same as evaluation's, whatever is batched, cut short or damaged."""

from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch

import kinema
from kinema.core.errors import DataError, MediaError, UsageError, WeightsError
from kinema.core.labels import LabelMap
from kinema.core.spec import ClipSpec, InputSpec
from kinema.datasets.cache import FrameCache
from kinema.datasets.manifest import read_manifest
from kinema.evaluation.protocol import Views, score_videos
from kinema.inference.aggregate import video_probabilities
from kinema.inference.events import EventRule
from kinema.inference.fusion import FusedPredictor
from kinema.inference.predictor import Predictor, choose_device, load
from kinema.models.weights import ModelCard
from kinema.models.zoo import create_model
from kinema.video.file import VideoFile
from kinema.video.writer import VideoWriter


@pytest.fixture(scope="module")
def predictor(tiny_run):
    return kinema.load(tiny_run / "best.safetensors", device="cpu")


@pytest.fixture(scope="module")
def samples(tiny_clips):
    return read_manifest(tiny_clips).samples


@pytest.fixture(scope="module")
def video(samples):
    return samples[0].path


def of(window):
    return window.start_seconds, window.end_seconds


class Brightness(torch.nn.Module):
    """Two logits: plus and minus three times the mean of a clip, which is mid-grey at 0."""

    def forward(self, clips):
        mean = 3 * clips.mean(dim=(1, 2, 3, 4))
        return torch.stack([mean, -mean], dim=1)


class Shrinking(Brightness):
    """Nothing is left of fewer than 4 frames."""

    def forward(self, clips):
        return super().forward(torch.nn.functional.avg_pool3d(clips, (4, 1, 1)))


RGB = InputSpec(ClipSpec(4), "rgb", 16, 16, "center", (0.5,) * 3, (0.5,) * 3)
DIFFERENCE = InputSpec(ClipSpec(4), "difference", 16, 16, "center", (0.0,), (1.0,))


def by_brightness(labels=None, network=None, spec=RGB):
    """A predictor that says how bright it is, for clips of 4 frames."""
    labels = labels or LabelMap.of(["bright", "dark"])
    card = ModelCard("resnet3d_10", {}, spec.channels, labels, spec, {})
    return Predictor(network or Brightness(), card, device="cpu")


@pytest.fixture(scope="module")
def flashes(tmp_path_factory):
    """8 s at 10 frames a second: dark, but bright from 2 to 3 s and from 6 s on."""
    path = tmp_path_factory.mktemp("flashes") / "flashes.mp4"
    frames = np.full((80, 32, 32, 3), 20, np.uint8)
    frames[20:30] = frames[60:] = 235
    with VideoWriter(path, fps=10, size=(32, 32)) as writer:
        writer.write(frames)
    return path


@pytest.mark.parametrize("hop", [None, 1, 3, 8])
def test_a_video_scores_as_in_evaluation(predictor, samples, hop):
    """Streamed once in chunks, or read at random from the cache: the same windows, the same numbers."""
    chosen = [samples[0], samples[-1]]
    scored = score_videos(predictor, chosen, cache=FrameCache(predictor.card.input.short_side_px), views=Views(hop))
    for sample, expected in zip(chosen, scored, strict=True):
        found = predictor.predict(sample.path, hop_frames=hop)
        assert len(found.windows) == len(expected.clips) > 1
        np.testing.assert_allclose([window.probabilities for window in found.windows], expected.clips, atol=1e-5)
        np.testing.assert_allclose(found.probabilities, expected.video, atol=1e-5)


def test_a_prediction_says_what_it_looked_at(predictor, video):
    found = predictor.predict(video)
    with VideoFile(video) as file:
        assert found.duration_seconds == pytest.approx(file.info.duration_seconds)
        rate = file.info.average_fps
    assert found.source == str(video)
    assert found.labels == predictor.card.labels
    assert found.warnings == ()
    assert of(found.windows[0]) == pytest.approx((0, 8 / rate))
    assert found.windows[1].start_seconds == pytest.approx(4 / rate)
    assert found.windows[-1].end_seconds == pytest.approx(found.duration_seconds)
    assert found.probabilities == video_probabilities(found.windows)


@pytest.mark.parametrize(
    ("window", "hop", "expected"),
    [
        (None, None, [(n * 0.2, n * 0.2 + 0.4) for n in range(39)]),
        (10, None, [(n * 0.5, n * 0.5 + 1) for n in range(15)]),
        (30, 25, [(0, 3), (2.5, 5.5), (5, 8)]),
        (30, 30, [(0, 3), (3, 6), (5, 8)]),
        (100, None, [(0, 8)]),
        (1, None, [(n / 10, (n + 1) / 10) for n in range(80)]),
    ],
)
def test_windows_are_as_long_and_as_far_apart_as_asked(flashes, window, hop, expected):
    found = by_brightness().predict(flashes, window_frames=window, hop_frames=hop)
    assert [of(each) for each in found.windows] == [pytest.approx(pair) for pair in expected]


@pytest.mark.parametrize("asked", [{"hop_frames": 0}, {"hop_frames": -1}, {"hop_frames": 5}, {"window_frames": 0}])
def test_windows_that_are_none_are_refused(flashes, asked):
    with pytest.raises(UsageError):
        by_brightness().predict(flashes, **asked)


def test_a_video_with_a_held_frame_is_answered(tmp_path):
    """Of 40 frames at 10 a second the tenth is held for 4 s, longer than a window lasts."""
    predictor = by_brightness(spec=replace(RGB, clip=ClipSpec(16, fps=8)))
    pts = [number if number < 10 else number + 39 for number in range(40)]
    with VideoWriter(tmp_path / "held.mkv", fps=10, size=(32, 32), time_base=Fraction(1, 10)) as writer:
        writer.write(np.full((40, 32, 32, 3), 20, np.uint8), pts=pts)
    found = predictor.predict(tmp_path / "held.mkv")
    assert [of(window) for window in found.windows[:-1]] == [(n, n + 2) for n in range(6)]
    assert of(found.windows[-1]) == pytest.approx((5.875, 7.9))


@pytest.mark.parametrize(
    ("predictor", "frames", "said"),
    [
        (by_brightness(network=Shrinking()), 3, "windows of 3 frames for resnet3d_10: "),
        (by_brightness(spec=DIFFERENCE), 1, "differences of a clip of one frame"),
    ],
)
def test_a_window_that_the_network_cannot_take_is_refused_before_anything_is_read(predictor, frames, said):
    fused = FusedPredictor(by_brightness(), predictor)
    for each in (predictor, fused):
        with pytest.raises(UsageError, match=said):
            each.predict("absent.mp4", window_frames=frames)


def test_scores_follow_what_is_seen(flashes):
    found = by_brightness().predict(flashes, window_frames=5, hop_frames=5)
    assert [round(window.probabilities[0]) for window in found.windows] == [0] * 4 + [1] * 2 + [0] * 6 + [1] * 4
    assert found.probabilities[0] == pytest.approx(6 / 16, abs=1e-2)


def test_events_are_told_where_the_score_is_high(flashes):
    found = by_brightness(LabelMap.of(["bright", "normal"])).predict(flashes, window_frames=5, hop_frames=5)
    assert [(event.label, event.class_index) for event in found.events] == [("bright", 0)] * 2
    assert [of(event) for event in found.events] == [pytest.approx((2, 3)), pytest.approx((6, 8))]
    assert all(event.peak > 0.99 for event in found.events)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (EventRule(min_duration_seconds=1.5), [(6, 8)]),
        (EventRule(merge_gap_seconds=3.0), [(2, 8)]),
        (EventRule(enter=1e-9, leave=0.0), [(0, 8)]),
        (EventRule(enter=1.0, leave=1.0), []),
    ],
)
def test_the_rule_for_events_is_obeyed(flashes, rule, expected):
    found = by_brightness(LabelMap.of(["bright", "normal"])).predict(flashes, window_frames=5, hop_frames=5, rule=rule)
    assert [of(event) for event in found.events] == [pytest.approx(pair) for pair in expected]


def test_the_company_of_a_clip_does_not_change_its_score(predictor):
    torch.manual_seed(0)
    clips = [torch.randint(256, (8, 3, 37, 49), dtype=torch.uint8) for _ in range(7)]
    alone = torch.cat([predictor.score([clip]) for clip in clips])
    assert alone.shape == (7, 2)
    assert alone.dtype == torch.float32
    assert (alone.max(dim=0).values - alone.min(dim=0).values).max() > 1e-3
    for company in ([0, 1, 2, 3, 4, 5, 6], [6, 6, 6, 0], [3, 5]):
        together = predictor.score([clips[index] for index in company])
        torch.testing.assert_close(together, alone[company], atol=1e-5, rtol=0)


def test_scoring_does_not_train():
    """Batch norm uses what it learnt, and learns nothing, whatever mode the network is found in."""
    network = create_model("resnet3d_10", 2, 3, widen_factor=0.125, conv1_t_size=3, dropout=0.5)
    spec = InputSpec(ClipSpec(4), "rgb", 16, 16, "center")
    predictor = Predictor(network.train(), ModelCard("resnet3d_10", {}, 3, LabelMap.unknown(2), spec, {}), device="cpu")
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    clip = torch.randint(256, (4, 3, 16, 16), dtype=torch.uint8)
    scores = [predictor.score([clip]) for _ in range(3)]
    assert all(torch.equal(score, scores[0]) for score in scores)
    assert not scores[0].requires_grad
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


@pytest.fixture
def cut(tmp_path):
    """A copy of a video without its last two fifths; Matroska, whose index is not at its end."""
    whole = tmp_path / "whole.mkv"
    rng = np.random.default_rng(0)
    with VideoWriter(whole, fps=10, size=(64, 48), keyframe_interval_frames=10) as writer:
        writer.write(rng.integers(0, 255, (60, 48, 64, 3), dtype=np.uint8))
    path = tmp_path / "cut.mkv"
    content = whole.read_bytes()
    path.write_bytes(content[: len(content) * 6 // 10])
    return path


def check_damaged(predictor, path):
    with VideoFile(path, short_side_px=predictor.card.input.short_side_px, strict=False) as file:
        decoded = sum(len(frames) for frames in file.frames())
    found = predictor.predict(path)
    assert len(found.warnings) == 1
    assert f"judged by the {decoded} frames that decode" in found.warnings[0]
    assert "damaged" in found.warnings[0]
    return found, decoded


def test_a_file_cut_short_is_judged_by_what_decodes(cut):
    found, decoded = check_damaged(by_brightness(), cut)
    assert 20 < decoded < 50
    assert found.duration_seconds == pytest.approx(decoded / 10, abs=0.01)


@pytest.mark.parametrize("name", ["v_Biking_g05_c02.avi", "testsrc2_vp9.webm"])
def test_a_real_file_cut_short_is_judged_by_what_decodes(predictor, shared_video, tmp_path, name):
    content = (shared_video / "odd" / name).read_bytes()
    path = tmp_path / name
    path.write_bytes(content[: len(content) * 6 // 10])
    found, decoded = check_damaged(predictor, path)
    assert decoded > 8
    assert len(found.windows) > 1


def test_a_real_file_cut_off_its_index_raises(predictor, shared_video, tmp_path):
    """An MP4 with its index at the end, of which nothing decodes: no answer is made up."""
    content = (shared_video / "odd" / "demo.mp4").read_bytes()
    path = tmp_path / "demo.mp4"
    path.write_bytes(content[: len(content) * 6 // 10])
    with pytest.raises(MediaError, match="cut off where its index is"):
        predictor.predict(path)


@pytest.mark.parametrize("content", [b"", b"no video at all", bytes(4096)])
def test_what_is_no_video_raises(predictor, tmp_path, content):
    path = tmp_path / "broken.mp4"
    path.write_bytes(content)
    with pytest.raises(MediaError, match=r"broken\.mp4"):
        predictor.predict(path)


def test_a_video_of_which_no_picture_decodes_raises(flashes, tmp_path):
    """Its index is whole, so it opens; its pictures are zeros."""
    content = flashes.read_bytes()
    start = content.index(b"mdat") + 4
    size = int.from_bytes(content[start - 8 : start - 4], "big") - 8
    path = tmp_path / "zeros.mp4"
    path.write_bytes(content[:start] + bytes(size) + content[start + size :])
    with pytest.raises(MediaError, match=r"zeros\.mp4: damaged"):
        by_brightness().predict(path)


def test_what_is_not_there_raises(predictor, tmp_path):
    with pytest.raises(MediaError, match=r"absent\.mp4"):
        predictor.predict(tmp_path / "absent.mp4")


def test_too_short_a_video_is_refused_where_nothing_is_padded(flashes):
    spec = InputSpec(ClipSpec(81, padding="none"), "rgb", 16, 16, "center")
    card = ModelCard("resnet3d_10", {}, 3, LabelMap.unknown(2), spec, {})
    with pytest.raises(DataError, match="80 frames on the clip grid"):
        Predictor(Brightness(), card, device="cpu").predict(flashes)


def test_progress_is_told(flashes):
    told = []

    class Noting:
        @contextmanager
        def task(self, description, total, unit):
            told.append((description, total, unit))
            yield self
            told.append("done")

        def advance(self, steps=1, note=""):
            told.append(steps)

        def log(self, message):
            told.append(message)

    by_brightness().predict(flashes, progress=Noting())
    assert told[0] == (str(flashes), None, "frames")
    assert told[-1] == "done"
    assert sum(told[1:-1]) == 80
    assert len(told) > 3


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "", "meta", "hpu", "Auto", "cpu:x"])
def test_devices_that_are_not_there(name):
    with pytest.raises(UsageError, match=f"no device '{name}' here") as caught:
        choose_device(name)
    assert "auto" in caught.value.allowed
    assert "\n" not in caught.value.given


def test_devices_that_are_there(monkeypatch):
    assert choose_device("cpu") == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choose_device("auto") == torch.device("cpu")


def test_loading(tiny_run, tmp_path):
    predictor = load(str(tiny_run / "best.safetensors"), device="cpu")
    assert repr(predictor) == "Predictor(resnet3d_10, LabelMap(2: normal, selfharm), on cpu)"
    with pytest.raises(WeightsError):
        load(tmp_path / "absent.safetensors")
    with pytest.raises(UsageError, match="no device 'gpu'"):
        load(tiny_run / "best.safetensors", device="gpu")


@pytest.mark.parametrize(("cores", "threads"), [(None, 1), (1, 1), (2, 2), (64, 2)])
def test_one_thread_converts_where_there_are_cores_for_it(predictor, video, monkeypatch, cores, threads):
    plain = predictor.predict(video)
    asked = []
    init = VideoFile.__init__

    def listening(self, *given, **named):
        asked.append(named["threads"])
        init(self, *given, **named)

    monkeypatch.setattr("kinema.inference.predictor.os.cpu_count", lambda: cores)
    monkeypatch.setattr(VideoFile, "__init__", listening)
    assert predictor.predict(video) == plain
    assert asked == [threads]


def test_layers_that_were_never_trained_are_told(flashes):
    predictor = by_brightness()
    predictor.card = replace(predictor.card, provenance={"fresh_tensors": ["fc.weight"]})
    (warning,) = predictor.predict(flashes).warnings
    assert warning.startswith("fc.weight had no values when the weights were converted")
