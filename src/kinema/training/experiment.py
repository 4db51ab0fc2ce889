"""One call from a data set to tested weights: read, split, train, test, report; once, or fold by fold."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from kinema.core.errors import UsageError
from kinema.core.progress import Progress, Silent
from kinema.core.spec import InputSpec
from kinema.core.version import __version__
from kinema.evaluation.examine import (
    Examination,
    examine_samples,
    pool,
    report_of,
    write_examination,
)
from kinema.evaluation.figures import Run
from kinema.evaluation.part import describe_rule
from kinema.evaluation.protocol import Views
from kinema.evaluation.report import Fact, Protocol
from kinema.models.published import weights_path
from kinema.models.stochastic_depth import drop_paths
from kinema.models.weights import ModelCard, read_card, save_weights
from kinema.models.zoo import create_model, full_options
from kinema.training.checkpoint import RunState
from kinema.training.config import TrainConfig
from kinema.training.curves import as_run
from kinema.training.freezing import describe_training, plan_phases
from kinema.training.loop import fit
from kinema.training.parts import Job
from kinema.training.processes import connect, describe_group, group_errors, is_first, require_same
from kinema.training.run import RunFolder
from kinema.training.source import Division, Source, address_of, plan
from kinema.training.stopping import describe_end, ended_early
from kinema.training.team import TrainingTeam
from kinema.training.trackers import require_trackers, tracking_of
from kinema.training.tracking import Tracking, estimates_of

__all__ = ["Outcome", "require_network", "train", "weights_address"]


_TRAINED = "seconds of training, without validation and test"


@dataclass(frozen=True)
class Outcome:
    """What a training leaves behind.

    Attributes:
        folder: the run folder.
        weights: the weights to use: one file, or one a fold.
        test: figures on held-out videos; None where nothing was held out.
        report: the page that tells it all; None where nothing was held out.
        courses: the curves of each run.
        seconds: wall time of this call.
        main: whether this is the process that wrote and tested; of several, the first.
    """

    folder: Path
    weights: tuple[Path, ...]
    test: Examination | None
    report: Path | None
    courses: tuple[Run, ...]
    seconds: float
    main: bool = True

    def to_json(self) -> dict[str, Any]:
        """What `kinema train --json` ends with."""
        return {
            "folder": str(self.folder),
            "weights": [str(path) for path in self.weights],
            "test": self.test.to_json() if self.test else None,
            "report": str(self.report) if self.report else None,
            "seconds": self.seconds,
        }


def train(
    config: TrainConfig,
    out: Path,
    *,
    resumed: bool = False,
    repeated: bool = False,
    progress: Progress | None = None,
) -> Outcome:
    """Train, test and report, once or fold by fold as `config` says.

    Args:
        config: the settings.
        out: the run folder; must not hold a run unless `resumed` or `repeated`.
        resumed: go on with the run in it.
        repeated: go on with the run in it if there is one, else begin it.
        progress: where bars and lines go.

    Raises:
        KinemaError: of whichever part cannot go on; what was written so far can be resumed.
    """
    began = time.perf_counter()
    progress = progress if is_first(os.environ) else None
    # Mistakes are told before anything is written: the network fits its input, the data set is split.
    require_network(config)
    require_trackers(config)
    asked = config
    if config.weights is not None:
        config = config.model_copy(update={"weights": str(weights_path(config.weights, progress=progress))})
    planned = plan(config)
    folder = RunFolder(out)
    fabric = connect(config)
    shown = progress if progress and fabric.is_global_zero else Silent()
    with group_errors(fabric), ExitStack() as stack:
        with fabric.rank_zero_first():
            if fabric.is_global_zero:
                resumed = _enter(folder, stack, shown, resumed=resumed, repeated=repeated)
            source = planned.read(shown)
        resumed = fabric.broadcast(resumed)
        if fabric.is_global_zero:
            found = {
                "data": address_of(config.data),
                "data_sha256": planned.sha256,
                "weights": weights_address(asked.weights),
            }
            with folder.writing():
                config.model_copy(update=found).write(folder.config)
        if fabric.world_size > 1:
            shown.log(describe_group(fabric, config))
            require_same(fabric, "the data set", source.fingerprint, next_step="give every machine the same data")
            require_same(fabric, "kinema", __version__, next_step="install one version on every machine")
        bench = _Bench(config, source, fabric, shown)
        if config.folds is not None:
            return _cross_validate(bench, folder, resumed=resumed, began=began)
        result = bench.run(source.divisions[0], folder, resumed=resumed)
    report = None if result.test is None else folder.report
    seconds = time.perf_counter() - began
    return Outcome(out, (folder.best,), result.test, report, (result.course,), seconds, main=fabric.is_global_zero)


def _enter(folder: RunFolder, stack: ExitStack, progress: Progress, *, resumed: bool, repeated: bool) -> bool:
    """Own the folder until `stack` is left; whether the run in it is resumed."""
    if not (resumed or (repeated and folder.config.exists())):
        folder.begin()
    stack.enter_context(folder.owned(progress))
    # Another may have begun a run there, and ended it, before this process owned the folder.
    if repeated:
        return folder.config.exists()
    if not resumed:
        folder.begin()
    return resumed


@dataclass(frozen=True)
class _Result:
    """One trained network: its figures and its course."""

    test: Examination | None
    course: Run
    trained_seconds: float


@dataclass(frozen=True)
class _Bench:
    """What all folds of an experiment share."""

    config: TrainConfig
    source: Source
    fabric: Fabric
    progress: Progress

    def run(self, division: Division, folder: RunFolder, *, resumed: bool) -> _Result:
        """Train on one division, test what came of it, write the folder's closing files."""
        job = Job(
            config=self.config,
            train=division.train,
            val=division.val,
            card=self.card(division),
            videos=self.source.videos,
            folder=folder,
            data=self._identity(division),
        )
        with self.tracking(folder) as tracking:
            state = fit(job, self.fabric, resume=resumed, progress=self.progress, tracking=tracking)
            result = self._closing(division, folder, state)
            if result.test is not None:
                levels = [result.test.video.to_json(), result.test.clip.to_json()]
                tracking.conclude(estimates_of("test" if division.test else "val", levels))
        return result

    def tracking(self, folder: RunFolder) -> Tracking:
        """What shows the run in `folder` besides its files; the first process speaks for all."""
        return tracking_of(self.config, folder, self.progress) if self.fabric.is_global_zero else Tracking()

    def _identity(self, division: Division) -> str:
        """What a run is resumed on: how many videos are in which part, and which those are."""
        parts = {"train": sum(division.train.counts), "val": len(division.val), "test": len(division.test)}
        which = [
            division.record["fingerprint"],
            division.record["manifest_fingerprint"],
            sorted(file.path for file in self.source.broken),
        ]
        mark = hashlib.sha256(json.dumps(which).encode()).hexdigest()[:16]
        return f"{', '.join(f'{name} {count}' for name, count in parts.items())} ({mark})"

    def _closing(self, division: Division, folder: RunFolder, state: RunState) -> _Result:
        """Test what a training left, and write the folder's closing files."""
        name = "" if division.fold is None else f"fold {division.fold + 1}"
        course = as_run(name or folder.path.name, state.rows)
        if not (division.test or division.val):
            return _Result(None, course, state.trained_seconds)
        test = self._examine(division, folder)
        if not self.fabric.is_global_zero:
            return _Result(None, course, state.trained_seconds)
        card = self.card(division)
        predictor = folder.trained(self.config.device)
        metrics = tuple(
            {"protocol": f"{test.protocol.split}; {test.protocol.views}", **m.to_json()}
            for m in (test.video, test.clip)
        )
        facts = [Fact(_TRAINED, f"{state.trained_seconds:.0f}")]
        if ended_early(self.config, state.rows):
            facts.append(Fact("early stopping", describe_end(self.config, state.rows)))
        title = f"{self.title}, {name}" if name else self.title
        with folder.writing():
            save_weights(folder.best, predictor.model, replace(card, metrics=metrics))
            write_examination(folder.path, test, report_of(title, test, card, runs=(course,), facts=tuple(facts)))
        return _Result(test, course, state.trained_seconds)

    @property
    def title(self) -> str:
        """What reports are called."""
        return f"{self.config.model} on {Path(self.source.name).stem}"

    def _examine(self, division: Division, folder: RunFolder) -> Examination:
        part = "test" if division.test else "val"
        return examine_samples(
            folder.trained(str(self.fabric.device)),
            division.test or division.val,
            cache=self.source.videos,
            views=Views(self.config.eval_hop),
            split=part,
            protocol=self.protocol(division, part),
            root=self.source.root,
            broken=self.source.broken,
            notes=(*division.notes, *self.source.notes),
            progress=self.progress,
            team=TrainingTeam(self.fabric),
        )

    def protocol(self, division: Division, part: str, *, pooled: bool = False) -> Protocol:
        """How the figures of `part` come about, in words."""
        said = describe_rule({**division.record, "fold": None} if pooled else division.record)
        chosen = "last epoch" if not division.val else "epoch with the best validation video accuracy"
        return Protocol(
            split=said,
            views=Views(self.config.eval_hop).describe(self.config.input_spec.clip.frames),
            samples="held-out" if part == "test" else "validation",
            note=f"{'average of the weights up to' if self.config.ema else 'weights of'} the {chosen}",
        )

    def card(self, division: Division) -> ModelCard:
        """What the weights trained on `division` will say about themselves, metrics aside."""
        source = self.source
        spec = replace(_input_spec(self.config), flow=source.flow.spec if source.flow else None)
        return ModelCard(
            architecture=self.config.model,
            options=full_options(self.config.model, self.config.model_options),
            in_channels=spec.channels,
            labels=source.labels,
            input=spec,
            provenance={
                "kinema": __version__,
                "date": dt.datetime.now(dt.timezone.utc).date().isoformat(),
                "data": source.name,
                "data_fingerprint": source.fingerprint,
                **source.provenance,
                "split": division.record,
                "recipe": self.config.model_dump(mode="json", exclude={"data", "data_sha256", "weights"}),
                **({"flow": source.flow.to_json()} if source.flow else {}),
                "started_from": Path(self.config.weights).name if self.config.weights else "random weights",
                "trained": describe_training(self.config, source.labels.count),
            },
        )


