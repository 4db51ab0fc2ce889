"""Which clips of a video are scored, and that nothing about the batching shows."""

from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from kinema.core.errors import DataError, MediaError, UsageError
from kinema.core.labels import LabelMap
from kinema.core.spec import ClipSpec, InputSpec
from kinema.datasets.cache import FrameCache
from kinema.datasets.sample import Sample
from kinema.evaluation.protocol import ScoredVideo, Views, score_videos
from kinema.inference.predictor import Predictor
from kinema.models.weights import ModelCard
from kinema.video.writer import VideoWriter

CLIP = ClipSpec(frames=4)
RGB = InputSpec(CLIP, "rgb", 16, 16, "center", (0.0,) * 3, (1.0,) * 3)
DIFFERENCE = InputSpec(CLIP, "difference", 16, 16, "center", (0.0,), (1.0,))


class Brightness(torch.nn.Module):
    """Two logits, the mean of a clip and its negative; notes how many clips came at once."""

    def __init__(self):
        super().__init__()
        self.batches = []

    def forward(self, clips):
        self.batches.append(len(clips))
        mean = clips.mean(dim=(1, 2, 3, 4))
        return torch.stack([mean, -mean], dim=1)


class Motion(torch.nn.Module):
    """Two logits, how much neighbouring time steps differ and its negative."""

    def forward(self, clips):
        moved = 100 * clips.diff(dim=2).abs().mean(dim=(1, 2, 3, 4))
        return torch.stack([moved, -moved], dim=1)


class Energy(torch.nn.Module):
    """Two logits, the mean size of the input and its negative: motion, where differences are fed."""

    def forward(self, clips):
        size = 100 * clips.abs().mean(dim=(1, 2, 3, 4))
        return torch.stack([size, -size], dim=1)


def predictor(network, spec=RGB):
    card = ModelCard("resnet3d_10", {}, spec.channels, LabelMap.of(["one", "other"]), spec, {})
    return Predictor(network, card, device="cpu")


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """Five videos of 4 to 20 frames that grow brighter from frame to frame, the later ones faster."""
    folder = tmp_path_factory.mktemp("videos")
    made = []
    for number, frames in enumerate((20, 9, 4, 2, 13), start=1):
        path = folder / f"{number}.mp4"
        with VideoWriter(path, fps=10, size=(16, 16)) as writer:
            levels = 20 + 2 * number * np.arange(frames, dtype=np.uint8)
            writer.write(np.broadcast_to(levels[:, None, None, None], (frames, 16, 16, 3)))
        made.append(Sample(path, "one"))
    return made


@pytest.fixture
def cache(tmp_path):
    return FrameCache(16, folder=tmp_path / "frames", limit_bytes=2**28)


@pytest.mark.parametrize(
    ("hop", "still", "windows"),
    [
        (None, False, [9, 4, 1, 1, 6]),
        (2, False, [9, 4, 1, 1, 6]),
        (1, False, [17, 6, 1, 1, 10]),
        (4, False, [5, 3, 1, 1, 4]),
        (4, True, [5, 3, 1, 1, 4]),
    ],
)
def test_every_window_of_every_video_is_scored(samples, cache, hop, still, windows):
    scored = score_videos(predictor(Brightness()), samples, cache=cache, views=Views(hop, still))
    assert [len(video.clips) for video in scored] == windows
    assert [video.sample for video in scored] == samples
    assert all(video.clips.shape[1] == 2 for video in scored)
    assert all(video.clips.dtype == np.float32 for video in scored)


def expected_brightness(samples, cache, starts_of):
    """The same by hand: softmax of the mean of each window's frames."""
    answers = []
    for sample in samples:
        levels = cache.open(sample.path).data.float().mean(dim=(1, 2, 3)).numpy() / 255
        rows = []
        for start in starts_of(len(levels)):
            indices = [(start + k) if len(levels) >= 4 else k % len(levels) for k in range(4)]
            mean = levels[indices].mean()
            rows.append([1 / (1 + np.exp(-2 * mean)), 1 / (1 + np.exp(2 * mean))])
        answers.append(np.array(rows))
    return answers


