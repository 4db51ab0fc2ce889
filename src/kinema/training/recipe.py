"""From layers of settings to a configuration: recipes, files, `--set key=value`.

A recipe is a YAML file of some of TrainConfig's fields; the command line adds the rest. Unknown keys are
refused with the nearest name, wrong values with the allowed range, contradictions with both sides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import yaml
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from kinema.core.errors import UsageError, nearest
from kinema.models.weights import ModelCard
from kinema.training.config import TrainConfig

__all__ = [
    "ALTERNATIVES",
    "DEFAULT_RECIPE",
    "allowed_values",
    "list_recipes",
    "load_recipe",
    "make_config",
    "merge",
    "parse_assignments",
    "recipe_summaries",
    "recipe_text",
    "settings_of",
]

DEFAULT_RECIPE = "kinema-small"
"""What trains where neither a model nor weights nor a recipe is named."""

ALTERNATIVES = (("stride", "fps"), ("epochs", "total_steps"))
"""Settings that say one thing in two ways."""

_RECIPES = files("kinema.training.recipes")

# Its reader also raises what dates, long numbers and deep nesting raise.
_NOT_YAML = (yaml.YAMLError, ValueError, RecursionError)


def make_config(*layers: Mapping[str, Any]) -> TrainConfig:
    """A configuration from layers of settings, later ones over earlier ones as `merge` lays them.

    Raises:
        UsageError: a key that does not exist, a value out of range, or settings that contradict.
    """
    merged = merge(*layers)
    for key in merged:
        if key not in TrainConfig.model_fields:
            raise UsageError(
                f"no setting named '{key}'{nearest(key, TrainConfig.model_fields)}",
                allowed=", ".join(TrainConfig.model_fields),
                next_step="see docs/reference/settings.md for what each does",
            )
    try:
        return TrainConfig(**merged)
    except ValidationError as error:
        raise _as_usage(error) from error


def merge(*layers: Mapping[str, Any], alternatives: Sequence[tuple[str, str]] = ALTERNATIVES) -> dict[str, Any]:
    """Layers of settings as one, later ones over earlier ones.

    Of two settings that say one thing in two ways, a later layer's one replaces an earlier layer's other.
    Options of the network add up, a later layer's winning one by one.

    Args:
        layers: settings by name.
        alternatives: pairs of settings that say one thing in two ways.
    """
    merged: dict[str, Any] = {}
    ways = [*alternatives, *((other, one) for one, other in alternatives)]
    for layer in layers:
        for one, other in ways:
            if layer.get(one) is not None and layer.get(other) is None:
                merged.pop(other, None)
        before, options = merged.get("model_options"), layer.get("model_options")
        merged.update(layer)
        if isinstance(before, Mapping) and isinstance(options, Mapping):
            merged["model_options"] = {**before, **options}
    return merged


def settings_of(card: ModelCard) -> dict[str, Any]:
    """The network and the input of weights to start from, as a layer of settings."""
    spec, clip = card.input, card.input.clip
    return {
        "model": card.architecture,
        "model_options": dict(card.options),
        "modality": spec.modality,
        "frames": clip.frames,
        **({"stride": clip.stride} if clip.fps is None else {"fps": clip.fps}),
        "clip_padding": clip.padding,
        "size": spec.size_px,
        "short_side": spec.short_side_px,
        "region": spec.crop,
    }


def list_recipes() -> list[str]:
    """Names of the recipes that come with kinema, sorted."""
    return sorted(entry.name.removesuffix(".yaml") for entry in _RECIPES.iterdir() if entry.name.endswith(".yaml"))


def recipe_text(name: str) -> str:
    """A recipe of kinema's own as it is written, with its source and its deviations from it."""
    return (_RECIPES / f"{name}.yaml").read_text(encoding="utf-8")


def recipe_summaries() -> list[dict[str, Any]]:
    """Of each recipe of kinema's own the `name`, the `summary` in its first line, and the `settings`."""
    return [
        {
            "name": name,
            "summary": recipe_text(name).partition("\n")[0].removeprefix(f"# {name}: "),
            "settings": load_recipe(Path(name)),
        }
        for name in list_recipes()
    ]