def _cross_validate(bench: _Bench, folder: RunFolder, *, resumed: bool, began: float) -> Outcome:
    """Each fold held out once, all answers pooled."""
    source, divisions = bench.source, bench.source.divisions
    tests, courses, weights, trained = [], [], [], 0.0
    for number, division in enumerate(divisions, start=1):
        one = folder.fold(number)
        bench.progress.log(
            f"fold {number}/{len(divisions)}: {len(division.train)} train, {len(division.test)} held out"
        )
        result = bench.run(division, one, resumed=resumed)
        if result.test is not None:
            tests.append(result.test)
        courses.append(result.course)
        trained += result.trained_seconds
        weights.append(one.best)
    if not bench.fabric.is_global_zero:
        return Outcome(folder.path, tuple(weights), None, folder.report, tuple(courses), 0.0, main=False)
    pooled = pool(
        [video for test in tests for video in test.scored],
        source.labels,
        split="test",
        protocol=bench.protocol(divisions[0], "test", pooled=True),
        root=source.root,
        broken=source.broken,
        notes=(*dict.fromkeys(note for division in divisions for note in division.notes), *source.notes),
    )
    seconds = time.perf_counter() - began
    card = bench.card(divisions[0])
    title = f"{bench.title}, {len(divisions)} folds"
    facts = (Fact(f"{_TRAINED}, all folds", f"{trained:.0f}"),)
    report = report_of(title, pooled, card, runs=tuple(courses), facts=facts)
    with folder.writing():
        write_examination(folder.path, pooled, report)
    return Outcome(folder.path, tuple(weights), pooled, folder.report, tuple(courses), seconds)


def require_network(config: TrainConfig) -> None:
    """Refuse what the network cannot be: fed like this, trained from such stages, or skipped in part.

    Raises:
        UsageError: saying which, and what it could be.
    """
    with torch.device("meta"):
        network = create_model(config.model, 1, config.input_spec.channels, **config.model_options)
    plan_phases(network, config)
    if config.drop_path:
        drop_paths(network, config.drop_path)


def weights_address(weights: str | None) -> str | None:
    """Weights as they are called wherever a run is resumed from: the whole path of a file, or their name."""
    return str(Path(weights).absolute()) if weights and Path(weights).exists() else weights


def _input_spec(config: TrainConfig) -> InputSpec:
    """What the network is fed: as configured, with the pixel statistics of the weights it starts from."""
    spec = config.input_spec
    if config.weights is None:
        return spec
    known = read_card(config.weights).input
    if known.modality != spec.modality:
        raise UsageError(
            f"modality {spec.modality} for weights trained on {known.modality}",
            allowed=f"modality {known.modality}",
            next_step="leave out the modality, or --weights",
        )
    return replace(spec, mean=known.mean, std=known.std, value_range=known.value_range)
