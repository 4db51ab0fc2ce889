"""What kinema knows about weights that others published, before it has seen their file.

A figure stands in a record only where its source was read, and with the protocol that the source
states; what the source leaves open is "not stated". Nothing is inferred about the order of classes:
where nobody published it, the labels are unknown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

from kinema.core.errors import UsageError
from kinema.core.labels import LabelMap, list_published_labels, published_labels
from kinema.core.spec import InputSpec
from kinema.models.download import RemoteFile
from kinema.models.model import OptionValue
from kinema.models.zoo import find_row

__all__ = ["NOT_STATED", "ClassSet", "Figure", "Licence", "WeightsRecord"]

NOT_STATED: Final = "not stated"

_SHORT_DATA = {"Kinetics-400": "K400", "Kinetics-600": "K600", "Kinetics-700": "K700"}
_SHORT_MEASURE = {"mean of top-1 and top-5": "mean top-1/5"}


@dataclass(frozen=True)
class ClassSet:
    """The classes that weights tell apart.

    Attributes:
        data: the data set, or several joined by " + ".
        count: K.
        order: the published list (of `kinema.core.labels`) in whose order the weights number their
            classes; empty where nobody published the order.
        evidence: how that order is known, or why it is not.
    """

    data: str
    count: int
    order: str = ""
    evidence: str = ""

    def __post_init__(self) -> None:
        if self.order and self.order not in list_published_labels():
            raise UsageError(f"the order of '{self.order}'", allowed=", ".join(list_published_labels()))

    @property
    def labels(self) -> LabelMap:
        """Their names in index order, or that they are unknown."""
        return published_labels(self.order) if self.order else LabelMap.unknown(self.count)


@dataclass(frozen=True)
class Figure:
    """One published result, with how it was measured.

    Attributes:
        measure: `top-1`, `top-5` or another in words.
        percent: the result.
        data: the data set it was measured on.
        split: of that data set.
        level: whether a clip or a whole video counts as one answer.
        views: the clips and crops whose scores make one answer.
        source: address of the page that states it.
        note: what else must be known to compare it.
    """

    measure: str
    percent: float
    data: str
    split: str
    level: Literal["clip", "video", "not stated"]
    views: str
    source: str
    note: str = ""

    @property
    def conditions(self) -> str:
        """On what, at which level and over which views it was measured."""
        split = f"split {NOT_STATED}" if self.split == NOT_STATED else self.split
        level = f"level {NOT_STATED}" if self.level == NOT_STATED else f"{self.level} level"
        views = f"views {NOT_STATED}" if self.views == NOT_STATED else self.views
        return f"{self.data}, {split}; {level}; {views}"

    @property
    def protocol(self) -> str:
        """All of how it was measured."""
        return f"{self.conditions}; {self.note}" if self.note else self.conditions

    @property
    def short(self) -> str:
        """In a few words, such as "K400 val, top-1 video"; what is not stated is left out."""
        data = _SHORT_DATA.get(self.data, self.data)
        where = data if self.split == NOT_STATED else f"{data} {self.split}"
        measure = _SHORT_MEASURE.get(self.measure, self.measure)
        return f"{where}, {measure}" + ("" if self.level == NOT_STATED else f" {self.level}")

    def to_json(self) -> dict[str, Any]:
        """What a weights file keeps of it, and `--json` prints."""
        return {**asdict(self), "protocol": f"{self.protocol}; as stated by its publisher"}


@dataclass(frozen=True)
class Licence:
    """Under which terms; `weights` is "not stated" where only the code beside them has a licence.

    Attributes:
        code: of the project that trained them.
        weights: of the numbers themselves.
        basis: why that of the weights is what it is, where it does not say so by itself.
    """

    code: str
    weights: str = NOT_STATED
    basis: str = ""


@dataclass(frozen=True)
class WeightsRecord:
    """Weights that somebody published.

    Attributes:
        name: what a user types; the network, a hyphen, then the data they were trained on.
        architecture: a name of the zoo.
        publisher: the project they come from.
        files: the file to convert, then those that must lie beside it.
        classes: what they tell apart.
        licence: their terms.
        options: options of the network that are not the defaults.
        fed: what they expect, where it is not the input of the network's row.
        figures: published results, the one to show first in front.
        aliases: other names, such as the file's own.
        note: what a user must know before using them.
    """

    name: str
    architecture: str
    publisher: str
    files: tuple[RemoteFile, ...]
    classes: ClassSet
    licence: Licence
    options: Mapping[str, OptionValue] = field(default_factory=dict)
    fed: InputSpec | None = None
    figures: tuple[Figure, ...] = ()
    aliases: tuple[str, ...] = ()
    note: str = ""

    @property
    def input(self) -> InputSpec:
        """What they expect to be fed."""
        return self.fed or find_row(self.architecture).input

    @property
    def has_link(self) -> bool:
        """Whether kinema can fetch them, or a person must."""
        return all(file.url for file in self.files)

    def to_json(self) -> dict[str, Any]:
        """What `--json` prints of it."""
        return {
            "name": self.name,
            "aliases": list(self.aliases),
            "architecture": self.architecture,
            "options": dict(self.options),
            "in_channels": self.input.channels,
            "publisher": self.publisher,
            "files": [asdict(file) for file in self.files],
            "direct_link": self.has_link,
            "classes": {**asdict(self.classes), "known": self.classes.labels.is_known},
            "licence": asdict(self.licence),
            "input": asdict(self.input),
            "figures": [figure.to_json() for figure in self.figures],
            "note": self.note,
        }
