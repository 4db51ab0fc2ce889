"""Late fusion: two networks look at one video, each in its own way, and their answers become one.

The usual pair sees pictures and optical flow, each trained alone. Papers: Simonyan and Zisserman (2014),
https://arxiv.org/abs/1406.2199, average probabilities; the released I3D of Carreira and Zisserman (2017),
https://arxiv.org/abs/1705.07750, adds logits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from kinema.core.errors import UsageError, WeightsError, nearest
from kinema.core.labels import LabelMap
from kinema.core.progress import Progress
from kinema.core.spec import InputSpec
from kinema.inference.aggregate import video_probabilities
from kinema.inference.events import EventRule, events_in
from kinema.inference.predictor import Predictor, load
from kinema.inference.result import Prediction, Window
from kinema.video.flow_record import source_of

__all__ = [
    "FUSIONS",
    "FusedPredictor",
    "Fusion",
    "choose_fusion",
    "class_order",
    "fuse",
    "load_together",
    "require_fusion",
    "seen_by",
    "side_by_side",
]

Fusion = Literal["logits", "probabilities"]

FUSIONS: tuple[Fusion, ...] = get_args(Fusion)
"""How two answers become one: by the sum of logits, or by the mean of probabilities."""

# A probability that a float rounds to 0 is no proof: without a floor one network alone would rule a class out.
_LEAST = 1e-12


def require_fusion(name: str) -> Fusion:
    """`name` as one of `FUSIONS`.

    Raises:
        UsageError: it is none.
    """
    for each in FUSIONS:
        if each == name:
            return each
    raise UsageError(f"fusion by {name}{nearest(name, FUSIONS)}", allowed=", ".join(FUSIONS))


def choose_fusion(name: str | None, beside: str | None) -> Fusion:
    """How the network `beside` is joined: as `name` says, by logits where it says nothing.

    Raises:
        UsageError: no such fusion; or a fusion, and no network to join.
    """
    if name is not None and beside is None:
        raise UsageError(
            f"--fusion {name} without --fuse",
            allowed="--fusion where two networks are joined",
            next_step="name the second with --fuse, or leave out --fusion",
        )
    return require_fusion(name or "logits")


def fuse(first: npt.NDArray[Any], second: npt.NDArray[Any], fusion: Fusion) -> npt.NDArray[np.float64]:
    """Probabilities (V, K) of two networks as those (V, K) of both.

    `logits` is the softmax of the sum of logits: the product of probabilities, scaled to sum 1.
    """
    if fusion == "probabilities":
        mean: npt.NDArray[np.float64] = (first.astype(np.float64) + second) / 2
        return mean
    logits = sum(np.log(np.clip(scores.astype(np.float64), _LEAST, 1)) for scores in (first, second))
    raised = np.exp(logits - np.max(logits, axis=1, keepdims=True))
    product: npt.NDArray[np.float64] = raised / raised.sum(axis=1, keepdims=True)
    return product


def side_by_side(
    spans: npt.NDArray[Any], others: npt.NDArray[Any], scores: npt.NDArray[Any]
) -> npt.NDArray[np.float64]:
    """What a second network says of the windows of a first: (V, K).

    Each window of the second speaks for the window of the first whose middle is nearest to its own (of two, the
    earlier); those that speak for one are averaged. Where none does, the nearest window of the second speaks.
    So equal windows meet one to one.

    Args:
        spans: (V, 2), seconds at which the first's windows begin and end; V at least 1.
        others: (W, 2), likewise of the second's; W at least 1.
        scores: (W, K), probabilities of the second.
    """
    middles, theirs = spans.mean(axis=1), others.mean(axis=1)
    # Windows computed in two ways differ in the last bits of a float.
    distances = np.round(np.abs(middles[:, None] - theirs[None]), 6)  # (V, W)
    speaks_for = distances.argmin(axis=0)
    nearest_other = distances.argmin(axis=1)
    rows = []
    for window in range(len(middles)):
        chosen = np.flatnonzero(speaks_for == window)
        rows.append(scores[chosen if len(chosen) else [nearest_other[window]]].mean(axis=0))
    return np.array(rows, dtype=np.float64)


def class_order(first: LabelMap, second: LabelMap) -> list[int]:
    """The columns of the second network's scores in the order of the first's classes.

    Raises:
        WeightsError: they do not tell the same classes apart.
    """
    if first.names is None or second.names is None:
        if (first.names, first.count) == (second.names, second.count):
            return list(range(first.count))
        raise WeightsError(
            f"networks of {first} and of {second}",
            allowed="two networks of the same classes, by name",
            next_step="convert weights with kinema models convert --labels to name their classes",
        )
    if sorted(first.names) != sorted(second.names):
        only = sorted(set(first.names) ^ set(second.names))
        raise WeightsError(
            f"networks of different classes: only one of them knows {', '.join(only[:8])}",
            allowed="two networks of the same classes",
            next_step="train both on the same data set",
        )
    return [second.names.index(name) for name in first.names]


def seen_by(source: str | Path, fed: InputSpec) -> str:
    """What a network is given where `source` was named: pictures of stored flow are those of its video.

    Raises:
        MediaError: that video is not there.
    """
    return str(source_of(source)) if fed.flow_channel is None else str(source)


class FusedPredictor:
    """Two predictors that answer as one.

    Args:
        first: whose windows are told.
        second: who speaks beside.
        fusion: how.

    Raises:
        WeightsError: the networks do not tell the same classes apart.
    """

    def __init__(self, first: Predictor, second: Predictor, fusion: Fusion = "logits") -> None:
        self.first = first
        self.second = second
        self.fusion = fusion
        self._order = class_order(first.card.labels, second.card.labels)

    def predict(
        self,
        source: str | Path,
        *,
        window_frames: int | None = None,
        rule: EventRule | None = None,
        **asked: Any,
    ) -> Prediction:
        """What happens in a video; as `Predictor.predict`, whose further arguments `asked` are.

        Raises:
            MediaError: nothing of the source can be read.
            UsageError: as there.
        """
        both = (self.first, self.second)
        for each in both:  # before the first one has watched for nothing
            each.require_window(window_frames)
        answers = [
            each.predict(seen_by(source, each.card.input), window_frames=window_frames, rule=rule, **asked)
            for each in both
        ]
        (spans, scores), (others, theirs) = (_table(answer.windows) for answer in answers)
        fused = fuse(scores, side_by_side(spans, others, theirs[:, self._order]), self.fusion)
        windows = tuple(
            replace(window, probabilities=tuple(row.tolist()))
            for window, row in zip(answers[0].windows, fused, strict=True)
        )
        labels = self.first.card.labels
        return Prediction(
            source=str(source),
            duration_seconds=answers[0].duration_seconds,
            labels=labels,
            probabilities=video_probabilities(windows),
            windows=windows,
            events=events_in(windows, labels, rule or EventRule()),
            warnings=tuple(dict.fromkeys(warning for answer in answers for warning in answer.warnings)),
        )

    def __repr__(self) -> str:
        return f"FusedPredictor({self.first!r}, {self.second!r}, by {self.fusion})"


def load_together(
    weights: str | Path,
    beside: str | Path | None,
    *,
    fusion: str = "logits",
    device: str = "auto",
    raft_weights: Path | None = None,
    progress: Progress | None = None,
) -> Predictor | FusedPredictor:
    """The predictor of `weights`, or of these and `beside` together.

    Args:
        weights: as for `predictor.load`.
        beside: those of a second network; None: one answers alone.
        fusion: one of `FUSIONS`.
        device: as for `predictor.load`, as are the next two.
        raft_weights: see there.
        progress: see there.

    Raises:
        UsageError: as there; or no such fusion; or RAFT's weights, and no network of its flow.
        WeightsError: as there; or the networks do not tell the same classes apart.
    """
    chosen = require_fusion(fusion)
    named = [weights] if beside is None else [weights, beside]
    loaded = [load(each, device=device, raft_weights=raft_weights, progress=progress) for each in named]
    flows = [each.card.input.flow for each in loaded]
    if raft_weights is not None and all(flow is None or flow.algorithm != "raft" for flow in flows):
        raise UsageError(
            f"RAFT's weights {raft_weights} for {' and '.join(map(str, named))}, trained on no flow of RAFT",
            allowed="networks that were trained on flow by RAFT",
            next_step="leave out --raft-weights",
        )
    return loaded[0] if beside is None else FusedPredictor(loaded[0], loaded[1], chosen)


def _table(windows: Sequence[Window]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Spans (V, 2) and probabilities (V, K) of windows."""
    spans = np.array([(window.start_seconds, window.end_seconds) for window in windows])
    return spans, np.array([window.probabilities for window in windows])
