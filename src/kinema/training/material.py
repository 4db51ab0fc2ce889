"""What a run learns from: the files of a manifest, or shards. Both are fed, counted and named alike."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

from kinema.core.labels import LabelMap
from kinema.core.spec import InputSpec
from kinema.datasets.balance import strata_of
from kinema.datasets.cache import VideoShelf
from kinema.datasets.loader import EpochSampler, Feed, FileFeed, TrainingClips
from kinema.datasets.sample import Sample
from kinema.datasets.shards.index import PackIndex
from kinema.datasets.shards.loader import PackedClips, PackedLoader
from kinema.datasets.shards.read import member_name
from kinema.training.config import TrainConfig
from kinema.transforms.presets import TrainTransform

__all__ = ["FileMaterial", "Material", "Seat", "ShardMaterial", "cut_from"]


def cut_from(spec: InputSpec, config: TrainConfig) -> InputSpec:
    """`spec` with frames of the size that training crops are cut from."""
    return replace(spec, short_side_px=config.train_short_side or spec.short_side_px)


@dataclass(frozen=True)
class Seat:
    """Which of several processes is fed, and where its batches go.

    Attributes:
        rank: this process, in [0, ranks).
        ranks: how many share the clips.
        pin_memory: put batches where a GPU copies from without waiting.
    """

    rank: int = 0
    ranks: int = 1
    pin_memory: bool = False


class Material(Protocol):
    """Labelled videos to learn from; rows are their numbers, in [0, len)."""

    def __len__(self) -> int: ...

    @property
    def counts(self) -> tuple[int, ...]:
        """Videos of each class, in index order."""
        ...

    def name(self, row: int) -> str:
        """What messages call a row."""
        ...

    def feed(self, config: TrainConfig, spec: InputSpec, transform: TrainTransform, seat: Seat) -> Feed:
        """Its random clips in batches, for one process."""
        ...


@dataclass(frozen=True)
class FileMaterial:
    """Rows of a manifest.

    Attributes:
        samples: at least one.
        labels: the classes.
        videos: opens them, at the size that crops are cut from.
    """

    samples: tuple[Sample, ...]
    labels: LabelMap
    videos: VideoShelf

    def __len__(self) -> int:
        return len(self.samples)

    @cached_property
    def targets(self) -> tuple[int, ...]:
        """Class index of each row."""
        return tuple(self.labels.index(sample.label) for sample in self.samples)

    @property
    def counts(self) -> tuple[int, ...]:
        """Rows of each class, in index order."""
        held = Counter(self.targets)
        return tuple(held[target] for target in range(self.labels.count))

    def name(self, row: int) -> str:
        """The path of a row's file."""
        return str(self.samples[row].path)

    def feed(self, config: TrainConfig, spec: InputSpec, transform: TrainTransform, seat: Seat) -> Feed:
        """Random clips, in an order that is drawn anew every epoch, balanced if `config` says so."""
        clips = TrainingClips(
            self.samples,
            self.targets,
            spec,
            transform=transform,
            cache=self.videos,
            seed=config.seed,
            speed=config.speed,
        )
        sampler = EpochSampler(
            len(self),
            config.batch_size,
            config.seed,
            rank=seat.rank,
            ranks=seat.ranks,
            strata=strata_of(self.samples, self.targets, config.balance),
        )
        return FileFeed(clips, sampler, workers=config.workers, pin_memory=seat.pin_memory)


@dataclass(frozen=True)
class ShardMaterial:
    """One split of a packed data set, read as a stream.

    Attributes:
        index: of the packed data set.
        split: its name in the index.
    """

    index: PackIndex
    split: str = "train"

    def __len__(self) -> int:
        return self.index.split(self.split).samples

    @property
    def counts(self) -> tuple[int, ...]:
        """Samples of each class, in index order."""
        return self.index.split(self.split).classes

    def name(self, row: int) -> str:
        """The shard, and the file in it."""
        return member_name(self.index, self.split, row)

    def feed(self, config: TrainConfig, spec: InputSpec, transform: TrainTransform, seat: Seat) -> Feed:
        """Random clips, in an order of shards that is drawn anew every epoch, mixed in a buffer."""
        held = self.index.options.short_side_px
        cut = cut_from(spec, config)
        clips = PackedClips(
            self.index,
            self.split,
            # Crops of enlarged frames are no sharper, only slower.
            replace(cut, short_side_px=min(cut.short_side_px, max(held, spec.short_side_px))),
            transform,
            config.batch_size,
            seed=config.seed,
            speed=config.speed,
            rank=seat.rank,
            ranks=seat.ranks,
        )
        return PackedLoader(clips, workers=config.workers, pin_memory=seat.pin_memory)
