"""`kinema study`: a grid of trainings becomes a paper's tables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kinema.cli.render import bars, write_json
from kinema.cli.render_study import list_runs, show_study
from kinema.core.errors import UsageError

__all__ = ["study"]

_WORKERS_HELP = "Processes on this machine, a GPU each where there are any."


def study(
    file: Annotated[Path, typer.Argument(help="YAML file of axes and what their levels set.", metavar="FILE")],
    out: Annotated[Path | None, typer.Option(help="Folder of runs and report.", show_default="studies/FILE")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help=_WORKERS_HELP, show_default="1")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or mps, over what the study says.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the runs, having checked them all.")] = False,
    report: Annotated[bool, typer.Option("--report", help="Only make the report anew, of what is there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON object on stdout.")] = False,
) -> None:
    """Train every combination of levels, then compare them in tables and figures.

    Runs that are finished are never repeated, and one that was stopped goes on where it was: call the same
    command again. Call it on another machine, with the same --out, and that machine helps.
    """
    from kinema.studies.conduct import conduct

    unused = "--dry-run" if dry_run else "--workers" if workers is not None else None
    if report and unused:
        raise UsageError(
            f"--report and {unused}",
            allowed="--report, which trains nothing, with neither --dry-run nor --workers",
            next_step="leave out one of them",
        )
    with bars() as progress:
        told = conduct(
            file, out, workers=workers or 1, device=device, only="list" if dry_run else "report" if report else None,
            progress=progress,
        )  # fmt: skip
    if as_json:
        write_json(told.to_json())
    elif dry_run:
        list_runs(told)
    else:
        show_study(told)
    if told.failed and not report:
        raise typer.Exit(6)
