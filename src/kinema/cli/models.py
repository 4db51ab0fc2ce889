"""`kinema models`: what networks there are, and what one of them looks like."""

from __future__ import annotations

from typing import Annotated

import typer

from kinema.cli.render import write_json
from kinema.cli.render_models import show_model, show_models

__all__ = ["app"]

app = typer.Typer(help="The networks that can be trained.", no_args_is_help=True)


@app.command("list")
def list_(as_json: Annotated[bool, typer.Option("--json", help="One JSON array on stdout.")] = False) -> None:
    """Every network with its size and cost at 400 classes."""
    from kinema.models.zoo import find_row, list_models

    rows = [find_row(name) for name in list_models()]
    if as_json:
        write_json([row.to_json() for row in rows])
    else:
        show_models(rows)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="A name of `kinema models list`.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """One network from clip to logits: shapes, parameters, cost and options."""
    from kinema.models.zoo import describe

    description = describe(name)
    if as_json:
        write_json(description.to_json())
    else:
        show_model(description)
