"""The page of settings, made from TrainConfig."""  # noqa: INP001

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from kinema.cli.train import train
from kinema.training.config import TrainConfig
from kinema.training.recipe import DEFAULT_RECIPE, allowed_values, load_recipe, make_config

__all__ = ["settings_page"]

# Heading -> the first field below it, in the order of TrainConfig.
SECTIONS = {
    "Data and network": "data",
    "What a clip is": "frames",
    "Augmentation, in training only": "crop",
    "Optimisation": "epochs",
    "Who trains, who tests": "split_by",
    "The run": "eval_hop",
}

INTRODUCTION = f"""\
# Settings

<!-- Made by `python docs/build.py --pages-only` from kinema.training.config.TrainConfig; edit that. -->

A training run is described by these settings and nothing else. They come from a recipe (`--recipe`: a YAML file of
settings, or a recipe of kinema's own by name), over which go `--set name=value` (repeatable) and the options of
`kinema train`. Settings with an option of their own show it below their name. The run folder's `config.yaml` holds all
of them and is itself a recipe.

A setting that none of the three gives has the *default* below. Where no model, weights or recipe is named,
`{DEFAULT_RECIPE}` is the recipe, so its values, shown beside, hold instead. With `--weights` and no
model, the network and the input (model, model_options, modality, frames, stride or fps, clip_padding, size, short_side,
region) are those of the weights.

Unknown names, values out of range and contradictions are refused before anything is read.

```yaml
# first.yaml: kinema train clips --recipe first.yaml
model: resnet3d_18
epochs: 20
lr: 0.0005
brightness: 0.2
```
"""


def settings_page() -> str:
    """The whole page."""
    fields = TrainConfig.model_fields
    starts = {first: title for title, first in SECTIONS.items()}
    if missing := starts.keys() - fields.keys():
        raise SystemExit(f"SECTIONS names settings that are gone: {', '.join(sorted(missing))}")
    recipe = load_recipe(Path(DEFAULT_RECIPE))
    lines = [INTRODUCTION]
    for name, field in fields.items():
        if name in starts:
            lines += [
                f"\n## {starts[name]}\n",
                f"| setting | allowed | default | {DEFAULT_RECIPE} | what it is |",
                "|---|---|---|---|---|",
            ]
        options = sorted(option for option in _options() if option == name)
        shown = f"`{name}`" + "".join(f"<br>`--{option.replace('_', '-')}`" for option in options)
        ours = _value(recipe[name]) if name in recipe else ""
        lines.append(f"| {shown} | {allowed_values(field)} | {_default(field)} | {ours} | {field.description} |")
    lines += ["\n## Contradictions\n", "Refused, whichever way the settings were given:\n"]
    return "\n".join([*lines, *(f"- {text}" for text in _contradictions())]) + "\n"


def _options() -> Iterator[str]:
    """Names of the parameters of `kinema train`."""
    yield from inspect.signature(train).parameters


def _contradictions() -> Iterator[str]:
    for text, _ in make_config({"data": "."})._contradictions():  # noqa: SLF001
        yield text


def _default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined and field.default_factory is None:
        return "required"
    return _value(field.get_default(call_default_factory=True))


def _value(value: Any) -> str:
    if value in ({}, ()):
        return "none"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, dict):
        return ", ".join(f"{name}: {one}" for name, one in value.items())
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(f'{one:.4g}' for one in value)}]"
    return str(value)
