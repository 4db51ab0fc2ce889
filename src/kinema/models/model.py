"""What every family of the zoo has in common: the questions a network answers and the options it takes."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from kinema.core.errors import UsageError

__all__ = ["Option", "OptionValue", "VideoModel"]

OptionValue = bool | int | float | str


class VideoModel(nn.Module, ABC):
    """A network that takes clips (N, C, T, H, W), float32 and normalised, and gives logits (N, K).

    Attributes:
        stages: submodules from which fine-tuning can start, from the clip to the logits.
        heads: the submodules (linear or convolution) whose outputs are the K classes; they are
            exchanged when the classes change.
        architecture: name in the zoo, set by `create_model`.
        options: every option with its value, set by `create_model`.
    """

    stages: ClassVar[tuple[str, ...]]
    heads: ClassVar[tuple[str, ...]]
    architecture: str = ""
    options: Mapping[str, OptionValue] = {}

    @abstractmethod
    def forward_features(self, clips: torch.Tensor) -> torch.Tensor:
        """The last features before pooling, (N, features, T', H', W')."""

    @abstractmethod
    def forward_head(self, features: torch.Tensor) -> torch.Tensor:
        """Logits (N, K) from what `forward_features` gave."""

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """Logits (N, K) of clips (N, C, T, H, W)."""
        return self.forward_head(self.forward_features(clips))

    def parameters_by_stage(self) -> dict[str, tuple[str, ...]]:
        """Names of the parameters from the start of each stage to the start of the next.

        The batch norm that follows `conv1` thus goes with `conv1`. Fine-tuning "from `layer4`"
        trains the parameters of `layer4` and of every stage behind it.
        """
        names: dict[str, list[str]] = {stage: [] for stage in self.stages}
        current = self.stages[0]
        for name, _ in self.named_parameters():
            current = next((stage for stage in self.stages if name.startswith(f"{stage}.")), current)
            names[current].append(name)
        return {stage: tuple(listed) for stage, listed in names.items()}


@dataclass(frozen=True)
class Option:
    """One keyword of a family that a user may set; its default stands in the family's signature.

    Attributes:
        name: the keyword.
        kind: `bool`, `int`, `float` (which takes whole numbers too) or `str`.
        summary: half a line for `kinema models show`.
        choices: the values allowed, or empty where `low` and `below` say it.
        low: smallest number allowed.
        below: first number no longer allowed.
    """

    name: str
    kind: type[OptionValue]
    summary: str
    choices: tuple[OptionValue, ...] = ()
    low: float = -math.inf
    below: float = math.inf

    @property
    def allowed(self) -> str:
        """The values allowed, in words."""
        if self.kind is bool:
            return "true or false"
        if self.choices:
            return " or ".join(str(choice) for choice in self.choices)
        what = "a whole number" if self.kind is int else "a number"
        return f"{what} from {self.low:g}" + (f" to below {self.below:g}" if self.below < math.inf else "")

    def check(self, value: object) -> OptionValue:
        """`value` as this option's kind; UsageError with the allowed values where it is not one of them."""
        wanted = (int, float) if self.kind is float else (self.kind,)
        if isinstance(value, wanted) and (self.kind is bool or not isinstance(value, bool)):
            if isinstance(value, str):
                fits = value in self.choices
            else:
                fits = value in self.choices if self.choices else self.low <= value < self.below
            if fits:
                return self.kind(value)
        raise UsageError(f"option {self.name}={value!r}", allowed=self.allowed)
