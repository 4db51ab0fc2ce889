"""The runs of a study: every combination of levels as the configuration of one training, checked before any begins."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import product
from pathlib import Path
from typing import Any

from kinema.core.errors import DataError, KinemaError, UsageError, shortened
from kinema.models.hub import HubAddress
from kinema.models.published import weights_path
from kinema.models.records.lookup import is_record
from kinema.models.weights import read_card
from kinema.studies.study import Settings, Study, read_study
from kinema.training.config import TrainConfig
from kinema.training.recipe import ALTERNATIVES, list_recipes, load_recipe, make_config, merge, settings_of
from kinema.video.source import is_url

__all__ = ["Grid", "Mistakes", "RunPlan", "lay_out", "matches"]

HOST_SETTINGS = ("data_sha256", "device", "save_seconds", "track", "workers")
"""What may differ from machine to machine, and makes no other run."""

_LONGEST_NAME = 120


@dataclass(frozen=True)
class RunPlan:
    """One training of a study.

    Attributes:
        name: readable, and the name of its folder.
        folder: where it is trained.
        levels: level by axis, in the order of the axes.
        config: all settings; `weights` may be those that `after` is still to make.
        record: the settings as runs are told apart by: paths as the study writes them, nothing of the machine.
        after: name of the pretraining that makes the weights to start from; None without one.
        pretrains: whether this is a pretraining, of which no table tells.
    """

    name: str
    folder: Path
    levels: Mapping[str, str]
    config: TrainConfig
    record: Mapping[str, Any]
    after: str | None = None
    pretrains: bool = False


@dataclass(frozen=True)
class Grid:
    """A study laid out.

    Attributes:
        path: the study file.
        study: what it says.
        out: folder of everything that is made.
        pretrainings: what comes first.
        runs: what tables are made of.
    """

    path: Path
    study: Study
    out: Path
    pretrainings: tuple[RunPlan, ...]
    runs: tuple[RunPlan, ...]

    @property
    def all(self) -> tuple[RunPlan, ...]:
        """Pretrainings, then runs."""
        return (*self.pretrainings, *self.runs)


@dataclass
class Mistakes:
    """What is wrong with runs: each mistake once, with all the runs that have it."""

    found: dict[str, tuple[KinemaError, list[str]]] = field(default_factory=dict)

    def note(self, run: str, error: KinemaError) -> None:
        """Keep one for `tell`."""
        self.found.setdefault(str(error), (error, []))[1].append(run)

    def tell(self) -> None:
        """Raise all of it, if there is any, as what the first of them is."""
        if not self.found:
            return
        first = next(iter(self.found.values()))[0]
        lines = [
            f"{f'run {names[0]}' if len(names) == 1 else f'{len(names)} runs ({shortened(names, 3)})'}: {error.given}"
            for error, names in self.found.values()
        ]
        kind = DataError if isinstance(first, DataError) else UsageError
        raise kind("\n".join(lines), allowed=first.allowed, next_step=first.next_step)


def lay_out(path: Path, out: Path, *, device: str | None = None) -> Grid:
    """Read a study and lay out its runs.

    Args:
        path: the study file, which paths in it are relative to.
        out: folder of the study.
        device: where to train, over what the study says.

    Raises:
        UsageError: a study that cannot be read, or runs whose settings are wrong, by name.
    """
    study = read_study(path)
    found: list[RunPlan] = []
    mistakes = Mistakes()
    pretrainings: list[RunPlan] = []
    host: Settings = {} if device is None else {"device": device}
    for levels in _combinations(study):
        name = _folder_name(levels.items())
        try:
            layers = _layers(study, path.parent, levels)
            source = layers.pop("pretrained", None)
            first = None
            if source is not None:
                first = _pretraining(study, path.parent, out, levels, source, host)
                if first not in pretrainings:
                    pretrainings.append(first)
            found.append(_run(name, out / "runs" / name, levels, {**layers, **host}, path.parent, first))
        except KinemaError as error:
            mistakes.note(name, error)
    mistakes.tell()
    _require_distinct([*pretrainings, *found])
    if not found:
        raise UsageError(f"{path}: leave_out leaves no run", allowed="at least one run")
    return Grid(path, study, out, tuple(pretrainings), tuple(found))


def _combinations(study: Study) -> Iterator[dict[str, str]]:
    for chosen in product(*study.axes.values()):
        levels = dict(zip(study.axes, chosen, strict=True))
        if not any(matches(levels, where) for where in study.leave_out):
            yield levels


def matches(levels: Mapping[str, str], where: Mapping[str, tuple[str, ...]]) -> bool:
    """Whether a run at `levels` is among those that `where` names."""
    return all(levels.get(axis) in names for axis, names in where.items())


def _layers(study: Study, base: Path, levels: Mapping[str, str]) -> Settings:
    """The settings of a run, later ones over earlier ones; `pretrained` names its source, or is None."""
    layers = [study.settings]
    layers += [study.level(axis, level) for axis, level in levels.items()]
    layers += [override.settings for override in study.overrides if matches(levels, override.where)]
    return _merged(study, base, layers)


def _merged(study: Study, base: Path, layers: list[Settings]) -> Settings:
    """Layers over the study's data, and that over the recipe that the last of them names, wherever it stands."""
    recipe = next((layer["recipe"] for layer in reversed(layers) if layer.get("recipe")), study.recipe)
    own = {} if recipe is None else load_recipe(Path(recipe) if recipe in list_recipes() else base / recipe)
    data = {} if study.data is None else {"data": study.data}
    # A recipe may be a run's config.yaml, which names data of its own.
    every = [{key: value for key, value in layer.items() if key != "recipe"} for layer in (own, data, *layers)]
    merged = merge(*every, alternatives=(*ALTERNATIVES, ("weights", "pretrained")))
    if merged.get("pretrained") is not None and merged.get("weights") is not None:
        raise UsageError(
            f"pretrained {merged['pretrained']} and weights {merged['weights']}",
            allowed="one of them: the weights to start from",
        )
    if merged.get("weights") is not None and not any("model" in layer for layer in every):
        card = read_card(weights_path(_weights(base, str(merged["weights"]))))
        return merge(settings_of(card), merged)
    return merged


