"""One process's share of a study: claim a run that nobody trains, train it, tell of it, until none is left."""

from __future__ import annotations

import gc
import os
import signal
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal

import torch

from kinema.core.claims import Claim, Claims
from kinema.core.errors import DataError, KinemaError
from kinema.core.progress import Progress, Silent, Task
from kinema.studies.folder import StudyFolder, drop_spent, failure, standing, write_done, write_failure, write_planned
from kinema.studies.grid import Grid, RunPlan
from kinema.training.experiment import Outcome, train

__all__ = ["News", "earlier_failures", "unfinished", "work"]

POLL_SECONDS = 2.0
MOST_DEATHS = 3


@dataclass(frozen=True)
class News:
    """Something that happened to a run: its name, the error if it failed, and how long it took if it is done."""

    kind: Literal["began", "done", "failed", "lost"]
    run: str
    error: str = ""
    seconds: float = 0.0


class _BarsOnly(Silent):
    """The bars of a training without its lines, of which a grid would draw thousands."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def task(self, description: str, total: int | None, unit: str, done: int = 0) -> AbstractContextManager[Task]:
        return self._progress.task(description, total, unit, done)


def earlier_failures(runs: Sequence[RunPlan]) -> dict[str, int]:
    """The failures that were there when a call began, which it tries again; later ones it does not."""
    return {run.name: failed.mark for run in runs if (failed := failure(run)) is not None}


def unfinished(runs: Sequence[RunPlan], earlier: Mapping[str, int]) -> list[RunPlan]:
    """Runs that are neither done nor have failed, or must fail, in this call."""
    failed = {run.name for run in runs if _failed_now(run, earlier)}
    return [run for run in runs if run.name not in failed and run.after not in failed and standing(run) != "done"]


def work(
    grid: Grid,
    earlier: Mapping[str, int],
    *,
    tell: Callable[[News], None],
    progress: Progress | None = None,
    poll_seconds: float = POLL_SECONDS,
) -> None:
    """Train runs until every run is done or has failed, be it here or elsewhere.

    Args:
        grid: the study, whose mistakes were looked for.
        earlier: what `earlier_failures` gave when the call began.
        tell: called with what happens.
        progress: where the bars of a training go.
        poll_seconds: how long to wait while others train all that is left.

    Raises:
        KeyboardInterrupt: Ctrl-C; the run that was being trained is saved, and its claim let go.
    """
    claims = Claims(StudyFolder(grid.out).claims)
    while left := unfinished(grid.all, earlier):
        if not any(_attempt(run, grid, claims, earlier, tell, progress) for run in left):
            time.sleep(poll_seconds)


def _attempt(
    run: RunPlan,
    grid: Grid,
    claims: Claims,
    earlier: Mapping[str, int],
    tell: Callable[[News], None],
    progress: Progress | None,
) -> bool:
    """Train one run if it can be begun and nobody else does; whether it was tried."""
    if run.after is not None and not _is_ready(run.after, grid):
        return False
    claim = claims.claim(run.name)
    if claim is None:
        return False
    with claim.keep_alive(_interrupt):
        # Between the look and the claim another may have finished it.
        if standing(run) == "done" or _failed_now(run, earlier):
            return True
        if claims.deaths(run.name) >= MOST_DEATHS:
            error = f"its process died {MOST_DEATHS} times while it was trained, as for want of memory"
            write_failure(run, error)
            tell(News("failed", run.name, error))
            return True
        tell(News("began", run.name))
        tell(_train(run, claim, progress))
    if standing(run) == "done" and not claim.lost:
        drop_spent(run, keep_weights=grid.study.keep_weights)
        claim.forget()
    return True


def _train(run: RunPlan, claim: Claim, progress: Progress | None) -> News:
    began = time.monotonic()
    failed: tuple[str, str] | None = None  # for the folder, and on a line
    try:
        write_planned(run)
        outcome = train(
            run.config,
            run.folder,
            resumed=(run.folder / "config.yaml").exists(),
            progress=_BarsOnly(progress) if progress else None,
        )
        _require_test(run, outcome)
    except KeyboardInterrupt:
        if claim.lost:
            return News("lost", run.name)
        raise
    except KinemaError as error:
        failed = str(error), error.given
    except Exception as error:  # noqa: BLE001 - whatever ends one run, the others go on, and it is told
        failed = traceback.format_exc(), f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
    finally:
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    if claim.lost:  # the folder belongs to who took it over
        return News("lost", run.name)
    if failed is not None:
        write_failure(run, failed[0])
        return News("failed", run.name, failed[1])
    seconds = time.monotonic() - began
    write_done(run, seconds)
    return News("done", run.name, seconds=seconds)


def _require_test(run: RunPlan, outcome: Outcome) -> None:
    if outcome.test is None and not run.pretrains:
        raise DataError(
            "nothing was held out to be tested", allowed="folds, a test_fraction or a split column with test videos"
        )


def _interrupt() -> None:
    """Have the training stop after its step, as Ctrl-C does: another process has taken the run over."""
    os.kill(os.getpid(), signal.SIGINT)


def _is_ready(name: str, grid: Grid) -> bool:
    return standing(next(run for run in grid.pretrainings if run.name == name)) == "done"


def _failed_now(run: RunPlan, earlier: Mapping[str, int]) -> bool:
    failed = failure(run)
    return failed is not None and failed.mark != earlier.get(run.name)
