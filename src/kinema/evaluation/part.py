"""Which samples are examined: of a manifest or of shards, with all that a report says of them beside their scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kinema.core.errors import BrokenFilesError, DataError
from kinema.core.labels import LabelMap
from kinema.core.progress import Progress
from kinema.core.spec import InputSpec, Modality
from kinema.datasets.cache import FrameCache, VideoShelf
from kinema.datasets.content import rate_notes
from kinema.datasets.flow import flow_recipe, require_modality
from kinema.datasets.manifest import Manifest, read_manifest
from kinema.datasets.sample import Sample
from kinema.datasets.shards.index import BrokenSample, PackIndex, is_packed, read_index
from kinema.datasets.shards.members import PackedVideos
from kinema.datasets.splits import restore_split
from kinema.evaluation.report import BrokenFile
from kinema.models.weights import ModelCard
from kinema.video.flow_record import flow_doubts

__all__ = ["Part", "describe_rule", "enlargement", "left_out", "part_of", "readable", "require_pictures"]

_ALL = "all samples of the data set"
_OWN = "as the data set names its splits"


@dataclass(frozen=True)
class Part:
    """Samples to be examined.

    Attributes:
        name: of the data set.
        samples: rows that decode.
        videos: opens them.
        said: how they were chosen, in words.
        root: folder that paths are shown relative to.
        broken: what was left out.
        notes: what to know before believing a number.
    """

    name: str
    samples: tuple[Sample, ...]
    videos: VideoShelf
    said: str
    root: Path
    broken: tuple[BrokenFile, ...]
    notes: tuple[str, ...]


def part_of(data: str | Path, card: ModelCard, split: str, *, skip_broken: bool, progress: Progress) -> Part:
    """Read one split of a data set for the network of `card`.

    Args:
        data: folder of class folders, manifest, or packed data set (its folder, index.json or URL).
        card: of the network.
        split: `train`, `val`, `test` or `all`. Where a manifest does not name its splits, the one
            that the weights were trained with is made again.
        skip_broken: leave out videos that do not decode, and say so.
        progress: where bars are drawn.

    Raises:
        DataError: labels that the network does not know, or a split that cannot be told.
        BrokenFilesError: videos do not decode, and they are not to be skipped.
    """
    if is_packed(data):
        return _of_shards(read_index(str(data)), card, split, progress)
    manifest = read_manifest(data, min_classes=1)
    chosen, said, notes = _choose(manifest, card, split)
    require_modality(chosen, card.input.modality, computed=card.input.flow)
    cache = FrameCache.of(card.input)
    kept, broken = readable(chosen, cache, skip_broken=skip_broken, progress=progress)
    notes = (*notes, *rate_notes(kept), *flow_doubts(flow_recipe(kept), card.input))
    return Part(Path(data).name, kept, cache, said, manifest.root, broken, notes)


def _of_shards(index: PackIndex, card: ModelCard, split: str, progress: Progress) -> Part:
    require_pictures(index, card.input.modality)
    if split != "all" and split not in index.splits:
        raise DataError(
            f"{index.address} has no split '{split}', only {', '.join(index.splits)}",
            allowed=f"{', '.join(dict.fromkeys([*index.splits, 'all']))}",
            next_step="evaluate on all of it with --split all",
        )
    names = list(index.splits) if split == "all" else [split]
    held = zip(index.labels.require(), *(index.split(name).classes for name in names), strict=True)
    _refuse_strangers(index.address, {label for label, *counts in held if any(counts)}, card.labels)
    videos = PackedVideos(index, FrameCache(card.input.short_side_px))
    samples = tuple(sample for name in names for sample in videos.samples(name, progress))
    said = _ALL if split == "all" else _OWN
    return Part(index.source, samples, videos, said, videos.root, left_out(index), enlargement(index, card.input))


def _choose(manifest: Manifest, card: ModelCard, split: str) -> tuple[tuple[Sample, ...], str, tuple[str, ...]]:
    """The samples of a split, how that split came about in words, and what to know about it."""
    _refuse_strangers(manifest.source, {sample.label for sample in manifest.samples}, card.labels)
    if split == "all":
        return manifest.samples, _ALL, ()
    if any(sample.split for sample in manifest.samples):
        return manifest.filter(split).samples, _OWN, ()
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


def _refuse_strangers(source: str | Path, labels: set[str], known: LabelMap) -> None:
    strangers = sorted(labels - set(known.require()))
    if strangers:
        raise DataError(
            f"{source} has labels that the network does not know: {', '.join(strangers)}",
            allowed=", ".join(known.require()),
            next_step="correct misspelt labels, or train on this data",
        )


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


def describe_rule(record: dict[str, Any]) -> str:
    """A recorded split in words."""
    rule = record["rule"]
    text = f"split by {rule['by']}, seed {rule['seed']}"
    if rule["folds"]:
        return f"{rule['folds']} folds, {text}" + ("" if record["fold"] is None else f", fold {record['fold'] + 1}")
    return text


def require_pictures(index: PackIndex, modality: Modality) -> None:
    """Refuse shards, which hold pictures, for a network that is fed flow.

    Raises:
        DataError: saying what to do.
    """
    if modality in ("flow", "rgb+flow"):
        raise DataError(
            f"{index.address} is packed, and shards hold pictures; the network is fed with {modality}",
            allowed="modality rgb or difference for packed data",
            next_step=f"compute the flow of {index.source} with kinema data flow, and give its manifest",
        )


def left_out(index: PackIndex) -> tuple[BrokenFile, ...]:
    """The samples that did not decode when the data set was packed."""
    return tuple(BrokenFile(f"{one.path}{_span(one)}", one.reason) for one in index.broken)


def enlargement(index: PackIndex, spec: InputSpec) -> tuple[str, ...]:
    """One sentence where shards hold smaller pictures than the network is fed with, or none."""
    held, wanted = index.options.short_side_px, spec.short_side_px
    if held >= wanted:
        return ()
    return (f"the shards hold pictures of {held} px on the shorter side, enlarged to the {wanted} px of the network",)


def _span(one: BrokenSample) -> str:
    if one.start_seconds is None and one.end_seconds is None:
        return ""
    end = "the end" if one.end_seconds is None else f"{one.end_seconds:g} s"
    return f" from {one.start_seconds or 0:g} s to {end}"
