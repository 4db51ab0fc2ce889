"""Which samples are examined: of a manifest or of shards, with all that a report says of them beside their scores."""

from __future__ import annotations

from collections import Counter
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
from kinema.datasets.sample import SPLITS, Sample
from kinema.datasets.shards.index import BrokenSample, PackIndex, is_packed, read_index
from kinema.datasets.shards.members import PackedVideos
from kinema.datasets.splits import doubts_of, restore_split, shared_by_parts
from kinema.evaluation.report import BrokenFile
from kinema.models.weights import ModelCard, fresh_notes
from kinema.video.flow_record import flow_doubts

__all__ = ["Part", "describe_rule", "enlargement", "left_out", "part_of", "readable", "require_pictures"]

_ALL = "all samples of the data set"
_OWN = "as the data set names its splits"
_RECORDED = {"rule", "fold", "samples", "fingerprint", "manifest_fingerprint"}  # of a split that can be made again


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
    notes = (*fresh_notes(card), *notes, *rate_notes(kept), *flow_doubts(flow_recipe(kept), card.input))
    return Part(manifest.source.name, kept, cache, said, manifest.root, broken, notes)


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
    notes = _trained_on(index, card) if split == "all" else _doubts_of_shards(index)
    notes = (*fresh_notes(card), *notes, *enlargement(index, card.input))
    return Part(index.source, samples, videos, said, videos.root, left_out(index), notes)


def _choose(manifest: Manifest, card: ModelCard, split: str) -> tuple[tuple[Sample, ...], str, tuple[str, ...]]:
    """The samples of a split, how that split came about in words, and what to know about it."""
    _refuse_strangers(manifest.source, {sample.label for sample in manifest.samples}, card.labels)
    if split == "all":
        return manifest.samples, _ALL, _trained_on(manifest, card)
    if any(sample.split for sample in manifest.samples):
        return manifest.filter(split).samples, _OWN, _doubts(manifest)
    record = card.provenance.get("split")
    if not isinstance(record, dict) or not record.keys() >= _RECORDED:
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


def _doubts(manifest: Manifest) -> tuple[str, ...]:
    """What to know of the splits that a manifest names: leaks, missing groups, classes without a sample."""
    parts = [[index for index, one in enumerate(manifest.samples) if one.split == split] for split in SPLITS]
    held = [Counter(manifest.targets[index] for index in part) for part in parts]
    counts = [[part[target] for target in range(manifest.labels.count)] for part in held]
    ungrouped = sum(sample.group is None for sample in manifest.samples)
    doubts = doubts_of(manifest.labels, counts, ungrouped=ungrouped, samples=len(manifest))
    return (*shared_by_parts(manifest, parts), *doubts)


def _doubts_of_shards(index: PackIndex) -> tuple[str, ...]:
    """The same of the splits that shards were written in."""
    counts = [index.splits[name].classes if name in index.splits else (0,) * index.labels.count for name in SPLITS]
    samples = sum(split.samples for split in index.splits.values()) + len(index.broken)
    return (*index.leaks, *doubts_of(index.labels, counts, ungrouped=index.ungrouped, samples=samples))


def _trained_on(data: Manifest | PackIndex, card: ModelCard) -> tuple[str, ...]:
    """One sentence where the whole of `data` is examined and the network was trained on it, or none."""
    trained_on = card.provenance.get("data_fingerprint")
    try:
        if trained_on is None or trained_on != data.fingerprint:
            return ()
    except DataError:  # something of it cannot be read, and is told of where it is decoded
        return ()
    return ("these videos were trained on: figures over all of them do not tell how good the network is on others",)


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
    """The samples that decode, and the files or segments that do not; reads everything once, into the cache.

    Raises:
        BrokenFilesError: some do not, and `skip_broken` is not set.
        DataError: none does.
    """
    reasons = cache.fill(samples, progress)
    if reasons and not skip_broken:
        by_path: dict[Path, str] = {}
        for sample, reason in reasons.items():
            by_path.setdefault(sample.path, reason)
        raise BrokenFilesError(by_path, len({sample.path for sample in samples}))
    kept = tuple(sample for sample in samples if sample not in reasons)
    if not kept:
        raise DataError("not one of these videos can be decoded", allowed="at least one that can")
    # A file of which nothing is kept is listed once, by its name; of others the segments that are left out.
    partly = {sample.path for sample in kept}
    broken = {
        f"{sample.path}{_span(sample)}" if sample.path in partly else str(sample.path): reason
        for sample, reason in reasons.items()
    }
    return kept, tuple(BrokenFile(path, reason) for path, reason in sorted(broken.items()))


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


def _span(one: BrokenSample | Sample) -> str:
    if one.start_seconds is None and one.end_seconds is None:
        return ""
    end = "the end" if one.end_seconds is None else f"{one.end_seconds:g} s"
    return f" from {one.start_seconds or 0:g} s to {end}"
