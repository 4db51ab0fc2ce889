"""How good the network is after an epoch, on the videos that choose the best one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kinema.core.labels import LabelMap
from kinema.core.progress import Progress
from kinema.evaluation.protocol import ScoredVideo, Views, score_videos
from kinema.inference.predictor import Predictor
from kinema.training.checkpoint import EpochRow, RunState
from kinema.training.parts import Job, Parts

__all__ = ["describe", "validate"]


def validate(job: Job, parts: Parts, state: RunState, progress: Progress) -> EpochRow:
    """The row of the epoch that `state` has just gone through; its videos are shared among the processes."""
    return _row(parts, state, _score(job, parts, progress), job.labels)


def _score(job: Job, parts: Parts, progress: Progress) -> tuple[ScoredVideo, ...]:
    if not job.val:
        return ()
    predictor = Predictor(parts.network, job.card, device=str(parts.fabric.device))
    parts.team.share_buffers(parts.network)
    return score_videos(
        predictor,
        job.val,
        cache=job.videos,
        views=Views(job.config.eval_hop),
        progress=progress,
        team=parts.team,
    )


def _row(parts: Parts, state: RunState, scored: Sequence[ScoredVideo], labels: LabelMap) -> EpochRow:
    targets = [labels.index(video.sample.label) for video in scored]
    clips = [row[target] for video, target in zip(scored, targets, strict=True) for row in video.clips]
    right = [row.argmax() == target for video, target in zip(scored, targets, strict=True) for row in video.clips]
    videos = [video.video.argmax() == target for video, target in zip(scored, targets, strict=True)]
    tiny = np.finfo(np.float32).tiny
    return EpochRow(
        epoch=state.epoch + 1,
        train_loss=state.loss_sum / state.clips,
        train_clip_accuracy=state.correct / state.clips,
        val_loss=float(-np.log(np.maximum(clips, tiny)).mean()) if scored else None,
        val_clip_accuracy=float(np.mean(right)) if scored else None,
        val_video_accuracy=float(np.mean(videos)) if scored else None,
        lr=float(parts.optimizer.param_groups[0]["lr"]),
        clips_per_second=state.clips / state.seconds,
    )


def describe(row: EpochRow, epochs: int) -> str:
    """One line of the log."""
    text = f"epoch {row.epoch}/{epochs}: train loss {row.train_loss:.3f}, clip accuracy {row.train_clip_accuracy:.3f}"
    if row.val_video_accuracy is not None:
        text += f"; validation loss {row.val_loss:.3f}, clip {row.val_clip_accuracy:.3f}"
        text += f", video {row.val_video_accuracy:.3f}"
    return f"{text}; {row.clips_per_second:.0f} clips/s"
