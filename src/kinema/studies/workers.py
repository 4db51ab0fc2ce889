"""Several processes of this machine on one study, and what a person sees of it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from statistics import fmean
from types import FrameType
from typing import Any

import torch

from kinema.core.errors import TrainingError
from kinema.core.progress import Progress, Task
from kinema.studies.folder import StudyFolder, drop_spent, failure, seconds_of, standing
from kinema.studies.grid import Grid
from kinema.studies.results import answer_of
from kinema.studies.work import News, earlier_failures, unfinished, work

__all__ = ["Course", "run_study"]

_LOOK_SECONDS = 5.0
_ADOPTION_SECONDS = 3.0


@dataclass(frozen=True)
class Course:
    """How a call ended.

    Attributes:
        done: runs and pretrainings that are finished, here or elsewhere, now or before.
        failed: the error of each that failed.
        missing: those that could not be run, such as for want of a pretraining that failed.
    """

    done: tuple[str, ...]
    failed: Mapping[str, str]
    missing: tuple[str, ...]


def run_study(grid: Grid, *, workers: int, progress: Progress) -> Course:
    """Run what is left of a study.

    Args:
        grid: the study, checked.
        workers: processes on this machine; one: this process itself.
        progress: where bars and lines go.

    Raises:
        UsageError: runs in the folder have other settings.
        KeyboardInterrupt: Ctrl-C; what was being trained is saved.
    """
    StudyFolder(grid.out).begin(grid)
    earlier = earlier_failures(grid.all)
    done = [run for run in grid.all if standing(run) == "done"]
    for run in done:  # of a process that was killed before it could
        drop_spent(run, keep_weights=grid.study.keep_weights)
    if done:
        progress.log(f"{len(done)} of {len(grid.all)} runs are finished already")
    with progress.task("runs", len(grid.all), "runs", len(done)) as task:
        show = _Show(grid, task, progress, workers)
        try:
            if workers == 1:
                work(grid, earlier, tell=show.tell, progress=progress)
            else:
                _in_processes(grid, earlier, workers, show)
        except KeyboardInterrupt:
            left = len(unfinished(grid.all, earlier))
            progress.log(f"stopped, {left} of {len(grid.all)} runs are left; the same command goes on with them")
            raise
        show.count()
    return course_of(grid)


def course_of(grid: Grid) -> Course:
    """How the runs stand now."""
    stand = {run.name: standing(run) for run in grid.all}
    errors = {run.name: failed.error for run in grid.all if (failed := failure(run)) and stand[run.name] != "done"}
    missing = [name for name, how in stand.items() if how != "done" and name not in errors]
    return Course(tuple(name for name, how in stand.items() if how == "done"), errors, tuple(missing))


class _Show:
    """The bar of the grid and a line for each run."""

    def __init__(self, grid: Grid, task: Task, progress: Progress, workers: int) -> None:
        self._runs = {run.name: run for run in grid.all}
        self._task = task
        self._progress = progress
        self._workers = workers
        self._counted = {name for name, run in self._runs.items() if standing(run) == "done"}
        self._seconds: dict[bool, list[float]] = {True: [], False: []}  # of pretrainings, and of runs
        self._at_work: dict[str, None] = {}

    def tell(self, news: News) -> None:
        """Show what happened."""
        if news.kind == "began":
            self._at_work[news.run] = None
        else:
            self._at_work.pop(news.run, None)
        if news.kind == "failed":
            self._progress.log(f"{news.run}: failed: {news.error}")
        if news.kind == "done":
            self._seconds[self._runs[news.run].pretrains].append(news.seconds)
        self.count()

    def count(self) -> None:
        """Take in all runs that are finished by now, other machines' too."""
        for name, run in self._runs.items():
            if name not in self._counted and standing(run) == "done":
                self._counted.add(name)
                self._task.advance(1)
                figure = "" if run.pretrains else f"{answer_of(run)}  "
                self._progress.log(
                    f"{len(self._counted)}/{len(self._runs)}  {name}  {figure}{seconds_of(run):.0f} s{self._left()}"
                )
        self._task.advance(0, note=", ".join(self._at_work))

    def _left(self) -> str:
        left = [run.pretrains for name, run in self._runs.items() if name not in self._counted]
        known = [seconds for both in self._seconds.values() for seconds in both]
        if not left or not known:
            return ""
        means = {kind: fmean(own or known) for kind, own in self._seconds.items()}
        seconds = sum(means[kind] for kind in left) / self._workers
        for unit, length in (("h", 3600), ("min", 60)):
            if seconds > 1.5 * length:
                return f"; about {seconds / length:.1f} {unit} left"
        return f"; about {seconds:.0f} s left"


