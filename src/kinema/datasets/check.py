"""What is wrong with a data set, before hours of training find out.

The JSON form (`CheckReport.to_json`), schema version 2:

    schema       "kinema.check"
    version      2
    source       the folder or CSV file
    samples      how many
    clip_frames  frames of the clip that samples were compared with
    classes      [{"label", "samples", "files", "groups" or null, "duration_seconds"}]
    files        [{"path", "reason" or null, "size_bytes", "sha256", "frames_promised", "frames_decoded",
                   "duration_seconds", "fps", "variable_frame_rate", "width_px", "height_px", "codec",
                   "rate_assumed", "has_audio", "black_share", "frozen_share", "cluster"}]
    alike        [{"first", "second", "kind", "background", "motion" or null, "mirrored", "across_splits",
                   "across_groups"}]: at most 10,000 pairs of files that show the same (`likeness.Alike`)
    alike_pairs  how many there are
    broken       {path: reason}
    ignored      [path]: files that are no videos, folders without a video
    notes        [text]: what is odd but can be used

Paths are relative to the folder, or to the folder of the CSV file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from kinema.core.progress import Progress, Silent
from kinema.datasets.crossings import Crossing, find_crossings
from kinema.datasets.inspection import FileReport, inspect_files
from kinema.datasets.likeness import KINDS, Alike, Likeness, Seen, compare
from kinema.datasets.look import DULL
from kinema.datasets.manifest import Manifest
from kinema.datasets.sample import Sample

__all__ = ["CheckReport", "ClassCount", "check"]

# A largest class this many times the smallest lets a model do well by ignoring the small one.
_IMBALANCE = 3.0
_LISTED = 10_000
_ENDS = ("first", "second")
_LIKE = {
    "copy": "of the same bytes",
    "near duplicate": "of near duplicates: one film, coded, scaled, cut or mirrored differently",
    "same background": "of one background",
}


@dataclass(frozen=True)
class ClassCount:
    """How much there is of one class.

    Attributes:
        label: its name.
        samples: rows of the manifest.
        files: distinct videos.
        groups: distinct groups; None where no sample of the class has one.
        duration_seconds: of all its samples; broken files count as nothing.
    """

    label: str
    samples: int
    files: int
    groups: int | None
    duration_seconds: float


@dataclass(frozen=True, repr=False)
class CheckReport:
    """What decoding all of a manifest has shown.

    Attributes:
        manifest: what was checked.
        clip_frames: frames T of the clip that samples were compared with.
        files: a report for each distinct file, in the order of the manifest.
        classes: a count for each class, in index order.
        broken: (path, reason) of each file that cannot be used, or not all samples of which can.
        notes: sentences about what is odd but can be used.
        likeness: which of `files` show the same.
        crossings: those of its pairs that stand in different splits or groups.
    """

    manifest: Manifest
    clip_frames: int
    files: tuple[FileReport, ...]
    classes: tuple[ClassCount, ...]
    broken: tuple[tuple[Path, str], ...]
    notes: tuple[str, ...]
    likeness: Likeness
    crossings: tuple[Crossing, ...]

    @property
    def leaks(self) -> tuple[Crossing, ...]:
        """Copies and near duplicates on two sides of the manifest's own split."""
        return tuple(crossing for crossing in self.crossings if crossing.leaks)

    @property
    def fine(self) -> bool:
        """Whether nothing is broken and nothing leaks from one split to another."""
        return not self.broken and not self.leaks

    @property
    def usable(self) -> tuple[int, ...]:
        """Indices of the samples whose file is whole and that begin before its end."""
        by_path = {report.path: report for report in self.files}
        return tuple(
            index
            for index, sample in enumerate(self.manifest.samples)
            if by_path[sample.path].reason is None and not _is_late(sample, by_path[sample.path])
        )

    def alike(self) -> Iterator[Crossing]:
        """Every pair of files that show the same, those across splits first, then those across groups."""
        across = {crossing.pair: crossing for crossing in self.crossings}
        every = (across.get(pair) or Crossing(pair, splits=False, groups=False) for pair in self.likeness.pairs)
        yield from sorted(every, key=lambda crossing: (not crossing.leaks, not crossing.splits, not crossing.groups))

    def to_json(self) -> dict[str, Any]:
        """The documented form (see the module) as plain dicts, lists, strings and numbers."""
        relative = self.manifest.relative
        return {
            "schema": "kinema.check",
            "version": 2,
            "source": str(self.manifest.source),
            "samples": len(self.manifest),
            "clip_frames": self.clip_frames,
            "classes": [asdict(count) for count in self.classes],
            "files": [
                report.to_json() | {"path": relative(report.path), "cluster": cluster}
                for report, cluster in zip(self.files, self.likeness.clusters, strict=True)
            ],
            "alike": [self._pair_to_json(crossing) for crossing in islice(self.alike(), _LISTED)],
            "alike_pairs": len(self.likeness.pairs),
            "broken": {relative(path): reason for path, reason in self.broken},
            "ignored": [relative(path) for path in self.manifest.ignored],
            "notes": list(self.notes),
        }

    def _pair_to_json(self, crossing: Crossing) -> dict[str, Any]:
        names = {name: self.manifest.relative(self.files[getattr(crossing.pair, name)].path) for name in _ENDS}
        return asdict(crossing.pair) | names | {"across_splits": crossing.splits, "across_groups": crossing.groups}

    def __repr__(self) -> str:
        return f"CheckReport({len(self.files)} files, {len(self.broken)} broken, {len(self.notes)} notes)"


