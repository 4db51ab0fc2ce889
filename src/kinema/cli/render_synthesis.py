"""How a rendered data set looks on a terminal."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from rich.markup import escape

from kinema.cli.render import stdout

if TYPE_CHECKING:  # this room loads torch, and `kinema --help` must not
    from kinema.datasets.formula.synthesis import SynthesisReport

__all__ = ["show_synthesis"]


def show_synthesis(report: SynthesisReport) -> None:
    """How many clips of what there are, and what comes next."""
    manifest, what = report.manifest, report.synthesis
    there = f", {report.found} of them there already" if report.found else ""
    stdout.print(f"{len(manifest)} clips of {len(manifest.labels)} classes{there}")
    kinds = Counter(name.partition("-")[0] for name in manifest.labels.require())
    stdout.print(", ".join(f"{count} classes of {kind}" for kind, count in sorted(kinds.items())))
    stdout.print(f"{what.frames} frames of {what.size_px} x {what.size_px} pixels at {what.fps} fps, seed {what.seed}")
    stdout.print(f"next: kinema train {escape(str(manifest.source))}", style="green")
