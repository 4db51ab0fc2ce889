"""Make what is generated: docs/reference/settings.md from TrainConfig, and the API pages in site/.

python docs/build.py                    both
python docs/build.py --settings-only    the settings page alone; needs no pdoc
"""  # noqa: INP001

from __future__ import annotations

import argparse
import inspect
import pkgutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

import kinema
from kinema.cli.train import train
from kinema.core.atomic import replacing
from kinema.training.config import DEFAULT_RECIPE, TrainConfig, allowed_values, load_recipe, make_config

ROOT = Path(__file__).parents[1]
SETTINGS = ROOT / "docs" / "reference" / "settings.md"

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

<!-- Made by `python docs/build.py --settings-only` from kinema.training.config.TrainConfig; edit that. -->

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


def build_api(site: Path) -> None:
    """API pages of every module, from the docstrings."""
    import pdoc  # noqa: PLC0415  the settings page does without the `docs` extra

    for name in kinema.__all__:
        setattr(kinema, name, getattr(kinema, name))  # pdoc looks for names without asking for them
    rooms = [module.name for module in pkgutil.iter_modules(kinema.__path__, "kinema.")]
    # PyAV's Packet and its like take parameters in type stubs, but not when run.
    warnings.filterwarnings("ignore", "Error parsing type annotation")
    pdoc.pdoc("kinema", *(room for room in rooms if not room.endswith("__main__")), output_directory=site)


def main() -> None:
    """Build what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--settings-only", action="store_true", help="write the settings page and stop")
    parser.add_argument("--to", type=Path, default=SETTINGS, help="where the settings page goes")
    chosen = parser.parse_args()
    with replacing(chosen.to) as beside:
        beside.write_text(settings_page(), encoding="utf-8")
    if not chosen.settings_only:
        build_api(ROOT / "site")


if __name__ == "__main__":
    main()