def _pretraining(
    study: Study, base: Path, out: Path, levels: Mapping[str, str], source: str, host: Settings
) -> RunPlan:
    plan = study.pretraining
    if plan is None or source not in plan.sources:
        raise UsageError(
            f"pretrained {source}, but pretraining has no such source",
            allowed=", ".join(plan.sources) if plan else "sources named in `pretraining:`",
        )
    chosen = {axis: levels[axis] for axis in plan.axes}
    layers = [study.settings]
    layers += [study.level(axis, level) for axis, level in chosen.items()]
    layers += [o.settings for o in study.overrides if set(o.where) <= set(chosen) and matches(chosen, o.where)]
    # One file of weights is wanted, of a whole network: neither folds nor frozen stages are handed down.
    layers += [{"folds": None, "train_from": None}, plan.settings, plan.sources[source]]
    settings = _merged(study, base, layers)
    if settings.pop("pretrained", None) is not None or settings["folds"] is not None:
        raise UsageError(
            f"pretraining on {source} with folds or pretrained weights",
            allowed="one training without folds, which may start from `weights`",
        )
    name = _folder_name([(None, source), *chosen.items()])
    folder = out / "pretraining" / name
    everything = {**settings, **host}
    return _run(f"pretraining,{name}", folder, {"source": source, **chosen}, everything, base, None, pretrains=True)


def _run(
    name: str,
    folder: Path,
    levels: Mapping[str, str],
    settings: Settings,
    base: Path,
    first: RunPlan | None,
    *,
    pretrains: bool = False,
) -> RunPlan:
    as_written = dict(settings)
    if as_written.get("data") is None:
        raise UsageError("no data to train on", allowed="`data:` of the study, of a level or of the settings")
    found: Settings = {"data": _data(base, str(as_written["data"]))}
    if first is not None:
        found["weights"] = str(first.folder.absolute() / "best.safetensors")
    elif as_written.get("weights") is not None:
        found["weights"] = _weights(base, str(as_written["weights"]))
    config = make_config(as_written, found)
    if config.devices > 1 or config.nodes > 1:
        raise UsageError(
            f"devices {config.devices}, nodes {config.nodes}",
            allowed="1: a run of a study has one device",
            next_step="spread the runs instead, with --workers or on several machines",
        )
    record = config.model_dump(mode="json", exclude=set(HOST_SETTINGS))
    record |= {"data": str(as_written["data"]), "weights": as_written.get("weights")}
    if first is not None:
        record |= {"weights": first.name, "pretraining": dict(first.record)}
    return RunPlan(name, folder, dict(levels), config, record, first.name if first else None, pretrains)


def _data(base: Path, data: str) -> str:
    return data if is_url(data) else str((base / data).absolute())


def _weights(base: Path, weights: str) -> str:
    if (base / weights).exists():
        return str((base / weights).absolute())
    if HubAddress.of(weights) or is_record(weights):
        return weights
    raise DataError(
        f"no weights at {base / weights}",
        allowed="a file, relative to the study, or a name of `kinema models list --weights`",
    )


def _folder_name(parts: Iterable[tuple[str | None, str]]) -> str:
    """Levels joined by commas; a number is told with its axis, if it is of one, since alone it would say nothing."""
    words = []
    for axis, level in parts:
        bare = axis is not None and re.fullmatch(r"[0-9.,+-]+", level)
        words.append(re.sub(r"[^\w.+=-]", "_", f"{axis}={level}" if bare else level))
    name = ",".join(words).lstrip(".-")
    if len(name.encode()) <= _LONGEST_NAME:
        return name
    mark = sha256(name.encode()).hexdigest()[:8]
    return f"{name.encode()[: _LONGEST_NAME - 9].decode(errors='ignore')}-{mark}"


def _require_distinct(runs: list[RunPlan]) -> None:
    by_name: dict[str, RunPlan] = {}
    for run in runs:
        other = by_name.setdefault(run.name.casefold(), run)
        if other is not run:
            raise UsageError(
                f"two runs would share the name {run.name}: {dict(other.levels)} and {dict(run.levels)}",
                allowed="names of levels and sources that differ in letters and digits",
            )
