"""One variant of a family: a row of the zoo's table. Each family's file ends with its rows."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from kinema.core.spec import InputSpec
from kinema.models.model import Option, OptionValue, VideoModel

__all__ = ["TABLE_CLASSES", "ModelRow"]

TABLE_CLASSES = 400
"""The number of classes K behind the `parameters` of a row: Kinetics-400, as papers count."""


@dataclass(frozen=True)
class ModelRow:
    """One variant of a family.

    Attributes:
        name: what a user types.
        builder: the family, called with `arguments`, `num_classes`, `in_channels` and the options.
        arguments: what makes this variant, such as its depth; not for users to change.
        options: what users may change.
        parameters: learnable numbers with 400 classes and default options.
        gflops: 10⁹ operations of one clip of `input`, a multiplication and an addition counted as two.
        paper: where it was published, in one short line.
        input: what it was made for; any other length and size work too.
    """

    name: str
    builder: Callable[..., VideoModel]
    arguments: Mapping[str, Any]
    options: tuple[Option, ...]
    parameters: int
    gflops: float
    paper: str
    input: InputSpec

    @property
    def defaults(self) -> dict[str, OptionValue]:
        """Each option with the value that it has in the builder's signature."""
        signature = inspect.signature(self.builder).parameters
        return {option.name: signature[option.name].default for option in self.options}

    def build(self, num_classes: int, in_channels: int, options: Mapping[str, OptionValue]) -> VideoModel:
        """The network with fresh random weights; `options` are all of them, checked."""
        model = self.builder(**self.arguments, num_classes=num_classes, in_channels=in_channels, **options)
        model.architecture = self.name
        model.options = options
        return model

    def to_json(self) -> dict[str, Any]:
        """What `kinema models list --json` writes of it."""
        return {
            "name": self.name,
            "parameters": self.parameters,
            "gflops": self.gflops,
            "num_classes": TABLE_CLASSES,
            "input": asdict(self.input),
            "paper": self.paper,
        }
