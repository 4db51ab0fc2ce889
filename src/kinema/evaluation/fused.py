"""Two networks examined as one: scores fused window by window, by the road that `FusedPredictor` takes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kinema.clips.window import windows
from kinema.core.errors import DataError
from kinema.core.progress import Progress
from kinema.core.spec import ClipSpec
from kinema.datasets.cache import FrameCache
from kinema.datasets.flow import flow_recipe
from kinema.datasets.sample import Sample
from kinema.datasets.shards.index import is_packed
from kinema.evaluation.examine import (
    Examination,
    examine,
    pool,
    report_of,
    require_folder,
    require_views,
    write_examination,
)
from kinema.evaluation.part import readable
from kinema.evaluation.protocol import ScoredVideo, Views, score_videos
from kinema.inference.fusion import Fusion, class_order, fuse, require_fusion, seen_by, side_by_side
from kinema.inference.predictor import Predictor, load
from kinema.models.weights import fresh_notes
from kinema.video.flow_record import flow_doubts

__all__ = ["examine_fused"]


def examine_fused(
    weights: str | Path,
    data: str | Path,
    *,
    beside: str | Path,
    fusion: str = "logits",
    split: str,
    views: Views,
    skip_broken: bool,
    device: str,
    out: Path | None,
    progress: Progress,
) -> Examination:
    """Test two networks as one; the figures of each alone stand in the protocol.

    Args:
        weights: of the first network, whose windows and split are examined; as for `examine`, as is all but:
        data: videos, or stored flow for a first network that is fed with it; a second one of pictures then looks
            at the videos it was computed from.
        beside: weights of the second network.
        fusion: `logits` or `probabilities`.
        split: see `examine`.
        views: see there.
        skip_broken: see there.
        device: see there.
        out: see there.
        progress: see there.

    Raises:
        DataError: as there; or `data` is packed.
        BrokenFilesError: the second network cannot be fed with what the first one was, and that is not to be skipped.
        UsageError: no such fusion.
        WeightsError: the networks do not tell the same classes apart.
    """
    chosen = require_fusion(fusion)
    if is_packed(data):
        raise DataError(
            f"{data} is packed, and holds no files that a second network could look at",
            allowed="a folder of class folders, or a manifest",
            next_step="fuse on the data set that was packed",
        )
    require_folder(out)
    first, second = (load(each, device=device, progress=progress) for each in (weights, beside))
    require_views(views, second.card)
    order = class_order(first.card.labels, second.card.labels)
    alone = examine(
        weights, data, split=split, views=views, skip_broken=skip_broken, device=device, out=None, progress=progress
    )
    alone, theirs = _decoded_by_both(alone, first, second, skip_broken=skip_broken, progress=progress)
    answers, fused, doubts = _beside(alone, theirs, first, second, order, chosen, views, progress)
    found = _pooled(alone, fused, first, notes=(*alone.notes, *doubts, *_leak_notes(alone, beside)))
    figures = f"{_figure(weights, alone)}, {_figure(beside, _pooled(alone, answers, first))}"
    told = f"{alone.protocol.views}, fused with those of {Path(beside).name} by {chosen} (video top-1 alone: {figures})"
    found = replace(found, protocol=replace(alone.protocol, views=told))
    if out is not None:
        source = os.path.normpath(Path(data).absolute())
        title = f"{Path(weights).name} and {Path(beside).name} on {Path(source).name}"
        write_examination(out, found, report_of(title, found, first.card))
    return found


def _decoded_by_both(
    alone: Examination, first: Predictor, second: Predictor, *, skip_broken: bool, progress: Progress
) -> tuple[Examination, tuple[Sample, ...]]:
    """What is left of `alone` without the videos that the second network cannot be fed with, and what it is fed."""
    theirs = _seen_by(second, [video.sample for video in alone.scored])
    kept, broken = readable(theirs, FrameCache.of(second.card.input), skip_broken=skip_broken, progress=progress)
    if not broken:
        return alone, theirs
    decoded = set(kept)
    scored = [video for video, sample in zip(alone.scored, theirs, strict=True) if sample in decoded]
    left = replace(alone, broken=(*alone.broken, *broken))
    return _pooled(left, scored, first, notes=alone.notes), kept


def _beside(
    alone: Examination,
    theirs: Sequence[Sample],
    first: Predictor,
    second: Predictor,
    order: list[int],
    fusion: Fusion,
    views: Views,
    progress: Progress,
) -> tuple[list[ScoredVideo], list[ScoredVideo], tuple[str, ...]]:
    """What the second network says of the videos, what both say together, and what speaks against its flow."""
    samples = tuple(video.sample for video in alone.scored)
    cache = FrameCache.of(second.card.input)
    others = score_videos(second, theirs, cache=cache, views=views, progress=progress)
    spans = _spans(samples, FrameCache.of(first.card.input), first.card.input.clip, views)
    their_spans = _spans(theirs, cache, second.card.input.clip, views)
    answers = [
        replace(other, sample=video.sample, clips=other.clips[:, order])
        for other, video in zip(others, alone.scored, strict=True)
    ]
    fused = [
        replace(video, clips=fuse(video.clips, side_by_side(here, there, answer.clips), fusion).astype(np.float32))
        for video, answer, here, there in zip(alone.scored, answers, spans, their_spans, strict=True)
    ]
    doubts = (*fresh_notes(second.card), *flow_doubts(flow_recipe(theirs), second.card.input))
    return answers, fused, doubts


def _seen_by(second: Predictor, samples: Sequence[Sample]) -> tuple[Sample, ...]:
    return tuple(replace(sample, path=Path(seen_by(sample.path, second.card.input))) for sample in samples)


def _spans(samples: Sequence[Sample], cache: FrameCache, clip: ClipSpec, views: Views) -> list[npt.NDArray[np.float64]]:
    """Seconds (V, 2) at which the windows of each sample begin and end."""
    spans = []
    for sample in samples:
        video = cache.open(sample.path, start_seconds=sample.start_seconds, end_seconds=sample.end_seconds)
        found = windows(video.times, clip, views.hop(clip.frames))
        spans.append(np.array([(span.start_seconds, span.end_seconds) for span in found]))
    return spans


def _pooled(
    alone: Examination, scored: Sequence[ScoredVideo], first: Predictor, *, notes: tuple[str, ...] = ()
) -> Examination:
    return pool(
        scored, first.card.labels, split=alone.split, protocol=alone.protocol, root=alone.root, broken=alone.broken,
        notes=notes,
    )  # fmt: skip


def _leak_notes(alone: Examination, beside: str | Path) -> tuple[str, ...]:
    """Weights made their own split where the data set names none: then nobody knows what the second one has seen."""
    if alone.split == "all" or any(video.sample.split for video in alone.scored):
        return ()
    told = (
        f"the split is that of the first network; {Path(beside).name} was trained on a split of its own, and may have"
    )
    return (f"{told} seen what is tested here: give a data set whose split column both were trained with",)


def _figure(weights: str | Path, found: Examination) -> str:
    return f"{Path(weights).name} {found.video.accuracy.value:.3f}"
