"""How a classifier is tested: which clips of each video are scored, by the road that predictions take."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt
import torch

from kinema.clips.window import windows
from kinema.core.progress import Progress, Silent
from kinema.datasets.cache import VideoShelf
from kinema.datasets.sample import Sample
from kinema.inference.predictor import Predictor

__all__ = ["ScoredVideo", "Views", "score_videos"]

_BATCH_CLIPS = 16


@dataclass(frozen=True)
class Views:
    """Which clips of a video are scored.

    Attributes:
        hop_frames: frames of the clip grid between two windows; None for half a window.
        still: each clip is replaced by its middle frame, repeated. What a network still gets right
            this way it sees in single pictures, not in motion.
    """

    hop_frames: int | None = None
    still: bool = False

    def hop(self, frames: int) -> int:
        """Frames from one window of `frames` frames to the next."""
        return max(1, frames // 2) if self.hop_frames is None else self.hop_frames

    def describe(self, frames: int) -> str:
        """The views in words, for clips of `frames` frames."""
        text = f"sliding windows of {frames} frames every {self.hop(frames)} frames"
        text = f"{text}, video score = mean of window probabilities"
        return f"{text}, each window replaced by its middle frame" if self.still else text


@dataclass(frozen=True, repr=False)
class ScoredVideo:
    """One video with the scores of its clips.

    Attributes:
        sample: the row of the manifest.
        clips: probabilities (V, K) of its V windows.
    """

    sample: Sample
    clips: npt.NDArray[np.float32]

    @property
    def video(self) -> npt.NDArray[np.float32]:
        """Probabilities (K,) of the video: the mean of its windows."""
        mean: npt.NDArray[np.float32] = self.clips.mean(axis=0)
        return mean

    def __repr__(self) -> str:
        return f"ScoredVideo({self.sample.path.name}, {len(self.clips)} windows)"


@dataclass(frozen=True)
class _Window:
    """A clip on its way to the network, and the video it belongs to."""

    video: int
    clip: torch.Tensor


def score_videos(
    predictor: Predictor,
    samples: Sequence[Sample],
    *,
    cache: VideoShelf,
    views: Views | None = None,
    progress: Progress | None = None,
) -> tuple[ScoredVideo, ...]:
    """Score every window of every sample, batching across videos.

    Args:
        predictor: network and card.
        samples: rows of a manifest.
        cache: opens their videos at the card's short side.
        views: which clips; `Views()` unless given.
        progress: where a bar is drawn.

    Raises:
        MediaError: a video that cannot be read; nothing is replaced by something else.
    """
    chosen = views or Views()
    rows: list[list[npt.NDArray[np.float32]]] = [[] for _ in samples]
    pending = _windows(predictor, samples, cache, chosen)
    done = 0
    with (progress or Silent()).task("scoring", len(samples), "videos") as task:
        while batch := list(islice(pending, _BATCH_CLIPS)):
            scores = predictor.score([window.clip for window in batch]).numpy()
            for window, row in zip(batch, scores, strict=True):
                rows[window.video].append(row)
            task.advance(batch[-1].video - done)
            done = batch[-1].video
        task.advance(len(samples) - done)
    return tuple(ScoredVideo(sample, np.stack(scored)) for sample, scored in zip(samples, rows, strict=True))


def _windows(predictor: Predictor, samples: Sequence[Sample], cache: VideoShelf, views: Views) -> Iterator[_Window]:
    spec = predictor.card.input.clip
    for number, sample in enumerate(samples):
        video = cache.open(sample.path, start_seconds=sample.start_seconds, end_seconds=sample.end_seconds)
        for span in windows(video.times, spec, views.hop(spec.frames)):
            middle = span.indices[len(span.indices) // 2]
            indices = (middle,) * len(span.indices) if views.still else span.indices
            yield _Window(number, video.read(indices).data)
