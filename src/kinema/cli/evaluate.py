"""`kinema evaluate`: how good a classifier is on labelled videos."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kinema.cli.render import bars, write_json
from kinema.cli.render_results import show_metrics

__all__ = ["evaluate"]


def evaluate(
    weights: Annotated[str, typer.Argument(help="Weights file, or a name of `kinema models list --weights`.")],
    data: Annotated[Path, typer.Argument(help="Folder of class folders, or manifest CSV.")],
    split: Annotated[str, typer.Option(help="test, val, train or all.")] = "test",
    stride: Annotated[int | None, typer.Option(min=1, help="Frames from window to window. [half a window]")] = None,
    still: Annotated[
        bool, typer.Option("--still", help="Repeat one frame of each window: what is seen without motion.")
    ] = False,
    skip_broken: Annotated[bool, typer.Option("--skip-broken", help="Leave out broken videos.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    out: Annotated[Path | None, typer.Option(help="Folder for report.html, metrics.json and predictions.csv.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Figures at clip and at video level, each with its interval and its protocol."""
    from kinema.evaluation.examine import examine
    from kinema.evaluation.protocol import Views

    with bars() as progress:
        found = examine(
            weights, data, split=split, views=Views(stride, still), skip_broken=skip_broken, device=device,
            out=out, progress=progress,
        )  # fmt: skip
    if as_json:
        write_json(found.to_json())
    else:
        show_metrics(found)
