"""`kinema data merge`: several data sets as one manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kinema.cli.render import write_json
from kinema.cli.render_import import merged_json, show_merged

__all__ = ["merge"]


def merge(
    data: Annotated[list[Path], typer.Argument(help="Manifests; a data set is called like its file or folder.")],
    classes: Annotated[str, typer.Option(help="prefix: DATASET/CLASS, all apart. union: equal names are one class.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Manifest to write (.csv or .parquet), above all videos.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Merge data sets into one manifest with a column `dataset`.

    Groups get the name of their data set in front. A union tells which names it keeps apart that seem to
    mean the same, such as `brush_hair` and `brushing hair`. `--set balance=dataset` of `kinema train` shows
    small data sets as often as large ones.
    """
    from kinema.datasets.manifest import read_manifest
    from kinema.datasets.merge import alike, names_of
    from kinema.datasets.merge import merge as merge_manifests

    manifests = {name: read_manifest(path, min_classes=1) for name, path in names_of(data).items()}
    merged = merge_manifests(manifests, out, rule=classes)
    merged.write(out)
    near = alike(merged.labels) if classes == "union" else ()
    if as_json:
        write_json(merged_json(merged, out, near))
    else:
        show_merged(merged, out, near)
