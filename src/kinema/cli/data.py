"""`kinema data`: what is in a data set, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kinema.cli import data_import, data_merge
from kinema.cli.render import bars, write_json
from kinema.cli.render_data import show_check

__all__ = ["app"]

app = typer.Typer(help="Look into labelled videos before training on them.", no_args_is_help=True)


@app.callback()
def _data() -> None:
    """Keeps `check` a command of its own."""


@app.command()
def check(
    data: Annotated[Path, typer.Argument(help="Folder of class folders, or manifest CSV.")],
    frames: Annotated[int, typer.Option(min=1, help="Frames of the clip that samples are compared with.")] = 16,
    workers: Annotated[int | None, typer.Option(min=0, help="Processes that decode. [one a processor]")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Decode every video of DATA; report classes, broken files and oddities.

    Leaves with 3 when a file is broken.
    """
    from kinema.core.errors import DataError
    from kinema.datasets.check import check as check_manifest
    from kinema.datasets.manifest import read_manifest

    with bars() as progress:
        report = check_manifest(
            read_manifest(data, min_classes=1), clip_frames=frames, workers=workers, progress=progress
        )
    if as_json:
        write_json(report.to_json())
    else:
        show_check(report)
    raise typer.Exit(DataError.exit_code if report.broken else 0)


app.command("import")(data_import.import_)
app.command("export")(data_import.export)
app.command("merge")(data_merge.merge)
