"""`kinema data synthesize`: clips rendered by formulas, to learn motion from before there are videos."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kinema.cli.render import bars, write_json
from kinema.cli.render_synthesis import show_synthesis

__all__ = ["synthesize"]


def synthesize(
    out: Annotated[Path, typer.Argument(help="Folder for the clips and their manifest.csv.")],
    clips_per_class: Annotated[int, typer.Option("--clips-per-class", "-n", help="Clips of each class.")],
    size: Annotated[int, typer.Option(help="Width and height in pixels.")] = 72,
    frames: Annotated[int, typer.Option(help="Frames of each clip.")] = 32,
    fps: Annotated[int, typer.Option(help="Frames a second; motions are fixed in seconds.")] = 16,
    seed: Annotated[int, typer.Option(help="Another seed gives other clips.")] = 0,
    kinds: Annotated[str, typer.Option(help="Which of them, joined by commas.")] = "figure,flow,fractal",
    workers: Annotated[
        int | None, typer.Option(min=0, help="Processes that render.", show_default="one a processor, at most 8")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Render clips whose class lies in their motion alone, from formulas and no picture, to pre-train on.

    Figures that walk, fall or push, noise that flows, fractals that unfold. What is there already is kept, so an
    interrupted run goes on when started again, and more clips a class add to those that are there.
    """
    from kinema.datasets.formula.synthesis import Synthesis
    from kinema.datasets.formula.synthesis import synthesize as render

    what = Synthesis(seed=seed, size_px=size, frames=frames, fps=fps)
    names = [name.strip() for name in kinds.split(",") if name.strip()]
    with bars() as progress:
        report = render(
            out, clips_per_class=clips_per_class, synthesis=what, kinds=names, workers=workers, progress=progress
        )
    if as_json:
        write_json(report.to_json())
    else:
        show_synthesis(report)
