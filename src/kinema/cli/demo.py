"""`kinema demo`: the whole road on a data set that kinema renders itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kinema.cli.render import bars, stdout, write_json

__all__ = ["demo"]


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the data, the run and the report; replaced.")] = Path("demo"),
    seed: Annotated[int, typer.Option(min=0, help="Of the data and the training.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON object on stdout.")] = False,
) -> None:
    """Render clips, train, test on unseen scenes, find the abnormal intervals in a minute of video, report."""
    from kinema.demo import run

    with bars() as progress:
        result = run(out, seed=seed, progress=progress)
    if as_json:
        write_json(result.to_json())
        return
    stdout.print(f"video accuracy on unseen scenes       {result.video_accuracy:.3f}")
    stdout.print(f"the same network on one frozen frame  {result.static_accuracy:.3f}")
    stdout.print(f"temporal IoU of the intervals found   {result.mean_temporal_iou:.3f}")
    stdout.print(f"{result.seconds:.0f} s; open {result.report}")
