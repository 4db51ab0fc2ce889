"""How computed flow looks on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape

from kinema.cli.render import stdout

if TYPE_CHECKING:  # this room loads torch, and `kinema --help` must not
    from kinema.datasets.flow import FlowReport

__all__ = ["show_flow"]


def show_flow(report: FlowReport) -> None:
    """How much there is, how it was made, what has none, and where the manifest is."""
    recipe, videos = report.recipe, report.computed + report.found
    there = f", {report.found} of them there already" if report.found else ""
    stdout.print(f"flow of {videos} videos{there}: {report.fields} fields")
    stdout.print(
        escape(
            f"{recipe.algorithm} ({recipe.library}) at {recipe.fps} fps, short side {recipe.short_side_px}, "
            f"within {recipe.bound_px:g} pixels, stored as {recipe.store}"
        )
    )
    for path, reason in report.broken:
        stdout.print(f"[bold red]no flow:[/] {escape(str(path))}: {escape(reason)}")
    source = report.manifest.source
    stdout.print(f"next: kinema train {escape(str(source))} --set modality=flow", style="green")