def test_scores_are_those_of_each_window_by_itself(samples, cache):
    network = Brightness()
    scored = score_videos(predictor(network), samples, cache=cache, views=Views(1))
    expected = expected_brightness(samples, cache, lambda length: range(max(1, length - 3)))
    for video, rows in zip(scored, expected, strict=True):
        np.testing.assert_allclose(video.clips, rows, atol=1e-5)
        np.testing.assert_allclose(video.video, rows.mean(axis=0), atol=1e-5)
    # Windows of several videos share batches, of which none is larger than it may be.
    assert sum(network.batches) == 35
    assert network.batches == [16, 16, 3]


def test_a_segment_is_a_video_of_its_own(samples, cache):
    halves = [Sample(samples[0].path, "one", start_seconds=start, end_seconds=start + 1) for start in (0.0, 1.0)]
    scored = score_videos(predictor(Brightness()), halves, cache=cache)
    assert [len(video.clips) for video in scored] == [4, 4]
    assert scored[0].video[0] < scored[1].video[0]


def test_still_frames_show_no_motion(samples, cache):
    moving = score_videos(predictor(Motion()), samples[:1], cache=cache)[0]
    still = score_videos(predictor(Motion()), samples[:1], cache=cache, views=Views(still=True))[0]
    assert (moving.clips[:, 0] > 0.6).all()
    np.testing.assert_allclose(still.clips, 0.5, atol=1e-6)


def test_still_differences_are_nothing_at_all(samples, cache):
    moving = score_videos(predictor(Energy(), DIFFERENCE), samples, cache=cache)
    still = score_videos(predictor(Energy(), DIFFERENCE), samples, cache=cache, views=Views(still=True))
    assert all((video.clips[:, 0] > 0.6).all() for video in moving)
    assert all(np.allclose(video.clips, 0.5, atol=1e-6) for video in still)


def test_still_is_the_middle_frame(samples, cache):
    scored = score_videos(predictor(Brightness()), samples[:1], cache=cache, views=Views(4, still=True))[0]
    levels = cache.open(samples[0].path).data.float().mean(dim=(1, 2, 3)).numpy()[[2, 6, 10, 14, 18]] / 255
    np.testing.assert_allclose(scored.clips[:, 0], 1 / (1 + np.exp(-2 * levels)), atol=1e-5)


@pytest.mark.parametrize(
    ("views", "expected"),
    [
        (Views(), "sliding windows of 9 frames every 4 frames, video score = mean of window probabilities"),
        (Views(3), "sliding windows of 9 frames every 3 frames, video score = mean of window probabilities"),
        (
            Views(still=True),
            f"{Views().describe(9)}, each window replaced by its middle frame",
        ),
    ],
)
def test_views_in_words(views, expected):
    assert views.describe(9) == expected


def test_a_hop_is_at_least_one_frame(samples, cache):
    assert Views().describe(1).startswith("sliding windows of 1 frames every 1 frames")
    for hop in (0, 5):
        with pytest.raises(UsageError, match=f"every {hop} frames"):
            score_videos(predictor(Brightness()), samples[:1], cache=cache, views=Views(hop))


def test_a_video_that_cannot_be_read_is_not_left_out(samples, cache, tmp_path):
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    with pytest.raises(MediaError, match=r"broken\.mp4"):
        score_videos(predictor(Brightness()), [*samples, Sample(tmp_path / "broken.mp4", "one")], cache=cache)


def test_a_video_too_short_for_its_clips_is_named(samples, cache):
    unpadded = replace(RGB, clip=replace(CLIP, padding="none"))
    with pytest.raises(DataError, match=r"4\.mp4: a video with 2 frames on the clip grid") as caught:
        score_videos(predictor(Brightness(), unpadded), samples, cache=cache)
    assert caught.value.allowed
    assert caught.value.next_step


def test_progress_counts_every_video_once(samples, cache):
    told = []

    class Noting:
        @contextmanager
        def task(self, description, total, unit):
            told.append((description, total, unit))
            yield self

        def advance(self, steps=1, note=""):
            told.append(steps)

        def log(self, message):
            pytest.fail(message)

    score_videos(predictor(Brightness()), samples, cache=cache, views=Views(1), progress=Noting())
    assert told[0] == ("scoring", 5, "videos")
    assert sum(told[1:]) == 5
    assert min(told[1:]) >= 0


def test_no_videos_give_no_scores(cache):
    assert score_videos(predictor(Brightness()), [], cache=cache) == ()


def test_repr():
    assert repr(ScoredVideo(Sample(Path("/v/a.mp4"), "one"), np.zeros((3, 2), np.float32))) == (
        "ScoredVideo(a.mp4, 3 windows)"
    )
