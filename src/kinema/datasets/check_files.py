"""What a check leaves on disk for other programs: a table of files, and a manifest without the broken ones."""

from __future__ import annotations

import os
from pathlib import Path

from kinema.core.errors import DataError, UsageError
from kinema.datasets.absolute import are_absolute_paths_allowed
from kinema.datasets.check import CheckReport
from kinema.datasets.manifest import Manifest
from kinema.datasets.spreadsheet import Cell, write_spreadsheet

__all__ = ["TABLE_COLUMNS", "require_above", "write_check_table", "write_quarantine"]

TABLE_COLUMNS = (
    "path", "reason", "labels", "splits", "groups", "samples", "size_bytes", "sha256", "frames_promised",
    "frames_decoded", "duration_seconds", "fps", "variable_frame_rate", "width_px", "height_px", "codec", "has_audio",
    "black_share", "frozen_share", "cluster",
)  # fmt: skip


def write_check_table(target: Path | str, report: CheckReport) -> None:
    """Write a row for each file (`kinema.datasets.spreadsheet`): `TABLE_COLUMNS`, the reason blank where it is whole.

    Several labels, splits or groups of one file's segments are joined by a semicolon. Files of the same number
    under `cluster` show the same place.

    Raises:
        DataError: the folder cannot be written to.
    """
    samples = report.manifest.samples
    rows_of: dict[Path, list[int]] = {}
    for index, sample in enumerate(samples):
        rows_of.setdefault(sample.path, []).append(index)
    reasons = dict(report.broken)
    rows = []
    for file, cluster in zip(report.files, report.likeness.clusters, strict=True):
        own = [samples[index] for index in rows_of[file.path]]
        cells: dict[str, Cell] = {
            **file.to_json(),
            "path": report.manifest.relative(file.path),
            "reason": reasons.get(file.path),
            "labels": ";".join(sorted({sample.label for sample in own})),
            "splits": ";".join(sorted({sample.split for sample in own if sample.split})),
            "groups": ";".join(sorted({sample.group for sample in own if sample.group})),
            "samples": len(own),
            "cluster": cluster,
        }
        rows.append([cells[name] for name in TABLE_COLUMNS])
    write_spreadsheet(Path(target), TABLE_COLUMNS, rows)


def require_above(folder: Path | str, manifest: Manifest, *, instead: str) -> None:
    """Refuse, before hours of decoding, a folder in which a manifest could not be written.

    Inside a block of `absolute_paths` it can be written in any.

    Args:
        folder: where the manifest is to stand.
        manifest: the videos it is to name.
        instead: the option with a value that would do, for the next step.

    Raises:
        UsageError: a video lies outside the folder, where a manifest in it could not name it.
    """
    root = _absolute(folder)
    if are_absolute_paths_allowed():
        return
    if outside := [sample.path for sample in manifest.samples if not sample.path.is_relative_to(root)]:
        raise UsageError(
            f"a manifest in {folder}, when videos such as {outside[0]} lie outside it",
            allowed="a folder that holds all videos, because a manifest names them relative to itself",
            next_step=f"use {instead}",
        )


def write_quarantine(folder: Path | str, report: CheckReport) -> tuple[Path, Path]:
    """Write `quarantine.csv` (path, reason of each broken file) and `kept.csv`, a manifest of the usable samples.

    No video is moved, changed or removed.

    Returns:
        The two paths.

    Raises:
        UsageError: a video lies outside `folder`.
        DataError: nothing is left to keep, or the folder cannot be written to.
    """
    require_above(folder, report.manifest, instead=f"--quarantine {report.manifest.root}")
    root = _absolute(folder)
    quarantine, kept = root / "quarantine.csv", root / "kept.csv"
    rows = [(_named(path, root), reason) for path, reason in report.broken]
    write_spreadsheet(quarantine, ("path", "reason"), rows)
    if not report.usable:
        raise DataError(
            f"every video of {report.manifest.source} is broken: there is nothing to keep",
            allowed="a data set with at least one video that decodes",
            next_step=f"see {quarantine} for the reasons",
        )
    report.manifest.take(report.usable).write(kept)
    return quarantine, kept


def _named(path: Path, root: Path) -> str:
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()


def _absolute(folder: Path | str) -> Path:
    return Path(os.path.normpath(Path(folder).absolute()))
