"""Class names in index order, or the honest statement that they are unknown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.resources import files

from kinema.core.errors import DataError, UsageError, WeightsError, nearest

__all__ = ["LabelMap", "LabelPart", "list_published_labels", "merge_labels", "published_labels"]

_CLASSES = files("kinema.core.classes")
_RULES = ("prefix", "union")


@dataclass(frozen=True)
class LabelPart:
    """What one data set brought to a merged label map.

    Attributes:
        dataset: its name.
        names: its own class names, in its own index order.
        indices: where each of them is in the merged map.
    """

    dataset: str
    names: tuple[str, ...]
    indices: tuple[int, ...]


@dataclass(frozen=True)
class LabelMap:
    """The classes of a model: how many, and their names where they are known.

    Attributes:
        count: number of classes K, at least 1.
        names: K distinct names in index order, or None when nobody published them.
        parts: the data sets it was merged from; empty for the classes of one. Maps of the same
            names are equal wherever their names come from.
    """

    count: int
    names: tuple[str, ...] | None = None
    parts: tuple[LabelPart, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        if self.count < 1:
            raise DataError(f"a label map of {self.count} classes", allowed="one class or more")
        if self.names is None:
            return
        if len(self.names) != self.count:
            raise DataError(f"{len(self.names)} class names for {self.count} classes", allowed="one name a class")
        twice = sorted({name for name in self.names if self.names.count(name) > 1})
        if twice:
            raise DataError(f"class names given twice: {', '.join(twice)}", allowed="distinct names")

    @classmethod
    def of(cls, names: Iterable[str]) -> LabelMap:
        """A map that knows its names; index = position."""
        known = tuple(names)
        return cls(len(known), known)

    @classmethod
    def unknown(cls, count: int) -> LabelMap:
        """A map of `count` classes whose names were never published."""
        return cls(count)

    @property
    def is_known(self) -> bool:
        """Whether classes may be named."""
        return self.names is not None

    def name(self, index: int) -> str:
        """The name of class `index`; WeightsError when the names are unknown."""
        return self.require()[index]

    def index(self, name: str) -> int:
        """The index of class `name`; DataError (nearest name suggested) when there is none."""
        names = self.require()
        if name not in names:
            raise DataError(f"no class named '{name}'{nearest(name, names)}", allowed=", ".join(names))
        return names.index(name)

    def require(self) -> tuple[str, ...]:
        """The names; WeightsError when they are unknown, because a wrong name is worse than none."""
        if self.names is None:
            raise WeightsError(
                f"the names of these {self.count} classes are unknown",
                allowed="weights that carry class names",
                next_step="give the list that belongs to these weights, one name a line",
            )
        return self.names

    def __len__(self) -> int:
        return self.count

    def __repr__(self) -> str:
        if self.names is None:
            return f"LabelMap({self.count} unknown)"
        head = ", ".join(self.names[:3])
        return f"LabelMap({self.count}: {head}{', …' if self.count > 3 else ''})"


def merge_labels(maps: Mapping[str, LabelMap], rule: str) -> LabelMap:
    """The classes of several data sets as one map, in the order of the data sets and of their classes.

    Args:
        maps: the classes of each data set, by its name.
        rule: `prefix` keeps every class apart and calls it `DATASET/CLASS`; `union` makes classes of
            the same name, letter for letter, one class.

    Raises:
        UsageError: another rule.
        DataError: fewer than two data sets.
        WeightsError: a map whose names are unknown.
    """
    if rule not in _RULES:
        raise UsageError(f"classes '{rule}'{nearest(rule, _RULES)}", allowed=", ".join(_RULES))
    if len(maps) < 2:
        raise DataError(f"{len(maps)} data set to merge", allowed="two or more")
    renamed = {
        dataset: [f"{dataset}/{name}" if rule == "prefix" else name for name in labels.require()]
        for dataset, labels in maps.items()
    }
    names = tuple(dict.fromkeys(name for own in renamed.values() for name in own))
    index = {name: number for number, name in enumerate(names)}
    parts = tuple(
        LabelPart(dataset, maps[dataset].require(), tuple(index[name] for name in own))
        for dataset, own in renamed.items()
    )
    return LabelMap(len(names), names, parts)


def list_published_labels() -> list[str]:
    """The names that `published_labels` takes, sorted."""
    return sorted(entry.name.removesuffix(".txt") for entry in _CLASSES.iterdir() if entry.name.endswith(".txt"))


def published_labels(name: str) -> LabelMap:
    """The classes of a public data set in the index order its publisher gives, such as of `kinetics400`.

    Weights trained on a data set need not number its classes in this order.

    Raises:
        UsageError: no list of that name comes with kinema; the nearest is named.
    """
    known = list_published_labels()
    if name not in known:
        raise UsageError(f"no list of classes named '{name}'{nearest(name, known)}", allowed=", ".join(known))
    return LabelMap.of(_CLASSES.joinpath(f"{name}.txt").read_text(encoding="utf-8").splitlines())