def load_recipe(path: Path) -> dict[str, Any]:
    """The settings of a recipe: one of kinema's own by name, a YAML file, or a run's config.yaml.

    Raises:
        UsageError: no such file or name, no YAML, or no mapping of settings.
    """
    own = str(path) in list_recipes()
    try:
        text = (_RECIPES / f"{path}.yaml" if own else path).read_text(encoding="utf-8")
        content = yaml.safe_load(text)
    except OSError as error:
        raise UsageError(
            f"no recipe at {path}: {error.strerror}{nearest(str(path), list_recipes())}",
            allowed=f"a YAML file of settings, or one of {', '.join(list_recipes())}",
            next_step="see docs/reference/settings.md",
        ) from error
    except _NOT_YAML as error:
        raise UsageError(
            f"{path} is not YAML: {error}", allowed="a YAML file of settings, such as `epochs: 30`"
        ) from error
    if not isinstance(content, dict):
        raise UsageError(f"{path} holds no settings", allowed="a YAML file of settings, such as `epochs: 30`")
    return content


def parse_assignments(assignments: list[str]) -> dict[str, Any]:
    """`["lr=0.01", "model_options.widen_factor=0.5"]` as settings; values are read as YAML.

    Raises:
        UsageError: an assignment without `=`, or one key given twice.
    """
    settings: dict[str, Any] = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        key = key.strip().replace("-", "_")
        if not equals:
            raise UsageError(f"--set {assignment}", allowed="--set key=value, such as --set lr=0.01")
        target, name = settings, key
        if key.startswith("model_options."):
            target, name = settings.setdefault("model_options", {}), key.removeprefix("model_options.")
        if name in target:
            raise UsageError(f"--set gives {key} twice", allowed="each setting once")
        try:
            target[name] = yaml.safe_load(value)
        except _NOT_YAML as error:
            reason = str(error).partition("\n")[0]
            raise UsageError(
                f"--set {assignment[:80]}: {reason}", allowed="a value as YAML writes it, such as --set lr=0.01"
            ) from error
    return settings


def allowed_values(field: FieldInfo) -> str:
    """What a setting may be, in words: its kind and its range."""
    shown = f"{_kind(field.annotation)}{_range(field)}"
    return f"{shown} or null" if type(None) in get_args(field.annotation) else shown


def _kind(annotation: Any) -> str:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ", ".join(map(str, inner))
    if origin is tuple:
        shown = {float: "numbers", int: "integers"}.get(inner[0]) or f"any of {_kind(inner[0])}"
        return f"list of {shown}" if inner[-1] is Ellipsis else f"list of {len(inner)} {shown}"
    if origin is dict:
        return "names and values"
    if type(None) in inner:
        (annotation,) = (one for one in inner if one is not type(None))
    return {int: "integer", float: "number", str: "text", bool: "true, false", Path: "path"}[annotation]


def _range(field: FieldInfo) -> str:
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    limits = [
        f"{sign} {getattr(rule, key)}" for rule in field.metadata for key, sign in signs.items() if hasattr(rule, key)
    ]
    return f" {', '.join(limits)}" if limits else ""


def _as_usage(error: ValidationError) -> UsageError:
    """What pydantic found wrong, a line each, in the words of the settings."""
    problems, allowed = [], []
    for problem in error.errors():
        where = ".".join(str(part) for part in problem["loc"])
        message = problem["msg"].removeprefix("Value error, ")
        problems.append(
            f"{where} = {problem['input']!r}: {message}" if where else f"settings that contradict: {message}"
        )
        field = TrainConfig.model_fields.get(str(problem["loc"][0])) if problem["loc"] else None
        if field is not None:
            allowed.append(f"{where}: {allowed_values(field)} ({field.description})")
    return UsageError("\n".join(problems), allowed="; ".join(allowed), next_step="see docs/reference/settings.md")
