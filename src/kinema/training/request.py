"""What a person asks for, as a training: settings in layers, a run to go on with."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kinema.core.errors import UsageError
from kinema.core.progress import Progress
from kinema.models.published import weights_path
from kinema.models.weights import read_card
from kinema.training.config import TrainConfig
from kinema.training.experiment import Outcome, train, weights_address
from kinema.training.processes import is_first
from kinema.training.recipe import (
    ALTERNATIVES,
    DEFAULT_RECIPE,
    load_recipe,
    make_config,
    parse_assignments,
    settings_of,
)
from kinema.training.run import RunFolder
from kinema.training.source import address_of, name_of

__all__ = ["begin", "resume"]


def begin(
    settings: Mapping[str, Any],
    *,
    recipe: Path | None = None,
    assignments: Sequence[str] = (),
    out: Path | None = None,
    repeated: bool = False,
    progress: Progress | None = None,
) -> Outcome:
    """Train as the command line asks.

    Args:
        settings: fields of TrainConfig given by name.
        recipe: YAML file of further fields, or the name of one of kinema's own; `kinema-small` where
            neither it nor a model nor weights are given.
        assignments: `key=value` texts.
        out: the run folder; `runs/DATA-MODEL` unless given.
        repeated: go on with the run in that folder where these settings began one, as those do who give one
            command again and again.
        progress: where bars and lines go.

    Raises:
        UsageError: a field given twice with different values, unknown, out of range, or no data; or the run
            that is to be repeated was begun with others.
    """
    progress = progress if is_first(os.environ) else None
    assigned = parse_assignments(list(assignments))
    for key in assigned.keys() & settings.keys():
        if str(assigned[key]) != str(settings[key]):
            raise UsageError(
                f"--{key.replace('_', '-')} {settings[key]} and --set {key}={assigned[key]} contradict each other",
                allowed="each setting once",
                next_step="leave one of them out",
            )
    given = {**assigned, **settings}
    _require_one_way(given)
    named = {"model", "weights"} & {*assigned, *settings}
    if recipe is None and not named:
        recipe = Path(DEFAULT_RECIPE)
    layers = [load_recipe(recipe) if recipe else {}, given]
    weights = next((layer["weights"] for layer in reversed(layers) if layer.get("weights")), None)
    if weights is not None and not any("model" in layer for layer in layers):
        layers.insert(0, settings_of(read_card(weights_path(weights, progress=progress))))
    if not any("data" in layer for layer in layers):
        raise UsageError(
            "no data to train on",
            allowed="a folder of class folders, a manifest, or a packed data set",
            next_step="kinema train DATA, or kinema train --resume RUN",
        )
    config = make_config(*layers)
    if recipe is not None and progress is not None:
        progress.log(f"settings from the recipe {recipe}")
    folder = out or Path("runs") / f"{name_of(config.data)}-{config.model}"
    if repeated:
        config = _as_begun(config, folder)
    return train(config, folder, repeated=repeated, progress=progress)


def resume(folder: Path, others: Mapping[str, Any], *, progress: Progress | None = None) -> Outcome:
    """Go on with an interrupted run, as if nothing had happened.

    Args:
        folder: its run folder.
        others: settings given beside; a run goes on with its own, so any that differs is refused.
        progress: where bars and lines go.

    Raises:
        UsageError: no run there, or a setting that differs from the run's own.
    """
    config = RunFolder(folder).settings()
    for key, value in others.items():
        if str(getattr(config, key, None)) != str(_as_written(key, value)):
            raise UsageError(
                f"--{key.replace('_', '-')} {value} beside --resume",
                allowed=f"the settings of the run itself, in {RunFolder(folder).config}",
                next_step="leave it out, or start a new run with --out",
            )
    return train(config, folder, resumed=True, progress=progress)


def _require_one_way(given: Mapping[str, Any]) -> None:
    for one, other in ALTERNATIVES:
        if given.get(one) is not None and given.get(other) is not None:
            raise UsageError(
                f"{one} {given[one]} and {other} {given[other]} say the same thing in two ways",
                allowed="one of them",
                next_step="leave out the other",
            )


def _as_begun(config: TrainConfig, folder: Path) -> TrainConfig:
    """The settings that a run in `folder` was begun with, where there is one and they are those of `config`."""
    written = RunFolder(folder).config
    if not written.exists():
        return config
    begun = RunFolder(folder).settings()
    for key, value in begun.model_dump(exclude={"data_sha256"}).items():
        asked = _as_written(key, getattr(config, key))
        if asked != value:
            raise UsageError(
                f"{key} = {asked}, but the run in {folder} was begun with {value}",
                allowed=f"the settings in {written}",
                next_step="leave the setting as it was, or begin another run with --out",
            )
    return begun


def _as_written(key: str, value: Any) -> Any:
    """A setting as config.yaml has it."""
    if key == "data":
        return address_of(str(value))
    if key == "weights" and value is not None:
        return weights_address(str(value))
    return value.absolute() if isinstance(value, Path) else value
