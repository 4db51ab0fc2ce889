"""Weights & Biases and MLflow, each through its own client."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from itertools import islice
from typing import Any

from kinema.core.errors import UsageError
from kinema.core.progress import Progress
from kinema.training.config import TrainConfig
from kinema.training.run import RunFolder
from kinema.training.tracking import About, Tracker, Tracking

__all__ = ["Mlflow", "Wandb", "require_trackers", "tracking_of"]

_PROJECT = "kinema"
_MLFLOW_BATCH = 100  # parameters that its servers take at once


def require_trackers(config: TrainConfig) -> None:
    """Refuse trackers whose library is not installed.

    Raises:
        UsageError: one is missing.
    """
    for name in config.track:
        if find_spec(name) is None:
            raise UsageError(
                f"track {name}, but its library is not installed",
                allowed="TensorBoard's files, which every run writes",
                next_step=f"pip install 'kinema[{name}]'",
            )


def tracking_of(config: TrainConfig, folder: RunFolder, progress: Progress) -> Tracking:
    """What shows the run in `folder`."""
    fold = folder.whole.path != folder.path
    about = About(
        name=f"{folder.whole.path.name}/{folder.path.name}" if fold else folder.path.name,
        group=folder.whole.path.name if fold else "",
        folder=folder.path,
        run=folder.whole.path,
        settings=config.model_dump(mode="json"),
    )
    kinds: Mapping[str, type[Tracker]] = {"wandb": Wandb, "mlflow": Mlflow}
    return Tracking([kinds[name]() for name in config.track], about, progress=progress)


class Wandb:
    """Weights & Biases; WANDB_PROJECT, WANDB_MODE and its other variables apply."""

    name = "wandb"

    def open(self, about: About, run: str) -> tuple[str, int]:
        """A run of the project, resumed under the name it was begun with."""
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # to its makers, whom nobody asked to show a run to
        wandb: Any = import_module("wandb")
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", _PROJECT),
            id=run or secrets.token_hex(4),
            resume="allow",
            name=about.name,
            group=about.group or None,
            config=dict(about.settings),
            dir=str(about.folder),
            settings=wandb.Settings(silent=True, console="off", init_timeout=60),
        )
        return str(self._run.id), max(0, int(self._run.step) - 1)

    def send(self, epoch: int, values: Mapping[str, float]) -> None:
        """A row; sent by a process of wandb's own."""
        self._run.log({"epoch": epoch, **values}, step=epoch)

    def conclude(self, figures: Mapping[str, float], *, ended: bool) -> None:
        """Figures into the summary; a run that was stopped is shown as such."""
        self._run.summary.update(dict(figures))
        self._run.finish(exit_code=0 if ended else 1)


class Mlflow:
    """MLflow; MLFLOW_TRACKING_URI, MLFLOW_EXPERIMENT_NAME and its other variables apply."""

    name = "mlflow"

    def open(self, about: About, run: str) -> tuple[str, int]:
        """A run of the experiment, made or gone on with."""
        # Its client would try for minutes; rows are offered again with the next epoch anyhow.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # a run is shown where its owner asks, nowhere else
        self._client: Any = import_module("mlflow").MlflowClient()
        self._entities: Any = import_module("mlflow.entities")
        if run:
            self._run = run
            self._client.update_run(run, status="RUNNING")
            history = self._client.get_metric_history(run, "train_loss")
            return run, max((point.step for point in history), default=0)
        title = os.environ.get("MLFLOW_EXPERIMENT_NAME", _PROJECT)
        known = self._client.get_experiment_by_name(title)
        experiment = known.experiment_id if known else self._client.create_experiment(title)
        tags = {"mlflow.source.name": "kinema", **({"group": about.group} if about.group else {})}
        self._run = self._client.create_run(experiment, run_name=about.name, tags=tags).info.run_id
        settings = iter(about.settings.items())
        while part := list(islice(settings, _MLFLOW_BATCH)):
            self._client.log_batch(
                self._run, params=[self._entities.Param(name, str(value)[:500]) for name, value in part]
            )
        return self._run, 0

    def send(self, epoch: int, values: Mapping[str, float]) -> None:
        """All figures of an epoch in one request."""
        now = int(time.time() * 1000)
        self._client.log_batch(
            self._run, metrics=[self._entities.Metric(name, value, now, epoch) for name, value in values.items()]
        )
        self._epoch = epoch

    def conclude(self, figures: Mapping[str, float], *, ended: bool) -> None:
        """Figures that are not there yet, and the end of the run."""
        known = self._client.get_run(self._run).data.metrics
        new = {name: value for name, value in figures.items() if known.get(name) != value}
        if new:
            self.send(getattr(self, "_epoch", 0), new)
        self._client.set_terminated(self._run, "FINISHED" if ended else "KILLED")
