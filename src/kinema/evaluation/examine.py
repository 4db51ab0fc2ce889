"""Examination: a classifier held against labelled videos, and the three files that tell of it."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kinema.clips.window import slide
from kinema.core.atomic import replacing
from kinema.core.errors import DataError, UsageError, nearest
from kinema.core.labels import LabelMap
from kinema.core.progress import Progress
from kinema.core.team import Team
from kinema.datasets.cache import VideoShelf
from kinema.datasets.sample import Sample
from kinema.datasets.spreadsheet import write_cell
from kinema.evaluation.metrics import Metrics, measure
from kinema.evaluation.part import part_of
from kinema.evaluation.protocol import ScoredVideo, Views, score_videos
from kinema.evaluation.report import BrokenFile, Fact, Mistake, Protocol, Report, write_report
from kinema.inference.predictor import Predictor, load
from kinema.models.weights import ModelCard

__all__ = [
    "Examination",
    "examine",
    "examine_samples",
    "report_of",
    "require_folder",
    "require_views",
    "write_examination",
]

_MOST_MISTAKES = 20


@dataclass(frozen=True, repr=False)
class Examination:
    """What a classifier made of labelled videos.

    Attributes:
        protocol: how its figures came about.
        split: name of the part that was examined.
        clip: metrics over windows.
        video: metrics over videos.
        scored: each video with its scores.
        root: folder that paths are shown relative to.
        broken: files left out, with reasons.
        notes: leaks that were allowed and other warnings of the split.
    """

    protocol: Protocol
    split: str
    clip: Metrics
    video: Metrics
    scored: tuple[ScoredVideo, ...]
    root: Path
    broken: tuple[BrokenFile, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """Everything to know before believing a number, each once."""
        skipped = (f"{len(self.broken)} broken or skipped files count nowhere",) if self.broken else ()
        return tuple(dict.fromkeys([*self.notes, *skipped, *self.video.warnings]))

    def to_json(self) -> dict[str, Any]:
        """The figures with their protocol, as `metrics.json` and `--json` give them."""
        return {
            "split": self.split,
            "protocol": {"split": self.protocol.split, "views": self.protocol.views},
            "video": self.video.to_json(),
            "clip": self.clip.to_json(),
            "broken": [{"path": file.path, "reason": file.reason} for file in self.broken],
            "warnings": list(self.warnings),
        }


def examine(
    weights: str | Path,
    data: str | Path,
    *,
    split: str,
    views: Views,
    skip_broken: bool,
    device: str,
    out: Path | None,
    progress: Progress,
) -> Examination:
    """Test a weights file on one split of a data set.

    Args:
        weights: a file of kinema, or published weights by name.
        data: folder of class folders, manifest, or packed data set (its folder, index.json or URL).
        split: `train`, `val`, `test` or `all`. Where the data set does not name its splits, the one
            that the weights were trained with is made again.
        views: which clips of each video.
        skip_broken: leave out videos that do not decode, and say so.
        device: where to compute.
        out: folder for report.html, metrics.json and predictions.csv, if wanted.
        progress: where bars are drawn.

    Raises:
        DataError: labels that the network does not know, a split that cannot be told, or `out` is no folder.
        BrokenFilesError: videos do not decode, and they are not to be skipped.
        UsageError: no such split, or windows further apart than they are long.
    """
    if split not in _CALLED:
        raise UsageError(f"--split {split}{nearest(split, _CALLED)}", allowed=", ".join(_CALLED))
    require_folder(out)
    predictor = load(weights, device=device, progress=progress)
    require_views(views, predictor.card)
    part = part_of(data, predictor.card, split, skip_broken=skip_broken, progress=progress)
    found = examine_samples(
        predictor,
        part.samples,
        cache=part.videos,
        views=views,
        split=split,
        protocol=Protocol(part.said, views.describe(predictor.card.input.clip.frames), samples=_CALLED[split]),
        root=part.root,
        broken=part.broken,
        notes=part.notes,
        progress=progress,
    )
    if out is not None:
        write_examination(out, found, report_of(f"{Path(weights).name} on {part.name}", found, predictor.card))
    return found


_CALLED = {"train": "training", "val": "validation", "test": "held-out", "all": "labelled"}


def require_folder(out: Path | None) -> None:
    """Refuse, before anything is scored, an `out` in which nothing could be written.

    Raises:
        DataError: it is a file, or lies below one.
    """
    held = next((path for path in (out, *out.parents) if path.exists()), None) if out is not None else None
    if held is not None and not held.is_dir():
        raise DataError(
            f"cannot write to {out}: {held} is a file",
            allowed="a folder, which may be new",
            next_step="choose another folder with --out",
        )


def require_views(views: Views, card: ModelCard) -> None:
    """Refuse, before any video is read, windows that would leave frames of it unseen.

    Raises:
        UsageError: as `slide`.
    """
    frames = card.input.clip.frames
    slide(frames, frames, views.hop(frames))


def examine_samples(
    predictor: Predictor,
    samples: Sequence[Sample],
    *,
    cache: VideoShelf,
    views: Views,
    split: str,
    protocol: Protocol,
    root: Path,
    broken: Sequence[BrokenFile] = (),
    notes: Sequence[str] = (),
    progress: Progress | None = None,
    team: Team | None = None,
) -> Examination:
    """Score `samples`, shared among the processes of `team`, and measure at both levels."""
    scored = score_videos(predictor, samples, cache=cache, views=views, progress=progress, team=team)
    return pool(scored, predictor.card.labels, split=split, protocol=protocol, root=root, broken=broken, notes=notes)


def pool(
    scored: Sequence[ScoredVideo],
    labels: LabelMap,
    *,
    split: str,
    protocol: Protocol,
    root: Path,
    broken: Sequence[BrokenFile] = (),
    notes: Sequence[str] = (),
) -> Examination:
    """Measure videos that were scored already, such as those of all folds together."""
    targets = [labels.index(video.sample.label) for video in scored]
    named = [video.sample.group for video in scored]
    groups = [group or str(video.sample.path) for group, video in zip(named, scored, strict=True)]
    counts = [len(video.clips) for video in scored]
    clip = measure(
        np.concatenate([video.clips for video in scored]),
        np.repeat(targets, counts),
        level="clip",
        labels=labels,
        groups=[str(group) for group in np.repeat(groups, counts)],
    )
    video = measure(
        np.stack([video.video for video in scored]),
        np.asarray(targets),
        level="video",
        labels=labels,
        # Segments of one file hang together as the videos of a group do.
        groups=groups if any(named) or len(set(groups)) < len(groups) else None,
    )
    return Examination(protocol, split, clip, video, tuple(scored), root, tuple(broken), tuple(notes))


def report_of(title: str, found: Examination, card: ModelCard, **parts: Any) -> Report:
    """The report of an examination; `parts` are further fields of `Report`, such as `runs`."""
    facts = (
        Fact("network", f"{card.architecture} {_options(card)}".strip()),
        Fact("classes", ", ".join(card.labels.names or (f"{card.labels.count}, names unknown",))),
        Fact("input", repr(card.input)),
        *(Fact(name, str(value)) for name, value in sorted(card.provenance.items()) if not isinstance(value, dict)),
    )
    return Report(
        title=title,
        metrics=(found.video, found.clip),
        protocol=found.protocol,
        mistakes=_mistakes(found),
        broken=found.broken,
        warnings=found.notes,
        facts=(*facts, *parts.pop("facts", ())),
        **parts,
    )


def write_examination(folder: Path, found: Examination, report: Report) -> None:
    """predictions.csv, metrics.json and report.html in `folder`."""
    _write_predictions(folder / "predictions.csv", found)
    with replacing(folder / "metrics.json") as beside:
        beside.write_bytes(_json_bytes(found.to_json()))
    write_report(folder / "report.html", report)


def _json_bytes(value: dict[str, Any]) -> bytes:
    try:
        text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
        return text.encode("utf-8")
    except UnicodeEncodeError:  # a file name that is no valid text (a lone surrogate): JSON can spell it out
        return (json.dumps(value, indent=2) + "\n").encode("ascii")


def _mistakes(found: Examination) -> tuple[Mistake, ...]:
    labels = found.video.labels.require()
    wrong = [
        (float(video.video.max()), video)
        for video in found.scored
        if labels[int(video.video.argmax())] != video.sample.label
    ]
    wrong.sort(key=lambda pair: -pair[0])
    return tuple(
        Mistake(_shown(video.sample, found.root), video.sample.label, labels[int(video.video.argmax())], sure)
        for sure, video in wrong[:_MOST_MISTAKES]
    )


def _write_predictions(path: Path, found: Examination) -> None:
    names = found.video.labels.require()
    # A file name that is no valid text (a lone surrogate) is spelt out.
    with (
        replacing(path) as beside,
        beside.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file,
    ):
        writer = csv.writer(file)
        columns = ("path", "start_seconds", "end_seconds", "group", "label", "predicted")
        writer.writerow([*columns, *(f"p_{name}" for name in names)])
        for video in found.scored:
            sample = video.sample
            times = (sample.start_seconds, sample.end_seconds)
            answer = names[int(video.video.argmax())]
            row = [_shown(sample, found.root), *times, sample.group, sample.label, answer]
            writer.writerow([*map(write_cell, row), *(f"{p:.6f}" for p in video.video)])


def _shown(sample: Sample, root: Path) -> str:
    return str(sample.path.relative_to(root)) if sample.path.is_relative_to(root) else str(sample.path)


def _options(card: ModelCard) -> str:
    return ", ".join(f"{name}={value}" for name, value in sorted(card.options.items()))
