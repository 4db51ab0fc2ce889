"""Examination: a classifier held against labelled videos, and the three files that tell of it."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kinema.core.atomic import replacing
from kinema.core.errors import BrokenFilesError, DataError, UsageError, nearest
from kinema.core.labels import LabelMap
from kinema.core.progress import Progress
from kinema.datasets.cache import FrameCache
from kinema.datasets.content import rate_notes
from kinema.datasets.flow import flow_recipe, require_modality
from kinema.datasets.manifest import Manifest, read_manifest
from kinema.datasets.sample import Sample
from kinema.datasets.splits import restore_split
from kinema.datasets.spreadsheet import write_cell
from kinema.evaluation.metrics import Metrics, measure
from kinema.evaluation.protocol import ScoredVideo, Views, score_videos
from kinema.evaluation.report import BrokenFile, Fact, Mistake, Protocol, Report, write_report
from kinema.inference.predictor import Predictor, load
from kinema.models.weights import ModelCard
from kinema.video.flow_record import flow_doubts

__all__ = ["Examination", "examine", "examine_samples", "readable", "report_of", "write_examination"]

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
    data: Path,
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
        data: folder of class folders or manifest CSV.
        split: `train`, `val`, `test` or `all`. Where the data set does not name its splits, the one
            that the weights were trained with is made again.
        views: which clips of each video.
        skip_broken: leave out videos that do not decode, and say so.
        device: where to compute.
        out: folder for report.html, metrics.json and predictions.csv, if wanted.
        progress: where bars are drawn.

    Raises:
        DataError: labels that the network does not know, or a split that cannot be told.
        BrokenFilesError: videos do not decode, and they are not to be skipped.
    """
    if split not in _CALLED:
        raise UsageError(f"--split {split}{nearest(split, _CALLED)}", allowed=", ".join(_CALLED))
    predictor = load(weights, device=device, progress=progress)
    manifest = read_manifest(data, min_classes=1)
    chosen, said, notes = _choose(manifest, predictor.card, split)
    require_modality(chosen, predictor.card.input.modality)
    cache = FrameCache(predictor.card.input.short_side_px)
    kept, broken = readable(chosen, cache, skip_broken=skip_broken, progress=progress)
    found = examine_samples(
        predictor,
        kept,
        cache=cache,
        views=views,
        split=split,
        protocol=Protocol(said, views.describe(predictor.card.input.clip.frames), samples=_CALLED[split]),
        root=manifest.root,
        broken=broken,
        notes=(*notes, *rate_notes(kept), *flow_doubts(flow_recipe(kept), predictor.card.input)),
        progress=progress,
    )
    if out is not None:
        write_examination(out, found, report_of(f"{Path(weights).name} on {data.name}", found, predictor.card))
    return found


_CALLED = {"train": "training", "val": "validation", "test": "held-out", "all": "labelled"}


def examine_samples(
    predictor: Predictor,
    samples: Sequence[Sample],
    *,
    cache: FrameCache,
    views: Views,
    split: str,
    protocol: Protocol,
    root: Path,
    broken: Sequence[BrokenFile] = (),
    notes: Sequence[str] = (),
    progress: Progress | None = None,
) -> Examination:
    """Score `samples` and measure at both levels."""
    scored = score_videos(predictor, samples, cache=cache, views=views, progress=progress)
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
        groups=groups if any(named) else None,
    )
    return Examination(protocol, split, clip, video, tuple(scored), root, tuple(broken), tuple(notes))


def readable(
    samples: Sequence[Sample], cache: FrameCache, *, skip_broken: bool, progress: Progress
) -> tuple[tuple[Sample, ...], tuple[BrokenFile, ...]]:
    """The samples that decode, and the files that do not; reads everything once, into the cache.

    Raises:
        BrokenFilesError: some do not, and `skip_broken` is not set.
        DataError: none does.
    """
    reasons = cache.fill(samples, progress)
    if reasons and not skip_broken:
        raise BrokenFilesError(reasons, len({sample.path for sample in samples}))
    kept = tuple(sample for sample in samples if sample.path not in reasons)
    if not kept:
        raise DataError("not one of these videos can be decoded", allowed="at least one that can")
    return kept, tuple(BrokenFile(str(path), reason) for path, reason in sorted(reasons.items()))


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
        beside.write_text(json.dumps(found.to_json(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    write_report(folder / "report.html", report)


def _choose(manifest: Manifest, card: ModelCard, split: str) -> tuple[tuple[Sample, ...], str, tuple[str, ...]]:
    """The samples of a split, how that split came about in words, and what to know about it."""
    strangers = sorted({sample.label for sample in manifest.samples} - set(card.labels.require()))
    if strangers:
        raise DataError(
            f"{manifest.source} has labels that the network does not know: {', '.join(strangers)}",
            allowed=", ".join(card.labels.require()),
            next_step="correct misspelt labels, or train on this data",
        )
    if split == "all":
        return manifest.samples, "all samples of the data set", ()
    if any(sample.split for sample in manifest.samples):
        return manifest.filter(split).samples, "as the data set names its splits", ()
    record = card.provenance.get("split")
    if not isinstance(record, dict):
        raise DataError(
            f"{manifest.source} does not say which samples are '{split}', and neither do the weights",
            allowed="a split column, or the data set that the weights were trained on",
            next_step="evaluate on all of it with --split all",
        )
    try:
        restored = restore_split(manifest, record)
    except DataError as error:
        raise DataError(
            f"the split that the weights were trained with cannot be made again: {error.given}",
            allowed="the data set that they were trained with, or one with a split column",
            next_step="evaluate on all of it with --split all",
        ) from error
    samples = tuple(manifest.samples[index] for index in restored.part(split))
    return samples, describe_rule(record), (*restored.leaks, *restored.warnings)


def describe_rule(record: dict[str, Any]) -> str:
    """A recorded split in words."""
    rule = record["rule"]
    text = f"split by {rule['by']}, seed {rule['seed']}"
    if rule["folds"]:
        return f"{rule['folds']} folds, {text}" + ("" if record["fold"] is None else f", fold {record['fold'] + 1}")
    return text


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
    with replacing(path) as beside, beside.open("w", newline="", encoding="utf-8") as file:
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
