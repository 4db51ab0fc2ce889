"""What a run is given: a manifest and a rule that splits it, or shards in the splits they were packed in.

Either is planned first, which finds every mistake that needs no video to be seen; then read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from kinema.core.errors import DataError, UsageError
from kinema.core.labels import LabelMap
from kinema.core.progress import Progress
from kinema.datasets.cache import FrameCache, VideoShelf
from kinema.datasets.content import rate_notes
from kinema.datasets.flow import flow_recipe, require_modality
from kinema.datasets.loader import require_length
from kinema.datasets.manifest import Manifest, read_manifest
from kinema.datasets.sample import SPLITS, Sample
from kinema.datasets.shards.index import INDEX_NAME, PackIndex, is_packed, read_index
from kinema.datasets.shards.members import PackedVideos
from kinema.datasets.splits import Split, SplitRule, doubts_of, make_splits
from kinema.evaluation.part import enlargement, left_out, readable, require_pictures
from kinema.evaluation.report import BrokenFile
from kinema.training.config import TrainConfig
from kinema.training.material import FileMaterial, Material, ShardMaterial, cut_from
from kinema.video.flow_record import FlowRecipe
from kinema.video.source import is_url

__all__ = ["DataPlan", "Division", "Source", "address_of", "name_of", "plan"]


@dataclass(frozen=True)
class Division:
    """Who trains, who validates and who tests.

    Attributes:
        train: what is learnt from.
        val: samples that choose the best epoch; may be empty.
        test: samples that are touched once, at the end; may be empty.
        record: how it came about, as weights remember it (`Split.to_json`).
        notes: leaks that were allowed, and what else a reader of scores should know.
        fold: number of the fold that tests; None without folds.
    """

    train: Material
    val: tuple[Sample, ...]
    test: tuple[Sample, ...]
    record: dict[str, Any]
    notes: tuple[str, ...]
    fold: int | None = None


@dataclass(frozen=True)
class Source:
    """A data set that was read once, so that all that does not decode is known.

    Attributes:
        name: file or folder name of its manifest.
        labels: the classes.
        fingerprint: of what it holds.
        root: folder that paths are shown relative to.
        videos: opens the samples of divisions.
        divisions: one, or one a fold.
        broken: what was left out.
        notes: what to know of all of it.
        flow: how its flow was computed; None for pictures.
        provenance: what else weights remember of it.
    """

    name: str
    labels: LabelMap
    fingerprint: str
    root: Path
    videos: VideoShelf
    divisions: tuple[Division, ...]
    broken: tuple[BrokenFile, ...] = ()
    notes: tuple[str, ...] = ()
    flow: FlowRecipe | None = None
    provenance: dict[str, str] = field(default_factory=dict)


class DataPlan(Protocol):
    """A data set that can be trained on, as far as can be told before its videos are read."""

    @property
    def sha256(self) -> str | None:
        """Of the index of shards; None for a manifest."""
        ...

    def read(self, progress: Progress) -> Source:
        """Read what has to be read before training; raises KinemaError where that cannot begin."""
        ...


def plan(config: TrainConfig) -> DataPlan:
    """Find what `config` names, and every mistake that can be seen without its videos.

    Raises:
        UsageError: settings that contradict what is there.
        DataError: nothing is there, or it cannot be split as asked.
    """
    return _PackedPlan.of(config) if is_packed(config.data) else _ManifestPlan.of(config)


def address_of(data: str) -> str:
    """`data` as it is called wherever a run is resumed from: a URL as it is, a path in full."""
    return data if is_url(data) else str(Path(data).absolute())


def name_of(data: str) -> str:
    """What a run folder calls the data set."""
    if not is_packed(data):
        return Path(data).resolve().stem
    folder = data.removesuffix(INDEX_NAME)
    if not is_url(data):
        return Path(folder).resolve().name
    url = urlsplit(folder)
    return url.path.rstrip("/").rpartition("/")[2] or url.hostname or "packed"


@dataclass(frozen=True)
class _ManifestPlan:
    """Files in a folder or a CSV file."""

    config: TrainConfig
    manifest: Manifest
    flow: FlowRecipe | None
    splits: tuple[Split, ...]

    @classmethod
    def of(cls, config: TrainConfig) -> _ManifestPlan:
        """Read the manifest, and split it."""
        if config.data_sha256 is not None:
            raise UsageError(
                f"data_sha256 with {config.data}, which is not packed",
                allowed="a packed data set, whose index.json it is the SHA-256 of",
                next_step="leave it out, or name what `kinema data pack` wrote",
            )
        manifest = read_manifest(config.data)
        require_modality(manifest.samples, config.modality)
        return cls(config, manifest, flow_recipe(manifest.samples), make_splits(manifest, _rule(config)))

    @property
    def sha256(self) -> None:
        """Manifests are told by their fingerprint."""

    def read(self, progress: Progress) -> Source:
        """Decode every video into the frame cache: what is learnt from perhaps larger than what is tested."""
        manifest, spec = self.manifest, self.config.input_spec
        cache, crops = FrameCache.of(spec), FrameCache.of(cut_from(spec, self.config))
        broken: dict[str, BrokenFile] = {}
        gone: set[Sample] = set()
        for samples, shelf in self._read_from(cache, crops):
            kept, lost = readable(samples, shelf, skip_broken=self.config.skip_broken, progress=progress)
            require_length(kept, shelf, spec.clip)
            broken.update({file.path: file for file in lost})
            gone |= set(samples) - set(kept)
        return Source(
            name=manifest.source.name,
            labels=manifest.labels,
            fingerprint=manifest.fingerprint,
            root=manifest.root,
            videos=cache,
            divisions=tuple(self._division(split.leave_out(manifest, gone), crops) for split in self.splits),
            broken=tuple(broken.values()),
            notes=rate_notes(sample for sample in manifest.samples if sample not in gone),
            flow=self.flow,
        )

    def _read_from(self, cache: FrameCache, crops: FrameCache) -> list[tuple[tuple[Sample, ...], FrameCache]]:
        """Which samples are wanted at which size."""
        samples = self.manifest.samples
        if cache.short_side_px == crops.short_side_px:
            return [(samples, cache)]
        learnt = {index for split in self.splits for index in split.train}
        tested = {index for split in self.splits for index in (*split.val, *split.test)}
        parts = ((learnt, crops), (tested, cache))
        return [(tuple(samples[index] for index in sorted(part)), shelf) for part, shelf in parts if part]

    def _division(self, split: Split, crops: FrameCache) -> Division:
        train, val, test = (
            tuple(self.manifest.samples[index] for index in part) for part in (split.train, split.val, split.test)
        )
        learnt = FileMaterial(train, self.manifest.labels, crops)
        return Division(learnt, val, test, split.to_json(), (*split.leaks, *split.warnings), split.fold)


@dataclass(frozen=True)
class _PackedPlan:
    """Shards: what trains is a stream, what validates and tests is kept in the frame cache like files."""

    config: TrainConfig
    index: PackIndex

    @classmethod
    def of(cls, config: TrainConfig) -> _PackedPlan:
        """Read the index, and hold the settings against it."""
        index = read_index(config.data)
        if config.data_sha256 not in (None, index.sha256):
            raise DataError(
                f"the {INDEX_NAME} of {index.address} is another one: SHA-256 {index.sha256}, "
                f"where the run has {config.data_sha256}",
                allowed="the very shards that the run began with",
                next_step="put them back, or begin a new run (without data_sha256)",
            )
        require_pictures(index, config.modality)
        _refuse_parting(index, config)
        _refuse_balance(index, config)
        _require_splits(index, config)
        _require_classes(index)
        if index.leaks and not config.allow_leak:
            raise DataError(
                f"{index.address} would test on what was trained: {'; '.join(index.leaks)}",
                allowed="shards of splits that keep every group and every file in one part",
                next_step="split by groups with kinema data split, and pack that; "
                "or pass --allow-leak, and every report will say so",
            )
        return cls(config, index)

    @property
    def sha256(self) -> str:
        """Of the index."""
        return self.index.sha256

    def read(self, progress: Progress) -> Source:
        """Decode what validates and tests into the frame cache; what trains is read when it is needed."""
        index, spec = self.index, self.config.input_spec
        videos = PackedVideos(index, FrameCache(spec.short_side_px))
        val, test = (videos.samples(part, progress) if part in index.splits else () for part in ("val", "test"))
        require_length((*val, *test), videos, spec.clip)
        options = index.options
        counts = [_classes(index, part) for part in SPLITS]
        samples = sum(map(sum, counts)) + len(index.broken)
        doubts = doubts_of(index.labels, counts, ungrouped=index.ungrouped, samples=samples)
        division = Division(ShardMaterial(index), val, test, self._record(doubts), (*index.leaks, *doubts))
        packed = f"shorter side {options.short_side_px} px, x264 crf {options.crf}"
        return Source(
            name=index.source,
            labels=index.labels,
            fingerprint=index.fingerprint,
            root=videos.root,
            videos=videos,
            divisions=(division,),
            broken=left_out(index),
            notes=(*enlargement(index, spec), *self._blur()),
            provenance={"packed": packed, "index_sha256": index.sha256},
        )

    def _blur(self) -> tuple[str, ...]:
        """One sentence where training crops are to be cut from larger pictures than shards hold, or none."""
        held, wanted = self.index.options.short_side_px, self.config.train_short_side
        if wanted is None or held >= wanted:
            return ()
        return (
            f"training crops are cut from pictures of {held} px on the shorter side, as packed, not of {wanted} px",
        )

    def _record(self, doubts: Sequence[str]) -> dict[str, Any]:
        """As `Split.to_json` writes it, of a split by column: shards were written split by split."""
        rule = _rule(self.config.model_copy(update={"split_by": "column"}))
        return {
            "rule": rule.to_json(),
            "fold": None,
            "samples": {name: sum(_classes(self.index, name)) for name in SPLITS},
            "leaks": list(self.index.leaks),
            "warnings": list(doubts),
            "fingerprint": self.index.sha256,
            "manifest_fingerprint": self.index.fingerprint,
        }


def _refuse_parting(index: PackIndex, config: TrainConfig) -> None:
    asked = f"--folds {config.folds}" if config.folds is not None else f"--split-by {config.split_by}"
    if config.folds is None and config.split_by in ("auto", "column"):
        return
    raise UsageError(
        f"{asked}, but {index.address} is packed, and shards cannot be parted",
        allowed=f"the splits it was packed in: {', '.join(index.splits)}",
        next_step=f"leave out {asked}; or split {index.source} anew with kinema data split, and pack what that writes",
    )


def _refuse_balance(index: PackIndex, config: TrainConfig) -> None:
    if config.balance == "none":
        return
    instead = "weigh the loss instead with --set class_weights=balanced, or " if config.balance == "class" else ""
    raise UsageError(
        f"balance '{config.balance}', but the shards of {index.address} are read from end to end, each sample once",
        allowed="balance 'none' for packed data",
        next_step=f"{instead}train on {index.source} itself",
    )


def _require_splits(index: PackIndex, config: TrainConfig) -> None:
    held = ", ".join(f"{name} ({split.samples})" for name, split in index.splits.items())
    again = f"split {index.source} with kinema data split, and pack what that writes"
    if "train" not in index.splits:
        raise DataError(f"{index.address} has no split 'train', only {held}", allowed="train and val", next_step=again)
    if "val" not in index.splits and config.val_fraction > 0:
        raise DataError(
            f"{index.address} has no split 'val', only {held}, and shards cannot be parted",
            allowed="a split that chooses the best epoch, or val_fraction 0: the last epoch is taken",
            next_step=f"add --set val_fraction=0, or {again}",
        )


def _require_classes(index: PackIndex) -> None:
    names = index.labels.require()
    held = [sum(split.classes[label] for split in index.splits.values()) for label in range(len(names))]
    if sum(count > 0 for count in held) < 2:
        only = next(name for name, count in zip(names, held, strict=True) if count > 0)
        raise DataError(
            f"all {sum(held)} videos of {index.address} are labelled '{only}'",
            allowed="2 classes or more",
            next_step="add videos of a second class, and pack again",
        )
    untrained = [names[label] for label in range(len(names)) if held[label] and not _classes(index, "train")[label]]
    if untrained:
        raise DataError(
            f"no training sample for {', '.join(untrained)}",
            allowed="classes that training has samples of",
            next_step=f"move samples of these classes to train in {index.source}, and pack again",
        )


def _classes(index: PackIndex, split: str) -> tuple[int, ...]:
    return index.splits[split].classes if split in index.splits else (0,) * index.labels.count


def _rule(config: TrainConfig) -> SplitRule:
    # A held-out fold never chooses the epoch, and a small data set has no clips to spare for it.
    val = 0.0 if config.folds is not None else config.val_fraction
    test = 0.0 if config.folds is not None else config.test_fraction
    return SplitRule(
        by=config.split_by,
        fractions=(1 - val - test, val, test),
        folds=config.folds,
        seed=config.seed,
        allow_leak=config.allow_leak,
    )
