"""The flow of a whole data set on disk, as a data set of its own; and what a data set of flow was made by.

OUT/manifest.csv                          the rows of DATA, each pointing to the flow of its video
OUT/flow/fight/a/flow.json                what it is
OUT/flow/fight/a/flow_x_00001.jpg ...     the fields of fight/a.mp4, or all of them in flow.mkv
"""

from __future__ import annotations

import math
import multiprocessing
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch

from kinema.core.errors import DataError, MediaError, UsageError
from kinema.core.progress import Progress, Silent
from kinema.core.spec import FlowSpec, Modality
from kinema.datasets.manifest import Manifest
from kinema.datasets.processes import read_apart
from kinema.datasets.sample import Sample, listing
from kinema.video.flow import FlowAlgorithm, FlowChoice, make_algorithm
from kinema.video.flow_record import FLOW_FILE, FlowRecipe, FlowSource, is_flow, read_record
from kinema.video.flow_writer import store_flow

__all__ = ["FlowReport", "compute_flow", "flow_recipe", "parse_fps", "require_modality"]

_MOST_WORKERS = 8
_MANIFEST = "manifest.csv"


@dataclass(frozen=True)
class FlowReport:
    """What `compute_flow` did.

    Attributes:
        manifest: the data set of flow, as written.
        recipe: how its flow is computed.
        computed: videos whose flow was computed now.
        found: videos whose flow was there already.
        fields: fields of all of these.
        broken: (path, reason) of each video, or segment, without flow, which the new manifest lacks.
    """

    manifest: Manifest
    recipe: FlowRecipe
    computed: int
    found: int
    fields: int
    broken: tuple[tuple[Path, str], ...]

    def to_json(self) -> dict[str, Any]:
        """What `kinema data flow --json` prints."""
        return {
            "schema": "kinema.flow_report",
            "version": 1,
            "manifest": str(self.manifest.source),
            "samples": len(self.manifest),
            "recipe": self.recipe.to_json(),
            "computed": self.computed,
            "found": self.found,
            "fields": self.fields,
            "broken": [{"path": str(path), "reason": reason} for path, reason in self.broken],
        }


@dataclass(frozen=True)
class _Result:
    """What became of one video: its number of fields, or why it has none."""

    path: Path
    fields: int = 0
    fresh: bool = False
    reason: str | None = None


def compute_flow(
    manifest: Manifest,
    out: Path,
    choice: FlowChoice,
    *,
    store: str = "jpeg",
    bound_px: float = 20.0,
    fps: Fraction = Fraction(25),
    short_side_px: int = 256,
    workers: int | None = None,
    progress: Progress | None = None,
) -> FlowReport:
    """Compute the flow of every video of `manifest` into `out`, and a manifest of it.

    Flow that is there already, of the same video by the same recipe, is kept: an interrupted run goes on.

    Args:
        manifest: videos, in files below its root.
        out: folder to write to.
        choice: the algorithm.
        store: as in `FlowRecipe`, as are the next three.
        bound_px: see there.
        fps: see there.
        short_side_px: see there.
        workers: processes; None: one a processor, at most 8, or one beside a GPU. 0 computes in this one.
        progress: shows how far it is.

    Raises:
        UsageError: OpenCV is missing, or `out` would mix with the data.
        DataError: `out` holds flow by another recipe, or not one video has flow.
    """
    shown = progress or Silent()
    algorithm = make_algorithm(choice)
    recipe = FlowRecipe(algorithm.name, algorithm.library, algorithm.parameters, bound_px, fps, short_side_px, store)
    target = Path(os.path.normpath(out.absolute()))
    folders = _folders(manifest, target)
    _require_apart(manifest, target)
    _require_same_recipe(folders.values(), recipe)
    count = _workers(choice) if workers is None else workers
    results: dict[Path, _Result] = {}
    with shown.task("computing flow", len(folders), "videos") as task:
        work = partial(_compute, folders=folders, recipe=recipe, choice=choice)
        for result in read_apart(work, folders, workers=count, died=_died) if count else map(work, folders):
            results[result.path] = result
            task.advance(note=result.path.name)
    return _report(manifest, target, folders, results, recipe)


