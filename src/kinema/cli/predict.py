"""`kinema predict`: what happens in these videos."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kinema.cli.options import Device, Fuse, Fusion, Stride, Weights
from kinema.cli.predict_sources import Watched, watched
from kinema.cli.render import bars, show_error, write_json
from kinema.cli.render_results import show_prediction
from kinema.core.errors import DataError, MediaError

if TYPE_CHECKING:  # this room loads torch, and `kinema --help` must not
    from kinema.inference.fusion import FusedPredictor
    from kinema.inference.predictor import Predictor
    from kinema.inference.result import Prediction

__all__ = ["predict"]


def predict(
    weights: Weights,
    sources: Annotated[
        list[str], typer.Argument(help="Files, globs, folders, stream URLs, or packed data.", metavar="SOURCE...")
    ],
    window: Annotated[
        int | None, typer.Option(min=1, help="Frames a window.", show_default="those of the weights")
    ] = None,
    stride: Stride = None,
    top_k: Annotated[int, typer.Option(min=1, help="Classes shown.")] = 5,
    timeline: Annotated[bool, typer.Option("--timeline", help="Show the scores over time.")] = False,
    enter: Annotated[float, typer.Option(help="Score that opens an event.")] = 0.6,
    leave: Annotated[float, typer.Option(help="Score below which it closes.")] = 0.4,
    min_seconds: Annotated[float, typer.Option(help="Shortest event.")] = 0.5,
    merge_seconds: Annotated[float, typer.Option(help="Longest pause within one event.")] = 1.0,
    fuse: Fuse = None,
    fusion: Fusion = None,
    raft_weights: Annotated[Path | None, typer.Option(help="torchvision's RAFT, for networks of its flow.")] = None,
    device: Device = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a video, a line each.")] = False,
) -> None:
    """Class scores of whole videos, their timeline, and the intervals in which a class stays high.

    Where the weights expect optical flow it is computed while the video is read, as they say.
    A video that cannot be read, or is too short for weights that allow no padding, is reported and
    the others go on; the exit code is then 4, or 3.
    """
    from kinema.inference.events import EventRule
    from kinema.inference.fusion import choose_fusion, load_together

    rule = EventRule(enter, leave, min_seconds, merge_seconds)
    chosen = choose_fusion(fusion, fuse)
    with bars() as progress:
        predictor = load_together(
            weights, fuse, fusion=chosen, device=device, raft_weights=raft_weights, progress=progress
        )
    failed = 0
    for video in watched(sources):
        try:
            found = _answer(predictor, video, window_frames=window, hop_frames=stride, rule=rule)
        except (MediaError, DataError) as error:
            show_error(error)
            failed = error.exit_code
            continue
        if as_json:
            write_json(found.to_json(top_k))
        else:
            show_prediction(found, top_k, timeline=timeline)
    if failed:
        raise typer.Exit(failed)


def _answer(predictor: Predictor | FusedPredictor, video: Watched | MediaError, **asked: Any) -> Prediction:
    """The prediction under the name of its video, and so what cannot be read of it or used."""
    if isinstance(video, MediaError):
        raise video
    try:
        with bars() as progress:
            found = predictor.predict(video.source, progress=progress, **asked)
    except MediaError as error:
        raise MediaError(video.name, error.reason, allowed=error.allowed, next_step=error.next_step) from error
    except DataError as error:
        raise DataError(f"{video.name}: {error.given}", allowed=error.allowed, next_step=error.next_step) from error
    return replace(found, source=video.name)
