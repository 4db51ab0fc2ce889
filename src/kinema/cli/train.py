"""`kinema train`: a folder of labelled clips becomes a classifier."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from kinema.cli.render import bars, write_json
from kinema.cli.render_results import show_outcome

__all__ = ["train"]

_DATA_HELP = "Folder of class folders, manifest, or packed data (its folder, index.json or URL)."
_WEIGHTS_HELP = "Start from a weights file, or a name of `kinema models list --weights`."
_FROM_HELP = "First stage to be trained, of `kinema models show`, or head; all before it stay as they are."
_REPEATED_HELP = "Go on with the run in --out if one lies there: for commands that torchrun or Slurm repeats."
_SPLIT_HELP = "What is kept together: auto, column, group or random."


def train(
    data: Annotated[str | None, typer.Argument(help=_DATA_HELP)] = None,
    model: Annotated[str | None, typer.Option(help="Network; see `kinema models list`.")] = None,
    weights: Annotated[str | None, typer.Option(help=_WEIGHTS_HELP)] = None,
    train_from: Annotated[str | None, typer.Option(help=_FROM_HELP)] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the clips.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Clips a step.")] = None,
    frames: Annotated[int | None, typer.Option(help="Frames a clip.")] = None,
    stride: Annotated[int | None, typer.Option(help="Source frames from one frame of a clip to the next.")] = None,
    size: Annotated[int | None, typer.Option(help="Side of the network input in pixels.")] = None,
    split_by: Annotated[str | None, typer.Option(help=_SPLIT_HELP, show_default="auto")] = None,
    folds: Annotated[int | None, typer.Option(help="Cross-validate over this many folds.")] = None,
    seed: Annotated[
        int | None, typer.Option(help="Of splits, initialisation and augmentation.", show_default="0")
    ] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or mps.", show_default="auto")] = None,
    allow_leak: Annotated[bool | None, typer.Option("--allow-leak", help="Permit splits that part a group.")] = None,
    skip_broken: Annotated[bool | None, typer.Option("--skip-broken", help="Leave out broken videos.")] = None,
    recipe: Annotated[
        Path | None,
        typer.Option(help="YAML file of settings, or of `kinema models list --recipes`.", show_default="kinema-small"),
    ] = None,
    assign: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any setting.")] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder.", show_default="runs/DATA-MODEL")] = None,
    repeated: Annotated[bool | None, typer.Option("--resume-or-begin", help=_REPEATED_HELP)] = None,
    resume: Annotated[Path | None, typer.Option(help="Go on with this run folder; takes no other setting.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON object on stdout.")] = False,
) -> None:
    """Train a classifier, test it on held-out videos, write weights and a report.

    Settings come from the recipe, then --set, then the options here. Where no model, weights or
    recipe is named, the recipe is kinema-small: made for a few hundred clips and no GPU. With
    --model and no recipe the defaults are those of docs/reference/settings.md (RGB, 16 frames,
    every second one, 112 pixels, 30 epochs).
    """
    from kinema.training.request import begin
    from kinema.training.request import resume as go_on

    given = _given(
        data=data, model=model, weights=weights, train_from=train_from, epochs=epochs, batch_size=batch_size,
        frames=frames, stride=stride, size=size, split_by=split_by, folds=folds, seed=seed, device=device,
        allow_leak=allow_leak, skip_broken=skip_broken,
    )  # fmt: skip
    with bars() as progress:
        if resume is None:
            outcome = begin(
                given, recipe=recipe, assignments=assign or [], out=out, repeated=bool(repeated), progress=progress
            )
        else:
            others = {**given, **_given(recipe=recipe, set=assign, out=out, resume_or_begin=repeated)}
            outcome = go_on(resume, others, progress=progress)
    if not outcome.main:
        return  # the first process speaks for all
    if as_json:
        write_json(outcome.to_json())
    else:
        show_outcome(outcome)


def _given(**settings: Any) -> dict[str, Any]:
    """Only what a user typed: the rest is left to the recipe and the defaults."""
    return {name: value for name, value in settings.items() if value is not None}