def parse_fps(text: str) -> Fraction:
    """`25`, `12.5` or `30000/1001` as the exact fraction it says.

    Raises:
        UsageError: it says none above 0.
    """
    try:
        fps = Fraction(text)
    except (ValueError, ZeroDivisionError):
        fps = Fraction(0)
    if fps <= 0:
        raise UsageError(f"a rate of {text} frames a second", allowed="a number above 0, such as 25 or 30000/1001")
    return fps


def flow_recipe(samples: Iterable[Sample]) -> FlowRecipe | None:
    """What all flow of `samples` was computed by; None where they are no flow, or their records cannot be read.

    Raises:
        DataError: some of it was computed otherwise.
    """
    recipes: dict[str, tuple[FlowRecipe, Path]] = {}
    for path in dict.fromkeys(sample.path for sample in samples if is_flow(sample.path)):
        try:
            recipe = read_record(path).recipe
        except MediaError:
            continue  # told with all broken files, when it is read
        # How bytes are stored makes no difference to what they say.
        recipes.setdefault(str(sorted(replace(recipe, store="jpeg").to_json().items())), (recipe, path))
    if len(recipes) > 1:
        (one, here), (other, there) = list(recipes.values())[:2]
        raise DataError(
            f"flow computed in {len(recipes)} ways: {_differing(one, other)}; {here} and {there}",
            allowed="flow by one recipe",
            next_step="compute all of it with one kinema data flow",
        )
    return next((recipe for recipe, _ in recipes.values()), None)


def require_modality(samples: Sequence[Sample], modality: Modality, *, computed: FlowSpec | None = None) -> None:
    """Refuse pictures for a network that is fed flow, and the other way round.

    Args:
        samples: rows of a manifest.
        modality: what the network is fed with.
        computed: how the flow of videos is computed as they are read; None: it has to be stored.

    Raises:
        DataError: saying what to do.
    """
    wants_flow = modality in ("flow", "rgb+flow")
    if wants_flow and computed is not None:
        return
    wrong = [sample.path for sample in samples if is_flow(sample.path) != wants_flow]
    if not wrong:
        return
    told = f"{len(wrong)} of {len(samples)} samples, such as {wrong[0]}"
    if wants_flow:
        raise DataError(
            f"{told}, are no flow, which the network is fed with",
            allowed=f"a manifest of {FLOW_FILE} files",
            next_step="compute flow with kinema data flow DATA OUT, and give OUT/manifest.csv",
        )
    raise DataError(
        f"{told}, are flow, and the network is fed with modality {modality}",
        allowed="videos",
        next_step="to train on flow add --set modality=flow, or rgb+flow for two streams",
    )


def _folders(manifest: Manifest, out: Path) -> dict[Path, Path]:
    """Where the flow of each video goes: by its name without ending.

    With it where two differ in that alone, or where the folder would hold that of other videos, too: a folder of flow
    is replaced as a whole.
    """
    paths = list(dict.fromkeys(sample.path for sample in manifest.samples))
    given = [path for path in paths if is_flow(path)]
    outside = [path for path in paths if not path.is_relative_to(manifest.root)]
    if given or outside:
        raise DataError(
            f"{(given or outside)[0]} is flow already" if given else f"{outside[0]} lies outside {manifest.root}",
            allowed="a data set of videos below one folder",
        )
    bare = {path: path.relative_to(manifest.root) if path.is_dir() else _stem(path, manifest.root) for path in paths}
    taken = Counter(bare.values())
    above = {parent for short in bare.values() for parent in short.parents}
    return {
        path: out / "flow" / (short if taken[short] == 1 and short not in above else path.relative_to(manifest.root))
        for path, short in bare.items()
    }


def _stem(path: Path, root: Path) -> Path:
    return path.relative_to(root).with_suffix("")


def _require_apart(manifest: Manifest, out: Path) -> None:
    """Refuse folders in which something else would be written over, or flow be taken for videos."""
    if manifest.source.is_dir() and out.is_relative_to(manifest.source):
        raise UsageError(
            f"{out} lies within the data", allowed=f"a folder beside {manifest.source}", next_step="choose another OUT"
        )
    if (out / _MANIFEST).exists() and not (out / "flow").is_dir():
        raise UsageError(
            f"{out / _MANIFEST} is there, and no flow beside it",
            allowed="a new folder, or one that kinema data flow has written",
            next_step="choose another OUT",
        )


