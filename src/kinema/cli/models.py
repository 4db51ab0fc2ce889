"""`kinema models`: what networks, weights and recipes there are, and what one of them looks like."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from kinema.cli.render import bars, stdout, write_json
from kinema.cli.render_models import conversion_json, show_conversion
from kinema.cli.render_recipes import show_recipe, show_recipes
from kinema.cli.render_zoo import models_json, show_model, show_models, show_record, show_records
from kinema.core.errors import UsageError

__all__ = ["app"]

app = typer.Typer(help="The networks that can be trained, and others' weights for them.", no_args_is_help=True)


@app.command("list")
def list_(
    weights: Annotated[bool, typer.Option("--weights", help="Published weights instead of networks.")] = False,
    recipes: Annotated[bool, typer.Option("--recipes", help="Recipes of kinema train instead.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON array on stdout.")] = False,
) -> None:
    """Every network with its size, cost at 400 classes, and the best that was published of it."""
    from kinema.models.records.lookup import list_records, records_of
    from kinema.models.zoo import find_row, list_models

    if weights and recipes:
        raise UsageError("--weights and --recipes", allowed="one of them", next_step="list one, then the other")
    if recipes:
        from kinema.training.recipe import recipe_summaries

        summaries = recipe_summaries()
        write_json(summaries) if as_json else show_recipes(summaries)
        return
    if weights:
        records = list_records()
        write_json([record.to_json() for record in records]) if as_json else show_records(records)
        return
    rows = [(find_row(name), records_of(name)) for name in list_models()]
    write_json(models_json(rows)) if as_json else show_models(rows)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="A name of `kinema models list`, alone or of --weights or --recipes.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """One network from clip to logits, what is known about published weights, or a recipe with its reasons."""
    from kinema.models.records.lookup import find_record, is_record, records_of
    from kinema.models.zoo import describe
    from kinema.training.recipe import list_recipes, load_recipe, recipe_text

    if name in list_recipes():
        write_json(load_recipe(Path(name))) if as_json else show_recipe(recipe_text(name))
        return
    if is_record(name):
        record = find_record(name)
        write_json(record.to_json()) if as_json else show_record(record)
        return
    description, records = describe(name), records_of(name)
    if as_json:
        write_json({**description.to_json(), "weights": [record.to_json() for record in records]})
    else:
        show_model(description, records)


@app.command()
def download(
    name: Annotated[str, typer.Argument(help="A name of `kinema models list --weights`.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write a copy here, .safetensors.")] = None,
    labels: Annotated[Path | None, typer.Option(help="With --out: class names, one a line, or JSON.")] = None,
) -> None:
    """Fetch published weights, convert them, and print the path of the file.

    Names of weights, here and wherever weights are asked for, mean that file in the cache. Where
    there is no direct link, or KINEMA_OFFLINE is set, it says which file to put where.
    """
    from kinema.core.errors import UsageError
    from kinema.models.convert.card import read_labels
    from kinema.models.published import weights_path, write_copy

    if labels is not None and out is None:
        raise UsageError("--labels without --out", allowed="a copy that bears the names", next_step="add --out FILE")
    with bars() as progress:
        path = weights_path(name, progress=progress)
    if out is not None:
        write_copy(path, out, labels=read_labels(labels) if labels else None)
    stdout.print(escape(str(out or path)))


@app.command()
def convert(
    file: Annotated[Path, typer.Argument(help="A torch or safetensors file, or a TensorFlow checkpoint's prefix.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The weights file to write, .safetensors.")],
    arch: Annotated[
        str | None, typer.Option(help="Network, where the file does not show which.", show_default="seen")
    ] = None,
    num_classes: Annotated[int | None, typer.Option(min=1, help="Classes, where the last layer is missing.")] = None,
    option: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="Of the network; repeatable.")] = None,
    labels: Annotated[
        Path | None, typer.Option(help="Class names: one a line, or JSON.", show_default="unknown")
    ] = None,
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


@app.command()
def publish(
    weights: Annotated[str, typer.Argument(help="Weights file, or a name of `kinema models list --weights`.")],
    destination: Annotated[str, typer.Argument(help="A folder, or hf://owner/name on the Hugging Face Hub.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Weights with a config.json and a README.md, as the Hub shows them; read again by folder or address.

    A README.md from which its first comment line was removed belongs to you and is left alone.
    """
    from kinema.models.hub import publish as write
    from kinema.models.published import weights_path

    with bars() as progress:
        done = write(weights_path(weights, progress=progress), destination)
    if as_json:
        write_json(done.to_json())
    else:
        kept = f" [dim](kept: {', '.join(done.kept)})[/]" if done.kept else ""
        stdout.print(f"{escape(done.place)}: {', '.join(done.written)}{kept}")


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
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise UsageError(f"--option {assignment}", allowed="a number, true, false or a word") from error
    return options


def _keep_source(out: Path, files: tuple[Path, ...]) -> None:
    from kinema.core.errors import UsageError

    if out.resolve() in {file.resolve() for file in files}:
        raise UsageError(f"--out {out} is the file that is read", allowed="another file")
