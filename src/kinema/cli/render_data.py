"""How a checked data set looks on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from kinema.cli.render import stdout

if TYPE_CHECKING:  # this room loads torch, and `kinema --help` must not
    from kinema.datasets.check import CheckReport

__all__ = ["show_check"]

_SHOWN = 10  # most ignored files named


def show_check(report: CheckReport) -> None:
    """The classes, the broken files, and what is odd."""
    manifest = report.manifest
    stdout.print(f"{escape(str(manifest.source))}: {len(manifest)} samples in {len(report.files)} videos\n")
    table = Table("class", box=None, header_style="bold", pad_edge=False)
    for title in ("samples", "videos", "groups", "minutes"):
        table.add_column(title, justify="right")
    for count in report.classes:
        groups = "-" if count.groups is None else str(count.groups)
        minutes = f"{count.duration_seconds / 60:.1f}"
        table.add_row(escape(count.label), str(count.samples), str(count.files), groups, minutes)
    stdout.print(table)
    stdout.print()
    for note in report.notes:
        stdout.print(f"[yellow]note:[/] {escape(note)}")
    ignored = [manifest.relative(path) for path in manifest.ignored]
    if ignored:
        more = f" and {len(ignored) - _SHOWN} more" if len(ignored) > _SHOWN else ""
        stdout.print(f"[yellow]no videos:[/] {escape(', '.join(ignored[:_SHOWN]))}{more}")
    for path, reason in report.broken:
        stdout.print(f"[bold red]broken:[/] {escape(manifest.relative(path))}: {escape(reason)}")
    if report.leaks:
        pair = report.leaks[0].pair
        names = " and ".join(escape(manifest.relative(report.files[index].path)) for index in (pair.first, pair.second))
        several = (
            "pairs of copies or near duplicates stand"
            if len(report.leaks) > 1
            else "pair of copies or near duplicates stands"
        )
        stdout.print(f"[bold red]leak:[/] {len(report.leaks)} {several} in two splits, such as {names}")
    if not report.broken:
        stdout.print("[green]every video decodes[/]")
