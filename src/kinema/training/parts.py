"""What a run consists of: the job it is given, and the parts the loop works with, set up once."""

from __future__ import annotations

import gc
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import Precision

from kinema.core.labels import LabelMap
from kinema.core.progress import Progress
from kinema.datasets.cache import VideoShelf
from kinema.datasets.loader import Feed
from kinema.datasets.sample import Sample
from kinema.models.model import VideoModel
from kinema.models.stochastic_depth import drop_paths
from kinema.models.weights import ModelCard, load_backbone
from kinema.models.zoo import create_model
from kinema.training.averaging import WeightAverage
from kinema.training.batch_norm import synchronise
from kinema.training.checkpoint import SaveClock
from kinema.training.config import TrainConfig
from kinema.training.freezing import Phase, enter_phase, phase_at, plan_phases
from kinema.training.material import Material, Seat
from kinema.training.mixing import Mixing
from kinema.training.optim import build_optimizer
from kinema.training.pixels import describe_change
from kinema.training.precision import arithmetic
from kinema.training.run import RunFolder
from kinema.training.schedule import Plateau, Timetable
from kinema.training.step import Objective, class_weights
from kinema.training.stopping import require_epochs, require_watched
from kinema.training.team import TrainingTeam
from kinema.transforms.portion import Portion
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
        data: what is learnt from and tested on, in words and a fingerprint: what a run is resumed on.
    """

    config: TrainConfig
    train: Material
    val: tuple[Sample, ...]
    card: ModelCard
    videos: VideoShelf
    folder: RunFolder
    data: str

    @property
    def labels(self) -> LabelMap:
        """The classes."""
        return self.card.labels


@dataclass
class Parts:
    """What the loop works with, set up once; `model` anew where other stages are trained than before."""

    config: TrainConfig
    fabric: Fabric
    network: VideoModel
    runnable: Any  # the network, or what torch.compile makes of it
    model: Any  # Fabric's wrapper of it, whose class is not public
    phases: tuple[Phase, ...]
    optimizer: torch.optim.Optimizer
    objective: Objective
    feed: Feed
    plateau: Plateau
    clock: SaveClock
    average: WeightAverage | None  # of the weights, if the run keeps one

    @property
    def steps(self) -> int:
        """Optimizer steps an epoch."""
        return max(1, self.feed.batches // self.accumulate)

    @property
    def timetable(self) -> Timetable:
        """How long the run is, and its learning rates."""
        return Timetable(self.config, self.steps)

    @property
    def accumulate(self) -> int:
        """Micro-batches a step."""
        return min(self.config.accumulate, self.feed.batches)

    @property
    def team(self) -> TrainingTeam:
        """The processes that train together."""
        return TrainingTeam(self.fabric)

    @property
    def arithmetic(self) -> Precision:
        """What computes at the run's precision."""
        return self.fabric.strategy.precision

    def portion(self, number: int) -> Portion:
        """Which clips of a step its micro-batch `number` has on this process."""
        clips, team = self.config.batch_size, self.team
        return Portion.of_step(clips, number=number, batches=self.accumulate, rank=team.rank, ranks=team.ranks)

    def as_kept(self) -> AbstractContextManager[None]:
        """Within it the network has the weights that are tested and kept: the average, where there is one."""
        return self.average.in_place() if self.average else nullcontext()

    def enter_epoch(self, epoch: int) -> bool:
        """Train what belongs to the epoch after `epoch` finished ones; whether it is not what was trained before."""
        if not enter_phase(self.network, phase_at(self.phases, epoch), self.config):
            return False
        if self.fabric.world_size > 1:
            # DDP waits for gradients of all that could be trained when it was made, and lets go when it is no more.
            self.model = None
            gc.collect()
            self.model = self.fabric.setup_module(self.runnable)
        return True


def set_up(job: Job, fabric: Fabric, progress: Progress) -> Parts:
    """Network, optimizer, objective and feed of `job`, on the device and processes of `fabric`."""
    config, spec, device = job.config, job.card.input, fabric.device
    require_watched(config, job.val)
    torch.manual_seed(config.seed)
    network = create_model(config.model, job.labels.count, spec.channels, **config.model_options)
    if config.weights is not None:
        progress.log(str(load_backbone(network, config.weights, job.labels, fed=spec)))
        if changed := describe_change(config.pixels, config.input_spec, spec):
            progress.log(changed)
    for parameter in network.parameters():
        if parameter.dim() == 5:  # no slower for wide networks, faster for narrow ones; others have convolutions in 2D
            parameter.data = parameter.data.to(memory_format=torch.channels_last_3d)
    if config.gradient_checkpointing:
        network.recompute_stages(arithmetic(config.precision, device).forward_context)
    if config.sync_batch_norm and fabric.world_size > 1:
        synchronise(network, device)
    if config.drop_path:
        drop_paths(network, config.drop_path)
    phases = plan_phases(network, config)
    enter_phase(network, phases[-1], config)  # the last one trains all that is ever trained
    optimizer = build_optimizer(network, config)
    enter_phase(network, phases[0], config)
    run: Any = torch.compile(network) if config.compile else network  # torch does not say that it is a module, too
    model, optimizer = fabric.setup(run, optimizer)
    transform = TrainTransform(spec, _augmentation(config))
    weights = class_weights(job.train.counts).to(device) if config.class_weights == "balanced" else None
    seat = Seat(fabric.global_rank, fabric.world_size, pin_memory=device.type == "cuda")
    parts = Parts(
        config=config,
        fabric=fabric,
        network=network,
        runnable=run,
        model=model,
        phases=phases,
        optimizer=optimizer,
        objective=Objective(transform, config.label_smoothing, Mixing(config.mixup, config.cutmix), weights),
        feed=job.train.feed(config, spec, transform, seat),
        plateau=Plateau(config.patience, config.gamma),
        clock=SaveClock(config.save_seconds),
        average=WeightAverage(network, optimizer, config.ema) if config.ema else None,
    )
    require_epochs(config, parts.timetable.epochs)
    return parts


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
        rand_augment=config.rand_augment,
        rand_augment_magnitude=config.rand_augment_magnitude,
    )
