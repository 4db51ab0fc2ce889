"""A study as its author writes it: a YAML file of axes, what their levels set, and what is to be shown.

Only the form is held to here: unknown keys, unknown axes and levels. What the settings make of a
training is found when the grid is laid out (`kinema.studies.grid`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from kinema.core.errors import UsageError, nearest
from kinema.training.config import TrainConfig

__all__ = [
    "FigurePlan",
    "Override",
    "Pretraining",
    "Settings",
    "Study",
    "TablePlan",
    "Where",
    "parse_study",
    "read_study",
]

Settings: TypeAlias = dict[str, Any]

BESIDE_SETTINGS = ("recipe", "pretrained")
"""What levels may name besides the settings of a training."""


def _names(value: Any) -> Any:
    """One name or several as several; a number is a name as it is written."""
    if isinstance(value, (list, tuple)):
        return tuple(_name(one) for one in value)
    return () if value is None else (_name(value),)


def _name(value: Any) -> Any:
    # YAML reads a bare no, off or yes as a truth value, and a person would not know the level again.
    if isinstance(value, bool) or value is None:
        raise ValueError(f"{value} is no name: write it in quotes")
    return str(value) if isinstance(value, (int, float)) else value


def _levels(value: Any) -> Any:
    """Levels by name: a mapping as it is, with nothing for {}; a list as names whose setting the axis names."""
    if isinstance(value, list):
        if any(isinstance(one, (list, dict)) for one in value):
            raise ValueError(
                "a list or mapping is no name: name these levels, such as {narrow: {crop_scale: [0.7, 1]}}"
            )
        return {_name(one): one for one in value}
    if isinstance(value, dict):
        return {_name(name): {} if level is None else level for name, level in value.items()}
    return value


def _where(value: Any) -> Any:
    return {_name(axis): _names(levels) for axis, levels in value.items()} if isinstance(value, dict) else value


Names: TypeAlias = Annotated[tuple[str, ...], BeforeValidator(_names)]
Where: TypeAlias = Annotated[dict[str, tuple[str, ...]], BeforeValidator(_where)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Pretraining(_Part):
    """Trainings whose weights the runs start from.

    Attributes:
        axes: axes whose levels are pretrained each for itself, such as the networks.
        settings: over those of the study.
        sources: what is trained on, by the name that levels call it by in `pretrained`.
    """

    axes: Names = ()
    settings: Settings = Field(default_factory=dict)
    sources: dict[str, Settings] = Field(min_length=1)


class Override(_Part):
    """Settings of the runs that are at these levels; they win over those of the levels."""

    where: Where
    settings: Settings


class TablePlan(_Part):
    """A table to be made.

    Attributes:
        title: above it.
        rows: axes whose levels, or combinations of them, are its rows.
        columns: likewise; none: one column.
        each: axes of which every combination of levels has a table of its own.
        where: the runs it is of; all unless given. Over axes not named at all it pools.
    """

    title: str = ""
    rows: Names = Field(min_length=1)
    columns: Names = ()
    each: Names = ()
    where: Where = Field(default_factory=dict)


class FigurePlan(_Part):
    """Curves to be drawn.

    Attributes:
        title: above them.
        lines: axes whose levels, or combinations of them, are a line each.
        each: axes of which every combination of levels has a figure of its own.
        where: the runs it is of; all unless given.
        last: epochs at the end over which the spread is measured.
    """

    title: str = ""
    lines: Names = Field(min_length=1)
    each: Names = ()
    where: Where = Field(default_factory=dict)
    last: Annotated[int, Field(ge=2)] = 5


class Study(_Part):
    """A whole study file; docs/how-to/studies.md tells what each key does.

    Attributes:
        title: of the report.
        recipe: base settings, by name or as a file beside the study.
        data: what all runs train on, where no level says otherwise.
        settings: of every run, pretraining included.
        pretraining: what is trained ahead, if anything.
        axes: levels by axis; a level is settings, or the value of the setting that the axis is named after.
        overrides: settings where levels meet.
        leave_out: combinations of levels that are not run.
        keep_weights: whether finished runs keep their best weights; those of pretrainings are kept always.
        baseline: level by axis that paired tests compare with.
        tables: to be made.
        figures: to be drawn.
    """

    title: str = "Study"
    recipe: str | None = None
    data: str | None = None
    settings: Settings = Field(default_factory=dict)
    pretraining: Pretraining | None = None
    axes: dict[str, Annotated[dict[str, Any], BeforeValidator(_levels), Field(min_length=1)]] = Field(min_length=1)
    overrides: tuple[Override, ...] = ()
    leave_out: tuple[Where, ...] = ()
    keep_weights: bool = True
    baseline: dict[str, Annotated[str, BeforeValidator(_name)]] = Field(default_factory=dict)
    tables: tuple[TablePlan, ...] = ()
    figures: tuple[FigurePlan, ...] = ()

    def level(self, axis: str, name: str) -> Settings:
        """What a level sets."""
        level = self.axes[axis][name]
        return dict(level) if isinstance(level, dict) else {axis: level}


def read_study(path: Path) -> Study:
    """Read a study file.

    Raises:
        UsageError: no such file, no YAML, keys that do not exist, axes or levels that are named but not there.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 - a safe loader's child
    except OSError as error:
        raise UsageError(
            f"no study at {path}: {error.strerror}", allowed="a YAML file", next_step="see docs/how-to/studies.md"
        ) from error
    # Its reader also raises what dates, long numbers and deep nesting raise.
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not YAML: {error}", allowed="a YAML file, see docs/how-to/studies.md") from error
    if not isinstance(content, dict):
        raise UsageError(f"{path} holds no study", allowed="a YAML file with `axes:`, see docs/how-to/studies.md")
    return parse_study(path, content)