def _in_processes(grid: Grid, earlier: Mapping[str, int], workers: int, show: _Show) -> None:
    context = multiprocessing.get_context("spawn")  # a fork would share what torch has begun
    processes: list[BaseProcess] = []
    ends: list[Connection] = []
    with _Stopper(processes) as stopper:
        for number in range(workers):
            # A pipe each: of one queue for all, a process that is killed while it writes would leave the lock taken.
            hears, tells = context.Pipe(duplex=False)
            # Not daemons, which may have no children: a run may have processes that read its clips.
            process: BaseProcess = context.Process(target=_worker, args=(grid, dict(earlier), tells), daemon=False)
            with _environment(_share(number, workers)):
                process.start()
            tells.close()  # so that the end of the process is the end of the pipe
            processes.append(process)
            ends.append(hears)
        while ends:
            for end in wait(ends, timeout=_LOOK_SECONDS):
                _hear(end, ends, show)
            show.count()
        for process in processes:
            process.join()
    if stopper.asked:
        raise KeyboardInterrupt
    killed = [process for process in processes if process.exitcode]
    if killed and unfinished(grid.all, earlier):
        raise TrainingError(
            f"{len(killed)} of {workers} processes ended before the study did (exit codes "
            f"{', '.join(str(process.exitcode) for process in killed)})",
            allowed="processes that are left alone, with memory for each",
            next_step="run the same command again, with fewer --workers",
        )


def _hear(end: Any, ends: list[Connection], show: _Show) -> None:
    """Show what a process has told; one that is gone tells no more."""
    try:
        show.tell(end.recv())
    except (EOFError, OSError):
        ends.remove(end)


class _Stopper:
    """While entered, Ctrl-C and SIGTERM are handed on to the processes, and this one waits for them.

    They are in process groups of their own: a terminal sends Ctrl-C to a whole group, and twice would
    mean to leave at once.
    """

    def __init__(self, processes: Sequence[BaseProcess]) -> None:
        self.asked = 0
        self._processes = processes
        self._before: dict[int, Any] = {}

    def __enter__(self) -> _Stopper:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._hand_on)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _hand_on(self, number: int, frame: FrameType | None) -> None:
        self.asked += 1
        for process in self._processes:
            if process.is_alive() and process.pid is not None:
                os.kill(process.pid, signal.SIGINT if self.asked <= 2 else signal.SIGKILL)


def _worker(grid: Grid, earlier: Mapping[str, int], tells: Connection) -> None:
    """What a process does."""
    os.setpgrp()
    _leave_with(os.getppid())
    # Without the process that listens, which was killed, this one stops, too.
    with suppress(KeyboardInterrupt, BrokenPipeError):
        work(grid, earlier, tell=tells.send)


def _leave_with(parent: int) -> None:
    """Stop, as by Ctrl-C, once the process that began this one is gone."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_ADOPTION_SECONDS)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=watch, daemon=True).start()


def _share(number: int, workers: int) -> dict[str, str]:
    """The variables of one process of several: its threads, and a GPU where there are any."""
    threads = max(1, (os.cpu_count() or 1) // workers)
    share = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads))}
    if gpus := torch.cuda.device_count():
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(gpus)))).split(",")
        share["CUDA_VISIBLE_DEVICES"] = visible[number % len(visible)]
    return share


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
