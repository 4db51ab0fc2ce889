"""How extracted frames look on a terminal."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from rich.filesize import decimal
from rich.markup import escape

from kinema.cli.render import stdout
from kinema.core.errors import UsageError

if TYPE_CHECKING:  # this room loads torch, and `kinema --help` must not
    from kinema.datasets.frames import FramesReport

__all__ = ["read_fps", "show_frames"]


def read_fps(given: str) -> Fraction:
    """`12.5` or `30000/1001` as an exact number; UsageError if it is none."""
    try:
        return Fraction(given)
    except (ValueError, ZeroDivisionError) as error:
        raise UsageError(f"--fps {given}", allowed="a number such as 12.5, or a fraction such as 30000/1001") from error


def show_frames(report: FramesReport) -> None:
    """How many frames there are, what was there before, and what is broken."""
    written = report.written
    frames = sum(folder.frames for folder in written)
    rate = f", {frames / report.seconds:.0f} frames/s" if written else ""
    size = decimal(sum(folder.size_bytes for folder in written))
    stdout.print(f"{len(written)} videos written: {frames} frames, {size} in {report.seconds:.1f} s{rate}")
    if kept := sum(folder.kept for folder in report.folders):
        stdout.print(f"{kept} videos were there already")
    relative = report.manifest.relative
    for path, folder in report.renamed:
        inside = folder.relative_to(report.out).as_posix()
        stdout.print(f"[yellow]renamed:[/] {escape(relative(path))} -> {escape(inside)}, as another has its name")
    for path, reason in report.broken:
        stdout.print(f"[bold red]broken:[/] {escape(relative(path))}: {escape(reason)}")
    stdout.print(escape(str(report.out / "manifest.csv")))
