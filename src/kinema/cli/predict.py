"""`kinema predict`: what happens in these videos."""

from __future__ import annotations

from typing import Annotated

import typer

from kinema.cli.render import bars, show_error, write_json
from kinema.cli.render_results import show_prediction

__all__ = ["predict"]


def predict(
    weights: Annotated[str, typer.Argument(help="Weights file, or a name of `kinema models list --weights`.")],
    sources: Annotated[list[str], typer.Argument(help="Files, globs, folders or stream URLs.", metavar="SOURCE...")],
    window: Annotated[int | None, typer.Option(min=1, help="Frames a window. [those of the weights]")] = None,
    stride: Annotated[int | None, typer.Option(min=1, help="Frames from window to window. [half a window]")] = None,
    top_k: Annotated[int, typer.Option(min=1, help="Classes shown.")] = 5,
    timeline: Annotated[bool, typer.Option("--timeline", help="Show the scores over time.")] = False,
    enter: Annotated[float, typer.Option(help="Score that opens an event.")] = 0.6,
    leave: Annotated[float, typer.Option(help="Score below which it closes.")] = 0.4,
    min_seconds: Annotated[float, typer.Option(help="Shortest event.")] = 0.5,
    merge_seconds: Annotated[float, typer.Option(help="Longest pause within one event.")] = 1.0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a video, a line each.")] = False,
) -> None:
    """Class scores of whole videos, their timeline, and the intervals in which a class stays high.

    A video that cannot be read, or is too short for weights that allow no padding, is reported and
    the others go on; the exit code is then 4, or 3.
    """
    from kinema.core.errors import DataError, MediaError
    from kinema.inference.events import EventRule
    from kinema.inference.predictor import load
    from kinema.video.source import expand

    rule = EventRule(enter, leave, min_seconds, merge_seconds)
    with bars() as progress:
        predictor = load(weights, device=device, progress=progress)
    failed = 0
    for source in expand(sources):
        try:
            with bars() as progress:
                found = predictor.predict(source, window_frames=window, hop_frames=stride, rule=rule, progress=progress)
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
