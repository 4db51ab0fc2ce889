"""The training loop: epochs of steps, validated, saved, resumable at any step.

A step is one update of the weights from `accumulate` micro-batches. Everything a step draws at
random follows from (seed, epoch, step), so a run that was killed and resumed ends, on a CPU, with
the very weights of one that was not.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric

from kinema.core.errors import DataError, UsageError
from kinema.core.labels import LabelMap
from kinema.core.progress import Progress, Task
from kinema.core.seeds import stream
from kinema.datasets.cache import VideoShelf
from kinema.datasets.loader import Batch, Feed
from kinema.datasets.sample import Sample
from kinema.evaluation.protocol import ScoredVideo, Views, score_videos
from kinema.inference.predictor import Predictor, choose_device
from kinema.models.model import VideoModel
from kinema.models.weights import ModelCard, load_backbone, save_weights
from kinema.models.zoo import create_model
from kinema.training.checkpoint import EpochRow, RunState, load_state, save_state
from kinema.training.config import TrainConfig
from kinema.training.curves import write_curves
from kinema.training.interrupt import StopRequest
from kinema.training.material import Material, Seat
from kinema.training.optim import build_optimizer
from kinema.training.precision import arithmetic
from kinema.training.run import RunFolder
from kinema.training.schedule import Plateau, learning_rate
from kinema.training.step import Objective, class_weights, refuse_non_finite
from kinema.transforms.presets import AugmentSpec, TrainTransform

__all__ = ["Job", "connect", "fit"]


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
class _Parts:
    """What the loop works with, set up once."""

    fabric: Fabric
    network: VideoModel
    model: Any  # Fabric's wrapper of it, whose class is not public
    optimizer: torch.optim.Optimizer
    objective: Objective
    feed: Feed
    plateau: Plateau

    @property
    def steps(self) -> int:
        """Optimizer steps an epoch."""
        return max(1, self.feed.batches // self.accumulate)

    @property
    def accumulate(self) -> int:
        """Micro-batches a step."""
        return min(self._wanted, self.feed.batches)

    _wanted: int = 1


def connect(config: TrainConfig) -> Fabric:
    """The processes that train together: this one alone, or `devices` of them, started here or by torchrun.

    Raises:
        UsageError: the device does not compute at the configured precision, or not together with what else is asked.
    """
    device = choose_device(config.device)
    if device.type == "cpu" and config.precision == "bf16-mixed" and config.compile and config.gradient_checkpointing:
        # The reason has not been found yet (docs/results/training-speed.md).
        raise UsageError(
            "bf16-mixed, compile and gradient_checkpointing at once on a CPU, which has given other gradients",
            allowed="any two of them",
            next_step="leave out compile, which gains little on a CPU",
        )
    strategy = "ddp" if config.devices > 1 else "auto"
    plugin = arithmetic(config.precision, device)
    fabric = Fabric(accelerator=device.type, devices=config.devices, strategy=strategy, plugins=plugin)
    fabric.launch()
    return fabric


def fit(job: Job, fabric: Fabric, *, resume: bool, progress: Progress) -> RunState:
    """Train to the last epoch. Only the first process writes.

    Args:
        job: what and where.
        fabric: what `connect` gave.
        resume: go on from the folder's state instead of starting.
        progress: where bars and lines go.

    Raises:
        TrainingError: a loss or gradient that is no number, or a state that cannot be resumed.
        KeyboardInterrupt: Ctrl-C; the state is saved and can be resumed.
    """
    parts = _set_up(job, fabric, progress)
    state = RunState()
    if resume and job.folder.state.exists():
        state = load_state(job.folder.state, parts.network, parts.optimizer)
        parts.plateau.restore(state.plateau)
        progress.log(f"resumed after {state.epoch} epochs and {state.step} steps")
    board = job.folder.tensorboard(state.epoch) if fabric.is_global_zero else nullcontext()
    with StopRequest() as stop, board as scalars:
        while state.epoch < job.config.epochs:
            with _told_how_to_go_on(job, progress):
                _train_epoch(job, parts, state, progress, stop)
            row = _close_epoch(job, parts, state, progress)
            progress.log(_describe(row, job.config.epochs))
            for name, value in asdict(row).items():
                if scalars is not None and value is not None and name != "epoch":
                    scalars.add_scalar(name, value, row.epoch)
            if _asked(parts, stop):
                _stop(job, progress)
    return state


def _set_up(job: Job, fabric: Fabric, progress: Progress) -> _Parts:
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
    return _Parts(
        fabric=fabric,
        network=network,
        model=model,
        optimizer=optimizer,
        objective=Objective(transform, config.label_smoothing, config.mixup, weights),
        feed=job.train.feed(config, spec, transform, seat),
        plateau=Plateau(config.patience, config.gamma),
        _wanted=config.accumulate,
    )


def _augmentation(config: TrainConfig) -> AugmentSpec:
    return AugmentSpec(
        crop=config.crop,
        scale=config.crop_scale,
        ratio=config.crop_ratio,
        flip=config.flip,
        brightness=config.brightness,
        contrast=config.contrast,
        saturation=config.saturation,
        hue=config.hue,
    )


def _train_epoch(job: Job, parts: _Parts, state: RunState, progress: Progress, stop: StopRequest) -> None:
    """The steps of the running epoch that are still to be made."""
    parts.feed.go_to(state.epoch, skip_batches=state.step * parts.accumulate)
    parts.network.set_epoch(state.epoch)
    parts.model.train()
    batches = iter(parts.feed)
    saved = time.monotonic()
    ranks = parts.fabric.world_size
    total = parts.steps * parts.accumulate * min(job.config.batch_size * ranks, len(job.train))
    with progress.task(f"epoch {state.epoch + 1}/{job.config.epochs}", total, "clips") as task:
        task.advance(state.clips)
        while state.step < parts.steps:
            _step(job, parts, state, batches, task)
            asked = _asked(parts, stop)
            if parts.fabric.is_global_zero and (asked or time.monotonic() - saved > job.config.save_seconds):
                save_state(job.folder.state, state, parts.network, parts.optimizer)
                saved = time.monotonic()
            if asked:
                _stop(job, progress)


def _step(job: Job, parts: _Parts, state: RunState, batches: Iterator[Batch], task: Task) -> None:
    """One update of the weights, and its bookkeeping in `state`."""
    began = time.perf_counter()
    config = job.config
    rate = learning_rate(config, state.epoch + state.step / parts.steps, plateau_factor=parts.plateau.factor)
    for group in parts.optimizer.param_groups:
        group["lr"] = rate
    seen: list[int] = []
    for number, batch in enumerate(islice(batches, parts.accumulate)):
        rng = stream(config.seed, "batch", state.epoch, state.step, number, parts.fabric.global_rank)
        torch.manual_seed(int(rng.integers(2**63)))  # of dropout, which draws from torch's own generator
        with parts.fabric.no_backward_sync(parts.model, enabled=number + 1 < parts.accumulate):
            result = parts.objective(parts.model, batch, parts.fabric.device, rng)
            _require_finite("loss", result.loss.detach(), job, batch.rows, state)
            parts.fabric.backward(result.loss / parts.accumulate)
        _count(parts, state, float(result.loss.detach()) * len(batch), result.correct, len(batch))
        seen += batch.rows
        task.advance(len(batch) * parts.fabric.world_size, note=f"loss {state.loss_sum / state.clips:.3f}")
    norm = parts.fabric.clip_gradients(
        parts.model, parts.optimizer, max_norm=config.clip_grad_norm or math.inf, error_if_nonfinite=False
    )
    # The scaler of 16-mixed overflows on purpose now and then, and skips that step.
    if norm is not None and config.precision != "16-mixed":
        _require_finite("gradient norm", norm, job, seen, state)
    parts.optimizer.step()
    parts.optimizer.zero_grad()
    state.step += 1
    state.seconds += time.perf_counter() - began


def _require_finite(what: str, value: torch.Tensor, job: Job, rows: Sequence[int], state: RunState) -> None:
    refuse_non_finite(what, value, [job.train.name(row) for row in rows], state.epoch, state.step)


def _count(parts: _Parts, state: RunState, loss: float, correct: int, clips: int) -> None:
    """Add one micro-batch of every process to the sums of the epoch."""
    if parts.fabric.world_size > 1:
        own = torch.tensor([loss, correct, clips], dtype=torch.float64)
        sums = parts.fabric.all_reduce(own, reduce_op="sum")
        loss, correct, clips = float(sums[0]), int(sums[1]), int(sums[2])
    state.loss_sum += loss
    state.correct += correct
    state.clips += clips


def _close_epoch(job: Job, parts: _Parts, state: RunState, progress: Progress) -> EpochRow:
    """Validate, keep the best weights, write every file of the folder that grows."""
    row: EpochRow | None = None
    if parts.fabric.is_global_zero:
        row = _row(parts, state, _validate(job, parts, progress), job.labels)
    row = parts.fabric.broadcast(row)
    assert row is not None
    if row.val_loss is not None:
        parts.plateau.observe(row.val_loss)
    state.plateau = parts.plateau.remember()
    # Accuracy on few videos moves in steps and ties often; the loss decides among equals.
    value: tuple[float, ...] = ()
    if row.val_video_accuracy is not None and row.val_loss is not None:
        value = (row.val_video_accuracy, -row.val_loss)
    state.finish_epoch(row)
    best = not value or not state.best or value > tuple(state.best)
    if best:
        state.best = value
    if parts.fabric.is_global_zero:
        _write(job, parts, state, best=best)
    return row


def _write(job: Job, parts: _Parts, state: RunState, *, best: bool) -> None:
    """Every file of the folder that grows; the state last, so that what it promises is there."""
    save_weights(job.folder.last, parts.network, job.card)
    if best:
        save_weights(job.folder.best, parts.network, job.card)
    job.folder.write_metrics(state.rows)
    write_curves(job.folder.curves, state.rows)
    save_state(job.folder.state, state, parts.network, parts.optimizer)


def _validate(job: Job, parts: _Parts, progress: Progress) -> tuple[ScoredVideo, ...]:
    if not job.val:
        return ()
    predictor = Predictor(parts.network, job.card, device=str(parts.fabric.device))
    return score_videos(predictor, job.val, cache=job.videos, views=Views(job.config.eval_hop), progress=progress)


def _row(parts: _Parts, state: RunState, scored: Sequence[ScoredVideo], labels: LabelMap) -> EpochRow:
    targets = [labels.index(video.sample.label) for video in scored]
    clips = [row[target] for video, target in zip(scored, targets, strict=True) for row in video.clips]
    right = [row.argmax() == target for video, target in zip(scored, targets, strict=True) for row in video.clips]
    videos = [video.video.argmax() == target for video, target in zip(scored, targets, strict=True)]
    tiny = np.finfo(np.float32).tiny
    return EpochRow(
        epoch=state.epoch + 1,
        train_loss=state.loss_sum / state.clips,
        train_clip_accuracy=state.correct / state.clips,
        val_loss=float(-np.log(np.maximum(clips, tiny)).mean()) if scored else None,
        val_clip_accuracy=float(np.mean(right)) if scored else None,
        val_video_accuracy=float(np.mean(videos)) if scored else None,
        lr=float(parts.optimizer.param_groups[0]["lr"]),
        clips_per_second=state.clips / state.seconds,
    )


def _asked(parts: _Parts, stop: StopRequest) -> bool:
    """Whether any process was asked to stop: all must stop at the same step, or the others wait for ever."""
    if parts.fabric.world_size == 1:
        return stop.requested
    asked = parts.fabric.all_reduce(torch.tensor([float(stop.requested)]), reduce_op="sum")
    return isinstance(asked, torch.Tensor) and float(asked) > 0


@contextmanager
def _told_how_to_go_on(job: Job, progress: Progress) -> Iterator[None]:
    """Where clips cannot be read any more, such as from a server that is down: the run is as good as stopped."""
    try:
        yield
    except DataError:
        _tell_how_to_go_on(job, progress)
        raise


def _stop(job: Job, progress: Progress) -> None:
    _tell_how_to_go_on(job, progress)
    raise KeyboardInterrupt


def _tell_how_to_go_on(job: Job, progress: Progress) -> None:
    progress.log(f"stopped; go on with: kinema train --resume {job.folder.run}")


def _describe(row: EpochRow, epochs: int) -> str:
    text = f"epoch {row.epoch}/{epochs}: train loss {row.train_loss:.3f}, clip accuracy {row.train_clip_accuracy:.3f}"
    if row.val_video_accuracy is not None:
        text += f"; validation loss {row.val_loss:.3f}, clip {row.val_clip_accuracy:.3f}"
        text += f", video {row.val_video_accuracy:.3f}"
    return f"{text}; {row.clips_per_second:.0f} clips/s"
