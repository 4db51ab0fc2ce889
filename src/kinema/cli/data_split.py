"""`kinema data split`: who trains, who validates, who tests, written down."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kinema.cli.render import bars, write_json
from kinema.cli.render_split import show_split

__all__ = ["split"]


def split(
    data: Annotated[Path, typer.Argument(help="Folder of class folders, or manifest.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Manifest to write; with --folds NAME-fold1.csv, NAME-fold2.csv, ...")
    ],
    split_by: Annotated[str, typer.Option(help="What is kept together: auto, column, group or random.")] = "auto",
    group_by: Annotated[
        str, typer.Option(help="Groups: the manifest's column, or clusters of videos that look alike.")
    ] = "column",
    fractions: Annotated[
        tuple[float, float, float], typer.Option(metavar="TRAIN VAL TEST", help="Shares that sum to 1.")
    ] = (0.7, 0.15, 0.15),
    folds: Annotated[int | None, typer.Option(help="Make this many splits; every sample tests once.")] = None,
    seed: Annotated[int, typer.Option(help="Which of the equally even splits.")] = 0,
    allow_leak: Annotated[bool, typer.Option("--allow-leak", help="Permit splits that part a group.")] = False,
    workers: Annotated[
        int | None, typer.Option(min=0, help="Processes that decode.", show_default="one a processor")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Split DATA by groups, evenly over classes, and write it as a manifest with a split column.

    The same data, options and seed give the same split on any machine. A split at random looks at
    every video first, and is refused where it would part videos that look alike.
    """
    from kinema.datasets.assignment import assign, fold_path
    from kinema.datasets.check_files import require_above
    from kinema.datasets.manifest import read_manifest
    from kinema.datasets.splits import SplitRule

    rule = SplitRule(by=split_by, fractions=fractions, folds=folds, seed=seed, allow_leak=allow_leak)
    manifest = read_manifest(data)
    require_above(out.parent, manifest, instead=f"--out {manifest.root / out.name}")
    with bars() as progress:
        made = assign(manifest, rule, group_by=group_by, workers=workers, progress=progress)
    written = [fold_path(out, one.split.fold) for one in made]
    for one, target in zip(made, written, strict=True):
        one.manifest.write(target)
    if as_json:
        splits = [one.to_json() | {"written": str(target)} for one, target in zip(made, written, strict=True)]
        write_json({"schema": "kinema.split", "version": 1, "source": str(manifest.source), "splits": splits})
    else:
        show_split(made, written)