def check(
    manifest: Manifest, *, clip_frames: int = 16, workers: int | None = None, progress: Progress | None = None
) -> CheckReport:
    """Decode every file of `manifest` and report all that is wrong or odd.

    Args:
        manifest: the data set.
        clip_frames: frames of a clip; shorter samples are noted.
        workers: processes that decode (`inspect_files`).
        progress: shows how far it is.
    """
    progress = progress or Silent()
    files = inspect_files(_distinct(manifest), workers=workers, progress=progress)
    likeness = compare([Seen(report.sha256, report.look) for report in files], progress)
    crossings = find_crossings(manifest, [report.path for report in files], likeness)
    by_path = {report.path: report for report in files}
    counts = tuple(_count(manifest, label, by_path) for label in manifest.labels.require())
    broken = tuple(_broken(manifest, by_path).items())
    notes = [
        *_crossing_notes(files, crossings),
        *_file_notes(files),
        *_likeness_notes(files, likeness),
        *_sample_notes(manifest, by_path, clip_frames),
        *_class_notes(counts),
    ]
    return CheckReport(manifest, clip_frames, files, counts, broken, tuple(notes), likeness, crossings)


def _distinct(manifest: Manifest) -> list[Path]:
    return list(dict.fromkeys(sample.path for sample in manifest.samples))


def _broken(manifest: Manifest, reports: dict[Path, FileReport]) -> dict[Path, str]:
    broken = {path: report.reason for path, report in reports.items() if report.reason is not None}
    for sample in manifest.samples:
        if sample.path not in broken and _is_late(sample, reports[sample.path]):
            start, duration = sample.start_seconds or 0.0, reports[sample.path].duration_seconds
            broken[sample.path] = f"a sample starts at {start:g} s, but the video lasts {duration:.3f} s"
    return broken


def _is_late(sample: Sample, report: FileReport) -> bool:
    return (sample.start_seconds or 0.0) >= report.duration_seconds


def _span_seconds(sample: Sample, report: FileReport) -> float:
    end = report.duration_seconds if sample.end_seconds is None else min(sample.end_seconds, report.duration_seconds)
    return max(0.0, end - (sample.start_seconds or 0.0))


def _count(manifest: Manifest, label: str, reports: dict[Path, FileReport]) -> ClassCount:
    samples = [sample for sample in manifest.samples if sample.label == label]
    groups = {sample.group for sample in samples if sample.group is not None}
    return ClassCount(
        label=label,
        samples=len(samples),
        files=len({sample.path for sample in samples}),
        groups=len(groups) or None,
        duration_seconds=sum(_span_seconds(sample, reports[sample.path]) for sample in samples),
    )


