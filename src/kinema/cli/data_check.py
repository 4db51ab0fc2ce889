"""`kinema data check`: what is wrong with a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kinema.cli.render import bars, write_json
from kinema.cli.render_data import show_check

__all__ = ["check"]


def check(
    data: Annotated[Path, typer.Argument(help="Folder of class folders, or manifest.")],
    frames: Annotated[int, typer.Option(min=1, help="Frames of the clip that samples are compared with.")] = 16,
    workers: Annotated[
        int | None, typer.Option(min=0, help="Processes that decode.", show_default="one a processor")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Write an HTML page with pictures.")] = None,
    table: Annotated[Path | None, typer.Option(help="Write a CSV table of all files.")] = None,
    quarantine: Annotated[Path | None, typer.Option(help="Write quarantine.csv and kept.csv into this folder.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Decode every video of DATA; report classes, broken files, copies and oddities.

    Leaves with 3 when a file is broken, or when one film stands in two splits of DATA. Moves
    and changes no video: quarantine.csv lists what is broken, kept.csv is DATA without it.
    """
    from kinema.core.errors import DataError
    from kinema.datasets.check import check as check_manifest
    from kinema.datasets.check_files import require_above, write_check_table, write_quarantine
    from kinema.datasets.check_page import write_check_page
    from kinema.datasets.manifest import read_manifest

    manifest = read_manifest(data, min_classes=1)
    if quarantine is not None:
        require_above(quarantine, manifest, instead=f"--quarantine {manifest.root}")
    with bars() as progress:
        found = check_manifest(manifest, clip_frames=frames, workers=workers, progress=progress)
        if report is not None:
            write_check_page(report, found, progress)
    if table is not None:
        write_check_table(table, found)
    if as_json:
        write_json(found.to_json())
    else:
        show_check(found)
    if quarantine is not None:
        write_quarantine(quarantine, found)
    raise typer.Exit(0 if found.fine else DataError.exit_code)