def parse_study(path: Path, content: Mapping[str, Any]) -> Study:
    """A study from what its file holds; `path` is what it is called in errors.

    Raises:
        UsageError: keys that do not exist, axes or levels that are named but not there.
    """
    try:
        study = Study.model_validate(content)
    except ValidationError as error:
        raise _as_usage(path, error) from error
    _require_names(path, study)
    return study


class _Loader(yaml.SafeLoader):
    """Refuses a key given twice, of which YAML's own reader would keep the last without a word, and a list as a key."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 - as the parent has it
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key is a single value", key.start_mark)
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"'{key.value}' stands there twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _require_names(path: Path, study: Study) -> None:
    """Every axis, level and source that is named is there."""
    for axis, levels in study.axes.items():
        _require_levels(path, study, axis, levels)
    parts: list[tuple[str, Iterable[str], Mapping[str, Sequence[str]]]] = [
        ("pretraining", study.pretraining.axes if study.pretraining else (), {}),
        ("baseline", (), {axis: (level,) for axis, level in study.baseline.items()}),
        *((f"overrides {number}", (), part.where) for number, part in enumerate(study.overrides, start=1)),
        *((f"leave_out {number}", (), part) for number, part in enumerate(study.leave_out, start=1)),
        *((f"tables {n}", (*t.rows, *t.columns, *t.each), t.where) for n, t in enumerate(study.tables, start=1)),
        *((f"figures {n}", (*f.lines, *f.each), f.where) for n, f in enumerate(study.figures, start=1)),
    ]
    for where, axes, chosen in parts:
        named = [*axes]
        twice = next((axis for axis in named if named.count(axis) > 1), None)
        if twice is not None:
            raise UsageError(f"{path}, {where}: the axis '{twice}' twice", allowed="each axis once")
        for axis in (*axes, *chosen):
            _require_one_of(f"{path}, {where}: no axis", axis, study.axes)
        for axis, names in chosen.items():
            for name in names:
                _require_one_of(f"{path}, {where}: axis '{axis}' has no level", name, study.axes[axis])
    for override in study.overrides:
        _require_keys(f"{path}, overrides", override.settings, BESIDE_SETTINGS)


def _require_levels(path: Path, study: Study, axis: str, levels: Mapping[str, Any]) -> None:
    for name, level in levels.items():
        if not isinstance(level, dict) and axis not in TrainConfig.model_fields:
            raise UsageError(
                f"{path}: axis '{axis}' is named after no setting, and level '{name}' does not say what it sets"
                f"{nearest(axis, TrainConfig.model_fields)}",
                allowed=f"a list under the name of a setting, or settings by level, such as {axis}: {{a: {{lr: 0.1}}}}",
            )
        settings = study.level(axis, name)
        _require_keys(f"{path}, axes, {axis}, {name}", settings, BESIDE_SETTINGS)


def _require_keys(where: str, settings: Settings, others: Sequence[str]) -> None:
    for key in settings:
        _require_one_of(f"{where}: no setting named", key, (*TrainConfig.model_fields, *others))


def _require_one_of(what: str, name: str, known: Iterable[str]) -> None:
    names = list(known)
    if name not in names:
        raise UsageError(f"{what} '{name}'{nearest(str(name), names)}", allowed=", ".join(names))


def _as_usage(path: Path, error: ValidationError) -> UsageError:
    """What pydantic found wrong, a line each."""
    lines = []
    for problem in error.errors():
        where = ", ".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            known = _known_at(problem["loc"])
            lines.append(f"{where}: no such key{nearest(str(problem['loc'][-1]), known)}")
        else:
            lines.append(f"{where}: {problem['msg'].removeprefix('Value error, ')}")
    return UsageError(
        f"{path}: " + "\n".join(lines), allowed=", ".join(Study.model_fields), next_step="see docs/how-to/studies.md"
    )


def _known_at(place: Sequence[int | str]) -> list[str]:
    parts: dict[str, type[BaseModel]] = {
        "pretraining": Pretraining, "overrides": Override, "tables": TablePlan, "figures": FigurePlan,
    }  # fmt: skip
    return list((parts.get(str(place[0]), Study) if len(place) > 1 else Study).model_fields)
