"""`kinema models`: what networks there are, and what one of them looks like."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kinema.cli.render import write_json
from kinema.cli.render_models import conversion_json, show_conversion, show_model, show_models

__all__ = ["app"]

app = typer.Typer(help="The networks that can be trained, and others' weights for them.", no_args_is_help=True)


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


@app.command()
def convert(
    file: Annotated[Path, typer.Argument(help="A torch or safetensors file, or a TensorFlow checkpoint's prefix.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The weights file to write, .safetensors.")],
    arch: Annotated[str | None, typer.Option(help="Network, where the file does not show which. [seen]")] = None,
    num_classes: Annotated[int | None, typer.Option(min=1, help="Classes, where the last layer is missing.")] = None,
    option: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="Of the network; repeatable.")] = None,
    labels: Annotated[Path | None, typer.Option(help="Class names: one a line, or JSON. [unknown]")] = None,
    allow_unmatched: Annotated[
        bool, typer.Option("--allow-unmatched", help="Leave fresh what is missing, leave out what is left over.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Weights of another project as a weights file of kinema; nothing in the file is run.

    Reads files of 3D-ResNets-PyTorch, pytorch-i3d, kinetics_i3d_pytorch, DeepMind's kinetics-i3d,
    torchvision's video networks, PyTorchVideo and the usual C3D port.
    """
    from kinema.models.convert.card import card_of, read_labels
    from kinema.models.convert.conversion import convert_file
    from kinema.models.weights import save_weights

    options = _read_options(option or [])
    names = read_labels(labels) if labels else None
    found = convert_file(
        file, architecture=arch, num_classes=num_classes, options=options, allow_unmatched=allow_unmatched
    )
    _keep_source(out, found.files)
    card = card_of(found, names)
    save_weights(out, found.model, card)
    if as_json:
        write_json(conversion_json(found, card, out))
    else:
        show_conversion(found, card, out)


def _read_options(assignments: list[str]) -> dict[str, object]:
    """`["shortcut=A", "max_pool=false"]` as options; values are read as YAML, as those of --set are."""
    import yaml

    from kinema.core.errors import UsageError

    options: dict[str, object] = {}
    for assignment in assignments:
        key, equals, value = (part.strip() for part in assignment.partition("="))
        if not (key and equals) or key in options:
            raise UsageError(f"--option {assignment}", allowed="--option key=value, such as shortcut=A, each key once")
        try:
            options[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise UsageError(f"--option {assignment}", allowed="a number, true, false or a word") from error
    return options


def _keep_source(out: Path, files: tuple[Path, ...]) -> None:
    from kinema.core.errors import UsageError

    if out.resolve() in {file.resolve() for file in files}:
        raise UsageError(f"--out {out} is the file that is read", allowed="another file")
