"""`kinema train`: a folder of labelled clips becomes a classifier."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from kinema.cli.render import bars, write_json
from kinema.cli.render_results import show_outcome

__all__ = ["train"]

_SPLIT_HELP = "What is kept together: auto, column, group or random. [auto]"


def train(
    data: Annotated[Path | None, typer.Argument(help="Folder of class folders, or manifest CSV.")] = None,
    model: Annotated[str | None, typer.Option(help="Network; see `kinema models list`. [resnet3d_18]")] = None,
    weights: Annotated[Path | None, typer.Option(help="Weights file to start from.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the clips. [30]")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Clips a step. [16]")] = None,
    frames: Annotated[int | None, typer.Option(help="Frames a clip. [16]")] = None,
    stride: Annotated[int | None, typer.Option(help="Source frames between two frames of a clip. [2]")] = None,
    size: Annotated[int | None, typer.Option(help="Side of the network input in pixels. [112]")] = None,
    split_by: Annotated[str | None, typer.Option(help=_SPLIT_HELP)] = None,
    folds: Annotated[int | None, typer.Option(help="Cross-validate over this many folds.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of splits, initialisation and augmentation. [0]")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or mps. [auto]")] = None,
    allow_leak: Annotated[bool | None, typer.Option("--allow-leak", help="Permit splits that part a group.")] = None,
    skip_broken: Annotated[bool | None, typer.Option("--skip-broken", help="Leave out broken videos.")] = None,
    recipe: Annotated[Path | None, typer.Option(help="YAML file of settings.")] = None,
    assign: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any setting.")] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder. [runs/DATA-MODEL]")] = None,
    resume: Annotated[Path | None, typer.Option(help="Go on with this run folder; takes no other setting.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON object on stdout.")] = False,
) -> None:
    """Train a classifier, test it on held-out videos, write weights and a report.

    Every setting of a recipe can be given with --set; docs/reference/settings.md lists them.
    """
    from kinema.training.experiment import begin
    from kinema.training.experiment import resume as go_on

    given = _given(
        data=data, model=model, weights=weights, epochs=epochs, batch_size=batch_size, frames=frames, stride=stride,
        size=size, split_by=split_by, folds=folds, seed=seed, device=device, allow_leak=allow_leak,
        skip_broken=skip_broken,
    )  # fmt: skip
    with bars() as progress:
        if resume is None:
            outcome = begin(given, recipe=recipe, assignments=assign or [], out=out, progress=progress)
        else:
            others = {**given, **_given(recipe=recipe, set=assign, out=out)}
            outcome = go_on(resume, others, progress=progress)
    if as_json:
        write_json(outcome.to_json())
    else:
        show_outcome(outcome)


def _given(**settings: Any) -> dict[str, Any]:
    """Only what a user typed: the rest is left to the recipe and the defaults."""
    return {name: value for name, value in settings.items() if value is not None}
