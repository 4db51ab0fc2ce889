"""`kinema data import` and `kinema data export`: data sets as their authors, or other tools, lay them out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kinema.cli.render import bars, stderr, write_json
from kinema.cli.render_import import show_import

__all__ = ["export", "import_"]

_FORMATS = (
    "kinetics400, kinetics600, kinetics700, moments_in_time, stair_actions, activitynet, ucf101, hmdb51, hara-json, "
    "mmaction-txt or folder."
)


def import_(
    name: Annotated[str, typer.Argument(metavar="FORMAT", help=_FORMATS)],
    root: Annotated[Path, typer.Argument(help="Folder that the videos were unpacked to.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Manifest to write (.csv or .parquet), in ROOT or above.")],
    annotations: Annotated[
        Path | None, typer.Option(help="Folder of the official lists, or a list.", show_default="ROOT")
    ] = None,
    split: Annotated[
        int | None, typer.Option(min=1, help="Official split, where there are several.", show_default="1")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Write a manifest of a data set as its authors distribute it.

    What its lists name and the disk lacks is counted, and listed in NAME.missing.csv beside the manifest.
    """
    from kinema.datasets.published.formats import import_published

    with bars() as progress:
        found = import_published(name, root, annotations=annotations, split=split, progress=progress)
    found.write(out)
    if as_json:
        write_json({"schema": "kinema.import", "version": 1, "manifest": str(out)} | found.to_json())
    else:
        show_import(found, out)


def export(
    data: Annotated[Path, typer.Argument(help="Folder of class folders, or manifest.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write.")],
    name: Annotated[str, typer.Option("--format", help="hara-json: the annotation file of 3D-ResNets.")] = "hara-json",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Write a manifest in the form that another tool reads."""
    from kinema.core.errors import UsageError
    from kinema.datasets.manifest import read_manifest
    from kinema.datasets.published.hara_json import write_hara_json

    if name != "hara-json":
        raise UsageError(f"no format named '{name}' to write", allowed="hara-json")
    with bars() as progress:
        manifest = read_manifest(data, min_classes=1)
        write_hara_json(manifest, out, progress=progress)
    if as_json:
        write_json({"schema": "kinema.export", "version": 1, "file": str(out), "samples": len(manifest)})
    else:
        stderr.print(f"{out}: {len(manifest)} samples", markup=False)
