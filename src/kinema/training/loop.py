"""The training loop: epochs of steps, validated, saved, resumable at any step.

A step is one update of the weights from `accumulate` micro-batches. Everything a step draws at
random follows from (seed, epoch, step), so a run that was killed and resumed ends, on a CPU, with
the very weights of one that was not.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial

import torch
from lightning_fabric import Fabric
from torch.utils.tensorboard import SummaryWriter

from kinema.core.errors import DataError, MediaError, TrainingError
from kinema.core.progress import Progress, Task
from kinema.core.seeds import stream
from kinema.datasets.loader import Batch
from kinema.models.weights import save_weights
from kinema.training.checkpoint import EpochRow, RunState, load_state, save_state
from kinema.training.curves import write_curves
from kinema.training.freezing import describe_phase
from kinema.training.interrupt import StopRequest
from kinema.training.optim import set_rate
from kinema.training.parts import Job, Parts, set_up
from kinema.training.processes import require_same
from kinema.training.run import is_lost_reader
from kinema.training.step import refuse_non_finite
from kinema.training.stopping import describe_close, ended_early
from kinema.training.tracking import Tracking
from kinema.training.validation import describe, validate

__all__ = ["fit"]


def fit(job: Job, fabric: Fabric, *, resume: bool, progress: Progress, tracking: Tracking | None = None) -> RunState:
    """Train to the last epoch, or until validation gets no better. Only the first process writes.

    Args:
        job: what and where.
        fabric: what `connect` gave.
        resume: go on from the folder's state instead of starting.
        progress: where bars and lines go.
        tracking: where the curves are shown besides the folder.

    Raises:
        TrainingError: a loss or gradient that is no number, or a state that cannot be resumed.
        KeyboardInterrupt: Ctrl-C; the state is saved and can be resumed.
    """
    parts = set_up(job, fabric, progress)
    state = RunState(data=job.data)
    if resume and parts.team.first:
        job.folder.clear_leftovers()
    if resume and job.folder.state.exists():
        state = load_state(job.folder.state, parts.network, parts.optimizer, parts.average, parts.arithmetic)
        _require_same_data(state, job)
        parts.plateau.restore(state.plateau)
        progress.log(f"resumed after {state.epoch} epochs and {state.step} steps")
    elif resume:
        progress.log(f"no {job.folder.state.name} to go on from: the run begins anew")
    shared = "put the run folder where all machines see it"
    require_same(fabric, "the state resumed from, in epochs and steps,", (state.epoch, state.step), next_step=shared)
    parts.enter_epoch(state.epoch)
    progress.log(describe_phase(parts.network, job.config))
    tracking = tracking or Tracking()
    with parts.team.together():
        tracking.begin(state.rows)
    board = job.folder.tensorboard(state.epoch) if fabric.is_global_zero else nullcontext()
    with StopRequest() as stop, _told_how_to_go_on(job, progress), board as scalars:
        while not _over(parts, state):
            _train_epoch(job, parts, state, progress, stop)
            with parts.as_kept():
                row = _close_epoch(job, parts, state, progress)
            asked = _asked(parts, stop)
            now = asked or _over(parts, state)
            _let_first_write(job, parts, partial(_write, job, parts, state, scalars, now=now))
            progress.log(describe(row, parts.timetable.epochs))
            tracking.row(row)
            if asked:
                _stop(job, progress)
    progress.log(describe_close(job.config, state.rows, job.folder.best))
    return state


def _require_same_data(state: RunState, job: Job) -> None:
    """Refuse to go on where other videos would train, validate or test, of which some were trained on before."""
    if state.data != job.data:
        raise TrainingError(
            f"the data set is not the one that the run was begun with: {job.data} now, {state.data} then",
            allowed="the same videos with the same labels in the same parts, and the same of them unreadable",
            next_step="bring them back, or begin a new run with another --out",
        )


def _over(parts: Parts, state: RunState) -> bool:
    return state.epoch >= parts.timetable.epochs or ended_early(parts.config, state.rows)


def _train_epoch(job: Job, parts: Parts, state: RunState, progress: Progress, stop: StopRequest) -> None:
    """The steps of the running epoch that are still to be made."""
    if parts.enter_epoch(state.epoch):
        progress.log(describe_phase(parts.network, job.config))
    parts.feed.go_to(state.epoch, skip_batches=state.step * parts.accumulate)
    parts.network.set_epoch(state.epoch)
    parts.model.train()
    batches = iter(parts.feed)
    ranks, steps = parts.fabric.world_size, parts.timetable.steps(state.epoch)
    total = steps * parts.accumulate * min(job.config.batch_size * ranks, len(job.train))
    with progress.task(f"epoch {state.epoch + 1}/{parts.timetable.epochs}", total, "clips") as task:
        task.advance(state.clips)
        while state.step < steps:
            _step(job, parts, state, batches, task)
            asked = _asked(parts, stop)
            _let_first_write(job, parts, partial(_save, job, parts, state, now=asked))
            if asked:
                _stop(job, progress)


def _step(job: Job, parts: Parts, state: RunState, batches: Iterator[Batch], task: Task) -> None:
    """One update of the weights, and its bookkeeping in `state`."""
    began = time.perf_counter()
    config = job.config
    rate = parts.timetable.rate(state.epoch, state.step, plateau_factor=parts.plateau.factor)
    set_rate(parts.optimizer, rate)
    seen: list[int] = []
    for number in range(parts.accumulate):
        with parts.team.together():
            batch = next(batches)
        rng = stream(config.seed, "batch", state.epoch, state.step, 0, 0)
        # Of dropout, which draws from torch's own generator: each micro-batch and process has other seeds.
        torch.manual_seed(int(rng.integers(2**63)) + parts.team.ranks * number + parts.team.rank)
        with parts.fabric.no_backward_sync(parts.model, enabled=number + 1 < parts.accumulate):
            result = parts.objective(parts.model, batch, parts.fabric.device, rng, parts.portion(number))
            with parts.team.together():
                _require_finite("loss", result.loss.detach(), job, batch.rows, state)
            clips = _count(parts, state, float(result.loss.detach()) * len(batch), result.correct, len(batch))
            # DDP weighs all processes alike; where they have not equally many clips, each counts by its own.
            share = len(batch) * parts.team.ranks / clips
            parts.fabric.backward(result.loss * share / parts.accumulate)
        seen += batch.rows
        task.advance(clips, note=f"loss {state.loss_sum / state.clips:.3f}")
    norm = parts.fabric.clip_gradients(
        parts.model, parts.optimizer, max_norm=config.clip_grad_norm or math.inf, error_if_nonfinite=False
    )
    # The scaler of 16-mixed overflows on purpose now and then, and skips that step.
    if norm is not None and config.precision != "16-mixed":
        with parts.team.together():
            _require_finite("gradient norm", norm, job, seen, state)
    parts.optimizer.step()
    parts.optimizer.zero_grad()
    if parts.average:
        parts.average.update()
    state.step += 1
    state.seconds += time.perf_counter() - began


def _require_finite(what: str, value: torch.Tensor, job: Job, rows: Sequence[int], state: RunState) -> None:
    refuse_non_finite(what, value, [job.train.name(row) for row in rows], state.epoch, state.step)


def _count(parts: Parts, state: RunState, loss: float, correct: int, clips: int) -> int:
    """Add one micro-batch of every process to the sums of the epoch; how many clips they have together."""
    sums = parts.team.sum(loss, correct, clips)
    state.loss_sum += sums[0]
    state.correct += int(sums[1])
    state.clips += int(sums[2])
    return int(sums[2])


def _close_epoch(job: Job, parts: Parts, state: RunState, progress: Progress) -> EpochRow:
    """Validate, and keep the weights if they are the best so far."""
    row = parts.fabric.broadcast(validate(job, parts, state, progress))  # the first process's clock counts
    if row.val_loss is not None:
        parts.plateau.observe(row.val_loss)
    state.plateau = parts.plateau.remember()
    # Accuracy on few videos moves in steps and ties often; the loss decides among equals.
    value: tuple[float, ...] = ()
    if row.val_video_accuracy is not None and row.val_loss is not None:
        value = (row.val_video_accuracy, -row.val_loss)
    state.finish_epoch(row)
    if value and (not state.best or value > tuple(state.best)):
        state.best = value
        _let_first_write(job, parts, partial(save_weights, job.folder.best, parts.network, job.card))
    return row


def _write(job: Job, parts: Parts, state: RunState, board: SummaryWriter | None, *, now: bool) -> None:
    """The files of the folder that grow; the state last, so that what it promises is there.

    Short epochs would spend their time on writing: the large files are written when a state is due or `now`.
    """
    job.folder.write_metrics(state.rows)
    if board is not None:
        job.folder.write_scalars(board, state.rows[-1])
    if not (now or parts.clock.due):
        return
    with parts.as_kept():
        save_weights(job.folder.last, parts.network, job.card)
        if not state.best:  # nothing was validated, so the last is the best
            save_weights(job.folder.best, parts.network, job.card)
    write_curves(job.folder.curves, state.rows)
    _save(job, parts, state, now=True)


def _save(job: Job, parts: Parts, state: RunState, *, now: bool) -> None:
    """The state, where one is due or wanted `now`."""
    if now or parts.clock.due:
        save_state(job.folder.state, state, parts.network, parts.optimizer, parts.average, parts.arithmetic)
        parts.clock.restart()


def _let_first_write(job: Job, parts: Parts, write: Callable[[], None]) -> None:
    """Have the first process write; where it cannot, all stop."""
    with parts.team.together():
        if parts.team.first:
            with job.folder.writing():
                write()


def _asked(parts: Parts, stop: StopRequest) -> bool:
    """Whether any process was asked to stop: all must stop at the same step, or the others wait for ever."""
    return parts.team.sum(stop.requested)[0] > 0


@contextmanager
def _told_how_to_go_on(job: Job, progress: Progress) -> Iterator[None]:
    """Where clips cannot be read any more, such as from a server that is down: the run is as good as stopped."""
    try:
        yield
    except (DataError, MediaError):
        _tell_how_to_go_on(job, progress)
        raise
    except (RuntimeError, ConnectionError, EOFError) as error:
        # A process that dies while it hands a batch over is first seen as a connection that ends.
        if isinstance(error, RuntimeError) and not is_lost_reader(error):
            raise
        raise TrainingError(
            f"a process that reads clips has ended: {str(error).partition(chr(10))[0] or type(error).__name__}",
            allowed="readers that live as long as the run; the system kills them where memory runs out",
            next_step=f"see that there is memory, then go on with: kinema train --resume {job.folder.whole.path}",
        ) from error


def _stop(job: Job, progress: Progress) -> None:
    _tell_how_to_go_on(job, progress)
    raise KeyboardInterrupt


def _tell_how_to_go_on(job: Job, progress: Progress) -> None:
    so_far = f"; weights so far in {job.folder.best}" if job.folder.best.exists() else ""
    progress.log(f"stopped{so_far}; go on with: kinema train --resume {job.folder.whole.path}")