def _require_same_recipe(folders: Iterable[Path], recipe: FlowRecipe) -> None:
    for folder in folders:
        if not (folder / FLOW_FILE).exists():
            continue
        try:
            there = read_record(folder / FLOW_FILE).recipe
        except MediaError:
            continue  # computed anew
        if there != recipe:
            raise DataError(
                f"{folder} holds flow computed otherwise: {_differing(there, recipe)}",
                allowed="one recipe in one folder",
                next_step="choose another OUT, or delete this one",
            )


def _differing(there: FlowRecipe, here: FlowRecipe) -> str:
    one, other = ({**each.to_json(), **each.parameters, "parameters": ""} for each in (there, here))
    return ", ".join(
        f"{name} {one.get(name)} and {other.get(name)}" for name in {**one, **other} if one.get(name) != other.get(name)
    )


def _workers(choice: FlowChoice) -> int:
    return 1 if choice.device != "cpu" else min(_MOST_WORKERS, os.cpu_count() or 1)


def _compute(path: Path, *, folders: Mapping[Path, Path], recipe: FlowRecipe, choice: FlowChoice) -> _Result:
    """Flow of one video, unless it is there."""
    if multiprocessing.parent_process() is not None:
        torch.set_num_threads(1)  # videos are what runs side by side
    folder = folders[path]
    try:
        fields = _fields_there(folder, recipe, path)
        if fields is not None:
            return _Result(path, fields)
        return _Result(path, store_flow(path, folder, recipe, _algorithm(choice)).fields, fresh=True)
    except MediaError as error:
        return _Result(path, reason=error.reason)


def _fields_there(folder: Path, recipe: FlowRecipe, path: Path) -> int | None:
    """How many fields `folder` holds, if they are of this very video; else None."""
    try:
        record = read_record(folder / FLOW_FILE)
    except MediaError:
        return None
    source = FlowSource.of(path, seen_from=folder)
    if record.recipe != recipe or record.source != source:
        return None
    if record.source.path != source.path:  # the video, or the flow, has moved
        replace(record, source=source).write(folder)
    return record.fields


@cache
def _algorithm(choice: FlowChoice) -> FlowAlgorithm:
    """Made once a process: the weights of a network are read from disk."""
    return make_algorithm(choice)


def _died(path: Path) -> _Result:
    return _Result(path, reason="the process that computed its flow died")


def _report(
    manifest: Manifest, out: Path, folders: Mapping[Path, Path], results: Mapping[Path, _Result], recipe: FlowRecipe
) -> FlowReport:
    lost = [(path, results[path].reason or "") for path in folders if results[path].reason is not None]
    broken, kept = dict(lost), []
    for sample in (sample for sample in manifest.samples if sample.path not in broken):
        if _fields_within(sample, results[sample.path].fields, recipe.fps):
            kept.append(replace(sample, path=folders[sample.path] / FLOW_FILE))
        else:
            end = "end" if sample.end_seconds is None else f"{sample.end_seconds:g} s"
            lost.append((sample.path, f"no field lies in the segment from {sample.start_seconds or 0:g} s to {end}"))
    if not kept:
        told = listing([f"{path}: {reason}" for path, reason in lost])
        raise DataError(f"not one of {len(folders)} videos has flow:\n{told}", allowed="at least one that has")
    written = replace(manifest, source=out / _MANIFEST, samples=tuple(kept), ignored=())
    written.write(written.source)
    whole = [result for result in results.values() if result.reason is None]
    return FlowReport(
        manifest=written,
        recipe=recipe,
        computed=sum(result.fresh for result in whole),
        found=sum(not result.fresh for result in whole),
        fields=sum(result.fields for result in whole),
        broken=tuple(lost),
    )


def _fields_within(sample: Sample, fields: int, fps: Fraction) -> int:
    first = math.ceil((sample.start_seconds or 0.0) * fps - 1e-6)
    last = fields if sample.end_seconds is None else min(fields, math.ceil(sample.end_seconds * fps - 1e-6))
    return max(0, last - first)
