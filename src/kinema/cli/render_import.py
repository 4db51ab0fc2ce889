"""How imported and merged data sets look on a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from kinema.cli.render import stdout

if TYPE_CHECKING:  # rooms that load torch or PyAV, and `kinema --help` must not
    from kinema.datasets.manifest import Manifest
    from kinema.datasets.published.listed import Imported

__all__ = ["merged_json", "show_import", "show_merged"]

_SHOWN = 5  # most names of what is missing or unlisted


def show_import(found: Imported, out: Path) -> None:
    """What was taken, what is missing by reason, and what no list names."""
    parts = ", ".join(f"{count} {split}" for split, count in found.splits.items())
    held = len({sample.label for sample in found.samples})
    stdout.print(f"{escape(str(out))}: {len(found.samples)} samples ({parts}) of {found.listed} listed")
    stdout.print(f"classes: {held} of {found.labels.count} have samples")
    for note in found.notes:
        stdout.print(escape(note))
    for reason, count in found.reasons.items():
        names = [one.name for one in found.absent if one.reason == reason]
        stdout.print(f"[yellow]missing:[/] {count} {escape(reason)}: {escape(_some(names))}")
    if found.absent:
        stdout.print(f"all {len(found.absent)} of them: {escape(str(out.with_name(f'{out.stem}.missing.csv')))}")
    if found.unlisted:
        names = [path.relative_to(found.root).as_posix() for path in found.unlisted]
        stdout.print(f"[yellow]in no list:[/] {len(names)} videos: {escape(_some(names))}")


def show_merged(merged: Manifest, out: Path, near: Sequence[tuple[str, ...]]) -> None:
    """How much each data set brought; and `near`, the names of classes that may mean the same but stand apart."""
    stdout.print(f"{escape(str(out))}: {len(merged)} samples, {merged.labels.count} classes\n")
    table = Table("data set", box=None, header_style="bold", pad_edge=False)
    for title in ("samples", "classes"):
        table.add_column(title, justify="right")
    for part in merged_json(merged, out, near)["datasets"]:
        table.add_row(escape(part["dataset"]), str(part["samples"]), str(part["classes"]))
    stdout.print(table)
    if near:
        stdout.print(f"\n[yellow]alike, but not the same class:[/] {len(near)}")
        for names in near[:_SHOWN]:
            stdout.print(escape("  " + ", ".join(names)))
        if len(near) > _SHOWN:
            stdout.print(f"  and {len(near) - _SHOWN} more, all of them with --json")
        stdout.print("to make them one, give them one name in the label columns, and merge again")


def merged_json(merged: Manifest, out: Path, near: Sequence[tuple[str, ...]]) -> dict[str, Any]:
    """The same as one JSON object."""
    counts = Counter(sample.dataset for sample in merged.samples)
    return {
        "schema": "kinema.merge",
        "version": 1,
        "manifest": str(out),
        "samples": len(merged),
        "classes": merged.labels.count,
        "datasets": [
            {"dataset": part.dataset, "samples": counts[part.dataset], "classes": len(part.names)}
            for part in merged.labels.parts
        ],
        "alike": [list(names) for names in near],
    }


def _some(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
