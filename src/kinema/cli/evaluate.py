"""`kinema evaluate`: how good a classifier is on labelled videos."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from kinema.cli.options import Device, Fuse, Fusion, Stride, Weights
from kinema.cli.render import bars, write_json
from kinema.cli.render_results import show_metrics

__all__ = ["evaluate"]

_DATA_HELP = "Folder of class folders, manifest, or packed data (its folder, index.json or URL)."


def evaluate(
    weights: Weights,
    data: Annotated[str, typer.Argument(help=_DATA_HELP)],
    split: Annotated[str, typer.Option(help="test, val, train or all.")] = "test",
    stride: Stride = None,
    still: Annotated[
        bool, typer.Option("--still", help="Repeat one frame of each window: what is seen without motion.")
    ] = False,
    skip_broken: Annotated[bool, typer.Option("--skip-broken", help="Leave out broken videos.")] = False,
    fuse: Fuse = None,
    fusion: Fusion = None,
    device: Device = "auto",
    out: Annotated[Path | None, typer.Option(help="Folder for report.html, metrics.json and predictions.csv.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Figures at clip and at video level, each with its interval and its protocol.

    Where the weights expect optical flow and DATA are videos, it is computed as they say, and kept.
    """
    from kinema.evaluation.examine import examine
    from kinema.evaluation.fused import examine_fused
    from kinema.evaluation.protocol import Views
    from kinema.inference.fusion import choose_fusion

    chosen = choose_fusion(fusion, fuse)
    how: dict[str, Any] = {"split": split, "views": Views(stride, still), "skip_broken": skip_broken}
    with bars() as progress:
        how |= {"device": device, "out": out, "progress": progress}
        if fuse is None:
            found = examine(weights, data, **how)
        else:
            found = examine_fused(weights, data, beside=fuse, fusion=chosen, **how)
    if as_json:
        write_json(found.to_json())
    else:
        show_metrics(found)
