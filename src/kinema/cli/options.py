"""Arguments and options that `evaluate` and `predict` have in common, said once."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["Device", "Fuse", "Fusion", "Stride", "Weights"]

Weights = Annotated[str, typer.Argument(help="Weights file, or a name of `kinema models list --weights`.")]

Stride = Annotated[int | None, typer.Option(min=1, help="Frames from window to window.", show_default="half a window")]

Fuse = Annotated[
    str | None,
    typer.Option(
        metavar="WEIGHTS", help="Weights of a second network, such as one of flow, whose answers are joined with these."
    ),
]

Fusion = Annotated[
    str | None, typer.Option(help="How --fuse joins them: logits (their sum) or probabilities.", show_default="logits")
]

Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
