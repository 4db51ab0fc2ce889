"""A data set of clips rendered by formulas: class folders, a manifest, and what they were made by.

OUT/synthesis.json                        seed, size and rate; clips of others are refused here
OUT/README.md                             where the clips come from, for whoever finds them
OUT/manifest.csv                          path, label, group
OUT/fractal-turning/00000.mp4 ...         clip N of each class of a kind shows the same scene
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from kinema.core.atomic import leftovers, replacing
from kinema.core.errors import DataError, UsageError, nearest
from kinema.core.progress import Progress, Silent
from kinema.core.seeds import stream
from kinema.core.version import __version__
from kinema.datasets.formula.courses import Film, Kind, Shot
from kinema.datasets.formula.figure import FIGURE
from kinema.datasets.formula.flow import FLOW
from kinema.datasets.formula.fractal import FRACTAL
from kinema.datasets.manifest import Manifest
from kinema.datasets.processes import read_apart
from kinema.datasets.sample import Sample, listing
from kinema.video.writer import VideoWriter

__all__ = ["KINDS", "Synthesis", "SynthesisReport", "film", "synthesize"]

KINDS = {kind.name: kind for kind in (FIGURE, FLOW, FRACTAL)}
"""Every kind by its name."""

_FORMULAS = 1
"""Raised whenever the same seed gives other pictures than before, so that no folder holds both."""
_RECORD, _README, _MANIFEST = "synthesis.json", "README.md", "manifest.csv"
_CRF = 20
_MOST_WORKERS = 8
_LEAST_SIZE_PX = 32


@dataclass(frozen=True)
class Synthesis:
    """What the clips of one folder have in common.

    Attributes:
        seed: 0 or more; the same seed and numbers give the same clips.
        size_px: width and height, an even number, 32 or more.
        frames: pictures of each clip, 2 or more.
        fps: pictures a second, 1 or more. Motions are fixed in seconds: twice the rate is half the motion from
            one picture to the next.

    Raises:
        UsageError: numbers outside of these.
    """

    seed: int = 0
    size_px: int = 72
    frames: int = 32
    fps: int = 16

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise UsageError(f"seed {self.seed}", allowed="0 or more")
        if self.size_px < _LEAST_SIZE_PX or self.size_px % 2:
            raise UsageError(f"clips of {self.size_px} pixels", allowed=f"an even number, {_LEAST_SIZE_PX} or more")
        if self.frames < 2:
            raise UsageError(f"clips of {self.frames} frames", allowed="2 or more")
        if self.fps < 1:
            raise UsageError(f"{self.fps} frames a second", allowed="1 or more")

    def to_json(self) -> dict[str, Any]:
        """What `synthesis.json` holds."""
        return {"schema": "kinema.synthesis", "version": 1, "formulas": _FORMULAS, **asdict(self)}


@dataclass(frozen=True)
class SynthesisReport:
    """What `synthesize` did.

    Attributes:
        manifest: the data set, as written.
        synthesis: what its clips have in common.
        written: clips rendered now.
        found: clips that were there already.
    """

    manifest: Manifest
    synthesis: Synthesis
    written: int
    found: int

    def to_json(self) -> dict[str, Any]:
        """What `kinema data synthesize --json` prints."""
        return {
            "schema": "kinema.synthesis_report",
            "version": 1,
            "manifest": str(self.manifest.source),
            "samples": len(self.manifest),
            "classes": list(self.manifest.labels.require()),
            "groups": len({sample.group for sample in self.manifest.samples}),
            "synthesis": self.synthesis.to_json(),
            "written": self.written,
            "found": self.found,
        }


@dataclass(frozen=True)
class _Group:
    """One scene of one kind, which all classes of the kind show."""

    kind: str
    number: int

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.number:05d}"

    def clips(self, folder: Path) -> dict[str, Path]:
        """Where the clip of each class lies."""
        return {label: folder / label / f"{self.number:05d}.mp4" for label in KINDS[self.kind].classes}


@dataclass(frozen=True)
class _Rendered:
    """What became of one group; `died` where its process ended."""

    group: _Group
    written: int = 0
    died: bool = False


def synthesize(
    folder: Path | str,
    *,
    clips_per_class: int,
    synthesis: Synthesis | None = None,
    kinds: Sequence[str] = tuple(KINDS),
    workers: int | None = None,
    progress: Progress | None = None,
) -> SynthesisReport:
    """Render H.264 clips whose class lies in their motion, and their manifest.

    Clips that are there already are kept: an interrupted run goes on, and a larger `clips_per_class` adds to
    what a smaller one has made. Clip N of each class of a kind begins with the same picture, and these clips are
    a group. The same arguments give the same bytes on the same machine and library versions, however many
    processes render; elsewhere the same draws, and pictures that may differ by rounding.

    Args:
        folder: a new one, or one that this has written with the same `synthesis`.
        clips_per_class: 1 or more.
        synthesis: seed, size and rate; None: the defaults.
        kinds: names of `KINDS`.
        workers: processes; None: one a processor, at most 8. 0 renders in this one.
        progress: a step a clip.

    Raises:
        UsageError: a number or name outside of these.
        DataError: the folder holds something else, or cannot be written to; a process ended.
    """
    what = synthesis or Synthesis()
    chosen = _chosen(kinds)
    if clips_per_class < 1:
        raise UsageError(f"{clips_per_class} clips a class", allowed="1 or more")
    target = Path(os.path.normpath(Path(folder).absolute()))
    groups = [_Group(kind.name, number) for kind in chosen for number in range(clips_per_class)]
    clips = {path for group in groups for path in group.clips(target).values()}
    _claim(target, what, clips, chosen)
    missing = [group for group in groups if not all(path.exists() for path in group.clips(target).values())]
    found = sum(path.exists() for path in clips)
    written = 0
    with (progress or Silent()).task("rendering", len(clips), "clips", done=found) as task:
        count = min(_MOST_WORKERS, os.cpu_count() or 1) if workers is None else workers
        work = partial(_render, folder=target, what=what)
        for done in read_apart(work, missing, workers=count, died=_died) if count else map(work, missing):
            if done.died:
                raise DataError(
                    f"the process that rendered {done.group.name} died",
                    next_step="run the same command again, with fewer --workers where memory is short",
                )
            written += done.written
            task.advance(done.written, note=done.group.name)
    manifest = Manifest.of(target / _MANIFEST, _samples(groups, target))
    manifest.write(manifest.source)
    return SynthesisReport(manifest, what, written, found)


def film(label: str, number: int, synthesis: Synthesis) -> Film:
    """Clip `number` of class `label`, before it is encoded: uint8 RGB (T, H, W, 3).

    Raises:
        UsageError: no class of that name.
    """
    known = [name for kind in KINDS.values() for name in kind.classes]
    if label not in known:
        raise UsageError(f"no class '{label}'{nearest(label, known)}", allowed=", ".join(known))
    kind, _, way = label.partition("-")
    scene = KINDS[kind].make_scene(stream(synthesis.seed, f"{kind} scene", number))
    shot = Shot(synthesis.size_px, synthesis.frames, synthesis.fps)
    return scene.film(KINDS[kind].ways[way], stream(synthesis.seed, label, number), shot)


def _chosen(names: Sequence[str]) -> list[Kind]:
    strange = [name for name in names if name not in KINDS]
    if strange or not names:
        given = f"no kind of motion is called '{strange[0]}'{nearest(strange[0], KINDS)}" if strange else "no kinds"
        raise UsageError(given, allowed=", ".join(KINDS))
    return [kind for name, kind in KINDS.items() if name in names]


def _claim(folder: Path, what: Synthesis, clips: set[Path], kinds: Sequence[Kind]) -> None:
    """Make the folder ours, or refuse it where it holds anything that these arguments do not make."""
    record = folder / _RECORD
    if not record.exists():
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise DataError(
                f"{folder} holds something else",
                allowed="a new or empty folder, or one that kinema data synthesize has written",
                next_step="choose another OUT",
            )
    elif (differing := _differing(record, what)) is not None:
        raise DataError(
            f"{folder} holds clips made otherwise: {differing}",
            allowed="clips of one seed, size and rate in one folder",
            next_step="choose another OUT, or delete this one",
        )
    for place in {path.parent for path in clips if path.parent.is_dir()}:
        for unfinished in leftovers(place, {path.name for path in clips}):  # of a program that was killed
            unfinished.unlink(missing_ok=True)
    if strangers := sorted(path for path in folder.glob("*/*.mp4") if path not in clips):
        raise DataError(
            f"{folder} holds {len(strangers)} clips that this would not make:\n{listing(strangers)}",
            allowed="the same kinds as before or more, and as many clips a class or more",
            next_step="choose another OUT, or more --clips-per-class and --kinds",
        )
    with replacing(record) as beside:
        beside.write_text(json.dumps(what.to_json(), indent=1) + "\n", encoding="utf-8")
    with replacing(folder / _README) as beside:
        beside.write_text(_readme(what, kinds), encoding="utf-8")


def _differing(record: Path, what: Synthesis) -> str | None:
    """How the record in a folder differs from `what`; None where it does not."""
    try:
        there = json.loads(record.read_text(encoding="utf-8"))
        here = what.to_json()
        differing = [f"{name} {there.get(name)} and {here.get(name)}" for name in here if there.get(name) != here[name]]
    except (OSError, ValueError, AttributeError):
        return f"{_RECORD} cannot be read"
    return ", ".join(differing) or None


def _render(group: _Group, *, folder: Path, what: Synthesis) -> _Rendered:
    """The clips of a group that are not there."""
    missing = {label: path for label, path in group.clips(folder).items() if not path.exists()}
    for label, path in missing.items():
        pictures = film(label, group.number, what)
        with VideoWriter(path, what.fps, (what.size_px, what.size_px), crf=_CRF, preset="veryfast") as writer:
            writer.write(pictures)
    return _Rendered(group, len(missing))


def _died(group: _Group) -> _Rendered:
    return _Rendered(group, died=True)


def _samples(groups: Iterable[_Group], folder: Path) -> list[Sample]:
    rows = [
        Sample(path, label, None, group.name, None, None)
        for group in groups
        for label, path in group.clips(folder).items()
    ]
    return sorted(rows, key=lambda sample: sample.path)


def _readme(what: Synthesis, kinds: Sequence[Kind]) -> str:
    """Where the clips come from."""
    names = "\n".join(f"- {kind.name}: {', '.join(kind.ways)}" for kind in kinds)
    return f"""# Clips rendered by formulas

Made by `kinema data synthesize` (kinema {__version__}, formulas {_FORMULAS}) with seed {what.seed}:
{what.frames} frames of {what.size_px} x {what.size_px} pixels at {what.fps} a second. No photograph, film, recording
or download went into them, and nobody is shown in them. `{_RECORD}` holds what makes them again.

The class of a clip lies in its motion. Clip N of each class of a kind shows the same scene, begins with the same
picture, and is of one group in `{_MANIFEST}`; pictures taken from the middle of clips follow the same law in every
class of a kind.

{names}

The idea is from:

- H. Kataoka et al., "Pre-training without natural images", ACCV 2020: fractals.
- H. Kataoka et al., "Spatiotemporal initialization for 3D CNNs with generated motion patterns", WACV 2022: noise in
  motion.
- D. Svyezhentsev et al., "Pre-training for action recognition with automatically generated fractal datasets", 2024.
- K. Perlin, "An image synthesizer", SIGGRAPH 1985: gradient noise.
"""
