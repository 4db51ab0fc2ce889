"""One call from a study file to its report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from kinema.core.progress import Progress, Silent
from kinema.studies.checks import check
from kinema.studies.folder import StudyFolder
from kinema.studies.grid import Grid, lay_out
from kinema.studies.report import StudyReport, report_study
from kinema.studies.results import write_results
from kinema.studies.workers import Course, course_of, run_study

__all__ = ["Told", "conduct"]


@dataclass(frozen=True)
class Told:
    """What a call has to tell.

    Attributes:
        grid: the study.
        course: how its runs stand.
        report: what was made of them; None where nothing was to be made, or no run is finished.
        results: where results.csv was written; None where nothing was to be made.
    """

    grid: Grid
    course: Course
    report: StudyReport | None
    results: Path | None

    @property
    def failed(self) -> bool:
        """Whether a run failed, or could not be run."""
        return self.results is not None and bool(self.course.failed or self.course.missing)

    def to_json(self) -> dict[str, Any]:
        """What `kinema study --json` ends with."""
        folder = StudyFolder(self.grid.out)
        return {
            "out": str(self.grid.out),
            "runs": [run.name for run in self.grid.all],
            "done": len(self.course.done),
            "failed": dict(self.course.failed),
            "missing": list(self.course.missing),
            "report": str(folder.report) if self.report else None,
            "results": str(self.results) if self.results else None,
            "tables": str(folder.tables) if self.report else None,
            "warnings": [f"{t.title}: {w}" for t in self.report.tables for w in t.warnings] if self.report else [],
        }


def conduct(
    file: Path,
    out: Path | None = None,
    *,
    workers: int = 1,
    device: str | None = None,
    only: Literal["list", "report"] | None = None,
    progress: Progress | None = None,
) -> Told:
    """Run a study as the command line asks.

    Args:
        file: the study.
        out: its folder; `studies/FILE` unless given.
        workers: processes on this machine.
        device: where to train, over what the study says.
        only: check and list the runs; or make the report of what is there.
        progress: where bars and lines go.

    Raises:
        UsageError: a study that cannot be run as it stands; the runs are named.
        DataError: data that cannot be used.
        KeyboardInterrupt: Ctrl-C; what was being trained is saved.
    """
    shown = progress or Silent()
    grid = lay_out(file, out or Path("studies") / file.stem, device=device)
    folder = StudyFolder(grid.out)
    if only == "report":
        folder.require_same(grid)
        return Told(grid, course_of(grid), report_study(grid), folder.results)
    check(grid)
    if only == "list":
        return Told(grid, course_of(grid), None, None)
    course = run_study(grid, workers=workers, progress=shown)
    if any(run.name in course.done for run in grid.runs):
        return Told(grid, course, report_study(grid), folder.results)
    write_results(folder.results, grid, {})
    return Told(grid, course, None, folder.results)
