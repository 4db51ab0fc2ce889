"""What a run consists of: the job it is given, and the parts the loop works with, set up once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from lightning_fabric import Fabric

from kinema.core.labels import LabelMap
from kinema.core.progress import Progress
from kinema.datasets.cache import VideoShelf
from kinema.datasets.loader import Feed
from kinema.datasets.sample import Sample
from kinema.models.model import VideoModel
from kinema.models.weights import ModelCard, load_backbone
from kinema.models.zoo import create_model
from kinema.training.checkpoint import SaveClock
from kinema.training.config import TrainConfig
from kinema.training.material import Material, Seat
from kinema.training.optim import build_optimizer
from kinema.training.precision import arithmetic
from kinema.training.run import RunFolder
from kinema.training.schedule import Plateau
from kinema.training.step import Objective, class_weights
from kinema.transforms.presets import AugmentSpec, TrainTransform

__all__ = ["Job", "Parts", "set_up"]


@dataclass(frozen=True)
class Job:
    """What one run trains on and where it writes.

    Attributes:
        config: the settings.
        train: what is learnt from; at least one video.
        val: samples that choose the best epoch; none: the last epoch is the best.
        card: what the weights will say about themselves, metrics aside.
        videos: opens those of `val`.
        folder: the run folder.
    """

    config: TrainConfig
    train: Material
    val: tuple[Sample, ...]
    card: ModelCard
    videos: VideoShelf
    folder: RunFolder

    @property
    def labels(self) -> LabelMap:
        """The classes."""
        return self.card.labels


@dataclass(frozen=True)
class Parts:
    """What the loop works with, set up once."""

    fabric: Fabric
    network: VideoModel
    model: Any  # Fabric's wrapper of it, whose class is not public
    optimizer: torch.optim.Optimizer
    objective: Objective
    feed: Feed
    plateau: Plateau
    clock: SaveClock

    @property
    def steps(self) -> int:
        """Optimizer steps an epoch."""
        return max(1, self.feed.batches // self.accumulate)

    @property
    def accumulate(self) -> int:
        """Micro-batches a step."""
        return min(self._wanted, self.feed.batches)

    _wanted: int = 1


def set_up(job: Job, fabric: Fabric, progress: Progress) -> Parts:
    """Network, optimizer, objective and feed of `job`, on the device and processes of `fabric`."""
    config, spec, device = job.config, job.card.input, fabric.device
    torch.manual_seed(config.seed)
    network = create_model(config.model, job.labels.count, spec.channels, **config.model_options)
    if config.weights is not None:
        progress.log(str(load_backbone(network, config.weights, job.labels, fed=spec)))
    for parameter in network.parameters():
        if parameter.dim() == 5:  # no slower for wide networks, faster for narrow ones; others have convolutions in 2D
            parameter.data = parameter.data.to(memory_format=torch.channels_last_3d)
    if config.gradient_checkpointing:
        network.recompute_stages(arithmetic(config.precision, device).forward_context)
    optimizer = build_optimizer(network, config)
    run: Any = torch.compile(network) if config.compile else network  # torch does not say that it is a module, too
    model, optimizer = fabric.setup(run, optimizer)
    transform = TrainTransform(spec, _augmentation(config))
    weights = class_weights(job.train.counts).to(device) if config.class_weights == "balanced" else None
    seat = Seat(fabric.global_rank, fabric.world_size, pin_memory=device.type == "cuda")
    return Parts(
        fabric=fabric,
        network=network,
        model=model,
        optimizer=optimizer,
        objective=Objective(transform, config.label_smoothing, config.mixup, weights),
        feed=job.train.feed(config, spec, transform, seat),
        plateau=Plateau(config.patience, config.gamma),
        clock=SaveClock(config.save_seconds),
        _wanted=config.accumulate,
    )


def _augmentation(config: TrainConfig) -> AugmentSpec:
    return AugmentSpec(
        crop=config.crop,
        scale=config.crop_scale,
        ratio=config.crop_ratio,
        corner_scales=config.corner_scales,
        flip=config.flip,
        brightness=config.brightness,
        contrast=config.contrast,
        saturation=config.saturation,
        hue=config.hue,
    )
