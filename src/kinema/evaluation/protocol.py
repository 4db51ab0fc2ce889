"""How a classifier is tested: which clips of each video are scored, by the road that predictions take."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, islice

import numpy as np
import numpy.typing as npt
import torch

from kinema.clips.window import WindowSpan, windows
from kinema.core.errors import DataError
from kinema.core.progress import Progress, Silent
from kinema.core.spec import ClipSpec
from kinema.core.team import Alone, Team
from kinema.datasets.cache import CachedVideo, VideoShelf
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
    """A clip on its way to the network: the video it belongs to, and its number there."""

    video: int
    number: int
    clip: torch.Tensor


@dataclass(frozen=True)
class _Scores:
    """What the network says of one window: probabilities (K,)."""

    video: int
    number: int
    row: npt.NDArray[np.float32]


def score_videos(
    predictor: Predictor,
    samples: Sequence[Sample],
    *,
    cache: VideoShelf,
    views: Views | None = None,
    progress: Progress | None = None,
    team: Team | None = None,
) -> tuple[ScoredVideo, ...]:
    """Score every window of every sample, batching across videos.

    Processes take the batches in turn, the very batches that one alone would make, as a network's
    answer may depend on its batch in the last bit. So each has the same answers, whatever their number.

    Args:
        predictor: network and card.
        samples: rows of a manifest.
        cache: opens their videos at the card's short side.
        views: which clips; `Views()` unless given.
        progress: where a bar is drawn.
        team: processes that share the work; each must call this alike, and gets all scores.

    Raises:
        MediaError: a video that cannot be read; nothing is replaced by something else.
        DataError: a video too short for clips that are not padded.
    """
    chosen, crew = views or Views(), team or Alone()
    with (progress or Silent()).task("scoring", len(samples), "videos") as task:
        turns = _Turns(crew, _window_counts(predictor, samples, cache, chosen, crew))
        pending = _windows(predictor, samples, cache, chosen, turns)
        scored: list[_Scores] = []
        done = 0
        with crew.together():
            while batch := list(islice(pending, _BATCH_CLIPS)):
                scores = predictor.score([window.clip for window in batch]).numpy()
                found = zip(batch, scores, strict=True)
                scored += [_Scores(window.video, window.number, row) for window, row in found]
                task.advance(batch[-1].video - done)
                done = batch[-1].video
        rows: list[dict[int, npt.NDArray[np.float32]]] = [{} for _ in samples]
        for one in (one for part in crew.gather(scored) for one in part):
            rows[one.video][one.number] = one.row
        task.advance(len(samples) - done)
    return tuple(
        ScoredVideo(sample, np.stack([held[number] for number in range(len(held))]))
        for sample, held in zip(samples, rows, strict=True)
    )


class _Turns:
    """Which windows are this process's: whole batches of all windows in a row, taken in turn.

    Args:
        team: the processes.
        counts: windows of each video; not needed by one alone.
    """

    def __init__(self, team: Team, counts: Sequence[int]) -> None:
        self._team = team
        self._first = tuple(accumulate(counts, initial=0))

    def has(self, video: int, number: int) -> bool:
        """Whether this process scores window `number` of `video`."""
        return self._team.ranks == 1 or self._rank_of(self._first[video] + number) == self._team.rank

    def has_any(self, video: int) -> bool:
        """Whether it scores any of `video`, which need not be opened otherwise."""
        if self._team.ranks == 1:
            return True
        windows = range(self._first[video], self._first[video + 1])
        return any(self._rank_of(window) == self._team.rank for window in windows)

    def _rank_of(self, window: int) -> int:
        return window // _BATCH_CLIPS % self._team.ranks


def _window_counts(
    predictor: Predictor, samples: Sequence[Sample], cache: VideoShelf, views: Views, team: Team
) -> tuple[int, ...]:
    """Windows of every video; each process opens its share of them. One alone need not know beforehand."""
    if team.ranks == 1:
        return ()
    with team.together():
        spec = predictor.card.input.clip
        mine = [len(_spans(_open(cache, sample), sample, spec, views)) for sample in samples[team.rank :: team.ranks]]
    parts = team.gather(mine)
    return tuple(parts[number % team.ranks][number // team.ranks] for number in range(len(samples)))


def _windows(
    predictor: Predictor, samples: Sequence[Sample], cache: VideoShelf, views: Views, turns: _Turns
) -> Iterator[_Window]:
    spec = predictor.card.input.clip
    for place, sample in enumerate(samples):
        if not turns.has_any(place):
            continue
        video = _open(cache, sample)
        for number, span in enumerate(_spans(video, sample, spec, views)):
            if not turns.has(place, number):
                continue
            middle = span.indices[len(span.indices) // 2]
            indices = (middle,) * len(span.indices) if views.still else span.indices
            yield _Window(place, number, video.read(indices).data)


def _spans(video: CachedVideo, sample: Sample, spec: ClipSpec, views: Views) -> tuple[WindowSpan, ...]:
    try:
        return windows(video.times, spec, views.hop(spec.frames))
    except DataError as error:
        raise DataError(f"{sample.path}: {error.given}", allowed=error.allowed, next_step=error.next_step) from error


def _open(cache: VideoShelf, sample: Sample) -> CachedVideo:
    return cache.open(sample.path, start_seconds=sample.start_seconds, end_seconds=sample.end_seconds)
