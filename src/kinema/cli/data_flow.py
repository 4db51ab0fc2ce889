"""`kinema data flow`: optical flow of a data set, as a data set of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kinema.cli.render import bars, write_json
from kinema.cli.render_flow import show_flow

__all__ = ["flow"]

_WORKERS_HELP = "Processes that compute. [one a processor, at most 8; one on a GPU]"


def flow(
    data: Annotated[Path, typer.Argument(help="Folder of class folders, or manifest.")],
    out: Annotated[Path, typer.Argument(help="Folder for the flow and its manifest.csv.")],
    algorithm: Annotated[str, typer.Option(help="tvl1, dis, farneback or raft.")] = "tvl1",
    store: Annotated[str, typer.Option(help="jpeg: two pictures a field; video: one lossless video.")] = "jpeg",
    bound: Annotated[float, typer.Option(help="Pixels of motion beyond which it is cut off.")] = 20.0,
    fps: Annotated[
        str, typer.Option(help="Frames a second between which motion is measured, as 25 or 30000/1001.")
    ] = "25",
    short_side: Annotated[int, typer.Option(min=1, help="Pixels that frames are scaled to before.")] = 256,
    raft: Annotated[str, typer.Option(help="raft_small or raft_large.")] = "raft_small",
    weights: Annotated[Path | None, typer.Option(help="torchvision's weights of that RAFT.")] = None,
    device: Annotated[str, typer.Option(help="Where RAFT runs: cpu or cuda.")] = "cpu",
    workers: Annotated[int | None, typer.Option(min=0, help=_WORKERS_HELP)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Compute the optical flow of every video of DATA into OUT, and OUT/manifest.csv to train on it.

    The defaults are those of the I3D paper: TV-L1 at 25 frames a second on frames of short side 256,
    cut off at 20 pixels. What is there already is kept, so an interrupted run goes on when started
    again. Leaves with 3 when a video has no flow.
    """
    from kinema.core.errors import DataError
    from kinema.datasets.flow import compute_flow, parse_fps
    from kinema.datasets.manifest import read_manifest
    from kinema.video.flow import FlowChoice

    choice = FlowChoice(algorithm, raft, weights, device)
    with bars() as progress:
        report = compute_flow(
            read_manifest(data, min_classes=1), out, choice, store=store, bound_px=bound, fps=parse_fps(fps),
            short_side_px=short_side, workers=workers, progress=progress,
        )  # fmt: skip
    if as_json:
        write_json(report.to_json())
    else:
        show_flow(report)
    raise typer.Exit(DataError.exit_code if report.broken else 0)
