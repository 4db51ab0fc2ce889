"""The command `kinema`: gathers the commands and turns errors into words and exit codes.

Exit codes: 0 done; 1 kinema's own fault, or a standard output that cannot be written; 2 wrong usage; 3 data
that cannot be used; 4 video that cannot be read; 5 weights that cannot be used; 6 training that cannot go on;
130 stopped by Ctrl-C.
"""

from __future__ import annotations

import io
import os
import sys

import typer

from kinema.cli import data, demo, evaluate, models, predict, study, train
from kinema.cli.render import show_error, stdout
from kinema.core.errors import KinemaError
from kinema.core.version import __version__

__all__ = ["app", "main"]

app = typer.Typer(
    name="kinema",
    help="Labelled clips in, a video classifier out; a classifier in, answers about videos out.",
    epilog="Exit codes: 0 done, 2 usage, 3 data, 4 video, 5 weights, 6 training, 130 stopped by Ctrl-C.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",  # MARK
)
app.command("demo")(demo.demo)
app.command("train")(train.train)
app.command("evaluate")(evaluate.evaluate)
app.command("predict")(predict.predict)
app.command("study")(study.study)
app.add_typer(models.app, name="models")
app.add_typer(data.app, name="data")


def _version(asked: bool) -> None:
    if asked:
        stdout.print(__version__)
        raise typer.Exit


def _allow_absolute(context: typer.Context, asked: bool) -> None:
    if asked:
        from kinema.datasets.absolute import absolute_paths

        context.with_resource(absolute_paths())


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
    allow_absolute: bool = typer.Option(
        False,
        "--allow-absolute",
        callback=_allow_absolute,
        help="Let manifests name videos outside their folder, by absolute paths.",
    ),
) -> None:
    """Options before the command."""


def main() -> None:
    """Run the command line and leave with its exit code."""
    # Threads that wait for each other by spinning take the time of whatever else a shared machine does.
    # OpenMP reads this once, when torch is first imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="replace")  # a bar that cannot be drawn here must not end the program
    try:
        app()
    except KinemaError as error:
        show_error(error)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
