"""How a study looks on a terminal: its runs before, its tables after."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table as Grid

from kinema.cli.render import stderr, stdout

if TYPE_CHECKING:  # these rooms load torch, and `kinema --help` must not
    from kinema.studies.conduct import Told
    from kinema.studies.tables import Table

__all__ = ["list_runs", "show_study"]


def list_runs(told: Told) -> None:
    """Every run and how it stands; then how many there are."""
    done = set(told.course.done)
    for run in told.grid.all:
        how = "done" if run.name in done else "failed" if run.name in told.course.failed else "to run"
        stdout.print(f"{how:<7} {escape(run.name)}")
    first = f", after {len(told.grid.pretrainings)} pretrainings" if told.grid.pretrainings else ""
    finished = f"{len(done)} of {len(told.grid.all)} finished in {escape(str(told.grid.out))}"
    stdout.print(f"{len(told.grid.runs)} runs{first}; {finished}")


def show_study(told: Told) -> None:
    """The tables, what must be known of them, and where everything lies."""
    from kinema.studies.folder import StudyFolder

    for table in told.report.tables if told.report else ():
        _show_table(table)
    for name, error in told.course.failed.items():
        lines = error.strip().splitlines()
        stderr.print(
            f"[bold red]failed:[/] {escape(name)}: {escape(lines[-1] if 'Traceback' in lines[0] else lines[0])}"
        )
    if told.course.missing:
        stderr.print(f"[yellow]not run:[/] {len(told.course.missing)}, such as {escape(told.course.missing[0])}")
    folder = StudyFolder(told.grid.out)
    written = {"results": folder.results}
    if told.report:
        written = {"report": folder.report, **written, "tables": folder.tables}
    for name, path in written.items():
        stdout.print(f"{name:<8} {escape(str(path))}")


def _show_table(table: Table) -> None:
    from kinema.studies.report import shown

    drawn = Grid(
        escape(table.header), *(escape(column or "video top-1, %") for column in table.columns),
        title=escape(table.title), title_justify="left",
    )  # fmt: skip
    for row, cells in zip(table.rows, table.cells, strict=True):
        drawn.add_row(escape(row), *(escape(shown(cell).replace("**", "")) for cell in cells))
    stdout.print(drawn)
    for warning in table.warnings:
        stderr.print(f"[yellow]warning:[/] {escape(warning)}")