def _file_notes(files: Sequence[FileReport]) -> list[str]:
    notes = []
    if guessed := [report for report in files if report.rate_assumed]:
        notes.append(f"{_several(guessed, 'source')} of frames without a rate: 25 frames a second are assumed")
    if fewer := [report for report in files if not report.reason and report.frames_decoded < report.frames_promised]:
        notes.append(f"{_several(fewer, 'file')} with fewer frames than promised, though none is damaged")
    if uneven := [report for report in files if report.variable_frame_rate]:
        notes.append(f"{_several(uneven, 'file')} with a variable frame rate")
    rates = sorted({round(report.fps, 2) for report in files if report.fps})
    if len(rates) > 1:
        notes.append(
            f"{len(rates)} frame rates from {rates[0]:g} to {rates[-1]:g} fps: clips of one stride differ in speed"
        )
    return [*notes, *_dull_notes(files)]


def _dull_notes(files: Sequence[FileReport]) -> list[str]:
    dull = {what: [report for report in files if report.look and what in report.look.dull] for what in DULL}
    return [f"{_several(some, 'file')} {what} for most of the frames" for what, some in dull.items() if some]


def _crossing_notes(files: Sequence[FileReport], crossings: Sequence[Crossing]) -> list[str]:
    notes = []
    for across in ("splits", "groups"):
        for kind in KINDS:
            pairs = tuple(each.pair for each in crossings if getattr(each, across) and each.pair.kind == kind)
            if pairs:
                notes.append(f"{_pairs(files, pairs)} {_LIKE[kind]}, but in different {across}")
    return notes


def _likeness_notes(files: Sequence[FileReport], likeness: Likeness) -> list[str]:
    notes = []
    if copies := likeness.of_kind(KINDS[0]):
        notes.append(f"{_several([files[pair.second] for pair in copies], 'file')} the same, byte for byte, as another")
    notes += [f"{_pairs(files, pairs)} {_LIKE[kind]}" for kind in KINDS[1:] if (pairs := likeness.of_kind(kind))]
    if likeness.uncompared:
        notes.append(f"{likeness.uncompared} more pairs of one background were not compared in movement")
    return notes


def _pairs(files: Sequence[FileReport], pairs: Sequence[Alike]) -> str:
    """How many, with the first as an example: `2 pairs (a.mp4 and b.mp4, …)`."""
    plural, more = ("", "") if len(pairs) == 1 else ("s", ", …")
    return f"{len(pairs)} pair{plural} ({files[pairs[0].first].path.name} and {files[pairs[0].second].path.name}{more})"


def _sample_notes(manifest: Manifest, reports: dict[Path, FileReport], clip_frames: int) -> list[str]:
    notes = []
    usable = [(sample, reports[sample.path]) for sample in manifest.samples if not reports[sample.path].reason]
    short = [report for sample, report in usable if _span_seconds(sample, report) * report.fps < clip_frames - 0.5]
    if short:
        notes.append(f"{_several(short, 'sample')} shorter than a clip of {clip_frames} frames, to be padded")
    late = [
        report
        for sample, report in usable
        if sample.end_seconds is not None and sample.end_seconds > report.duration_seconds + 1 / report.fps
    ]
    if late:
        notes.append(f"{_several(late, 'sample')} said to end after the end of the file")
    if not any(sample.group for sample in manifest.samples):
        notes.append(
            "no groups: a split cannot keep clips of one recording together;"
            " `kinema data split --group-by clusters` makes groups of what looks alike"
        )
    return notes


def _class_notes(counts: Sequence[ClassCount]) -> list[str]:
    present = [count for count in counts if count.samples]  # a data set may have classes that it shows nothing of
    most, least = (pick(present, key=lambda count: count.samples) for pick in (max, min))
    if most.samples <= _IMBALANCE * least.samples:
        return []
    return [f"'{most.label}' has {most.samples} samples, '{least.label}' only {least.samples}: weigh the classes"]


def _several(reports: Sequence[FileReport], what: str) -> str:
    """How many, with the first as an example: `2 files (a.mp4, …)`."""
    plural, more = ("", "") if len(reports) == 1 else ("s", ", …")
    return f"{len(reports)} {what}{plural} ({reports[0].path.name}{more})"
