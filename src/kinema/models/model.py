"""What every family of the zoo has in common: the questions a network answers and the options it takes."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, TypeVar

import torch
from torch import nn

from kinema.core.errors import UsageError, nearest
from kinema.models.recompute import BATCH_NORMS, Context, recomputed

__all__ = ["Option", "OptionValue", "VideoModel"]

OptionValue = bool | int | float | str

T = TypeVar("T")


class VideoModel(nn.Module, ABC):
    """A network that takes clips (N, C, T, H, W), float32 and normalised, and gives logits (N, K).

    A family says in two tables how it is run: `trunk`, from the clip to the last features, and
    `top`, from there to the logits. Their entries are its stages: the points from which
    fine-tuning can start, and from which features can be taken.

    Attributes:
        trunk: each stage with the submodules that it runs, one after the other.
        top: the submodules of the head that have parameters; each is a stage of its own.
        heads: the submodules (linear or convolution) whose outputs are the K classes; they are
            exchanged when the classes change.
        architecture: name in the zoo, set by `create_model`.
        options: every option with its value, set by `create_model`.
    """

    trunk: ClassVar[Mapping[str, tuple[str, ...]]]
    top: ClassVar[tuple[str, ...]]
    heads: ClassVar[tuple[str, ...]]
    architecture: str = ""
    options: Mapping[str, OptionValue] = {}
    _still_before: str | None = None  # the stage that `freeze` named, if its batch norms are to hold still
    _again: Context | None = None  # what stages are computed a second time in, if they are

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages, from the clip to the logits."""
        return (*self.trunk, *self.top)

    def forward_features(self, clips: torch.Tensor, until: str | None = None) -> torch.Tensor:
        """The features that stage `until` gives, or the trunk's last: (N, features, T', H', W').

        Args:
            clips: (N, C, T, H, W).
            until: a stage of the trunk, the last one to be run.
        """
        x = clips
        for stage, modules in self.trunk.items():
            x = self.pass_through(modules, x)
            if stage == until:
                break
        return x

    def pass_through(self, modules: Sequence[str], x: Any) -> Any:
        """`x` through these submodules, one after the other; all of `x` that a stage keeps passes here.

        Args:
            modules: names of submodules.
            x: what the first one takes.
        """
        parts = [self.get_submodule(module) for module in modules]
        return self.keep_inputs(partial(_chain, parts), parts, x)

    def keep_inputs(self, run: Callable[..., T], parts: Sequence[nn.Module], *inputs: Any) -> T:
        """`run(*inputs)` of submodules `parts`; after `recompute_stages`, training keeps only `inputs` of it."""
        if self._again is None or not (self.training and torch.is_grad_enabled()):
            return run(*inputs)
        return recomputed(run, parts, self._again, *inputs)

    def recompute_stages(self, again: Context = nullcontext) -> None:
        """From now on training keeps what enters each stage of the trunk, and computes the rest a second time.

        Gradients and the figures of batch norms are the same; a step takes about a third more time and
        far less memory (gradient checkpointing).

        Args:
            again: makes what the second time is run in, beside autocast.
        """
        for module in self.modules():
            if isinstance(module, VideoModel):
                module._again = again  # noqa: SLF001  of this class

    @abstractmethod
    def forward_head(self, features: torch.Tensor) -> torch.Tensor:
        """Logits (N, K) from what the trunk gave."""

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """Logits (N, K) of clips (N, C, T, H, W)."""
        return self.forward_head(self.forward_features(clips))

    def truncate(self, last: str) -> None:
        """Keep the trunk up to stage `last`, in place: later stages and the head are deleted.

        What is left answers `forward_features`; it has no logits any more. `trunk` becomes an
        attribute of this network, so a family with a `forward_features` of its own runs `self.trunk`.

        Raises:
            UsageError: the trunk has no such stage; the nearest is named.
        """
        if last not in self.trunk:
            raise UsageError(
                f"the trunk of {self.architecture or type(self).__name__} has no stage '{last}'"
                f"{nearest(last, self.trunk)}",
                allowed=", ".join(self.trunk),
            )
        position = list(self.trunk).index(last)
        kept = {stage: modules for number, (stage, modules) in enumerate(self.trunk.items()) if number <= position}
        needed = {name for modules in kept.values() for name in modules}  # stages may share a ReLU
        for name in {name for modules in self.modules_by_stage().values() for name in modules} - needed:
            parent, _, child = name.rpartition(".")
            delattr(self.get_submodule(parent), child)
        self.trunk, self.top, self.heads = kept, (), ()  # type: ignore[misc]  # this one differs from its family

    def modules_by_stage(self) -> dict[str, tuple[str, ...]]:
        """Names of the submodules that each stage runs, `top` included."""
        return {**self.trunk, **{stage: (stage,) for stage in self.top}}

    def parameters_by_stage(self) -> dict[str, tuple[str, ...]]:
        """Names of the parameters of each stage; every parameter belongs to one."""
        owner = {f"{module}.": stage for stage, modules in self.modules_by_stage().items() for module in modules}
        names: dict[str, list[str]] = {stage: [] for stage in self.stages}
        for name, _ in self.named_parameters():
            names[next(stage for prefix, stage in owner.items() if name.startswith(prefix))].append(name)
        return {stage: tuple(listed) for stage, listed in names.items()}

    def freeze(self, start: str, *, statistics: bool = True) -> None:
        """Train from stage `start` on: parameters of the stages before it take no gradient any more.

        Args:
            start: the first stage to be trained; the very first one thaws everything.
            statistics: whether batch norms before `start` also keep their running means and
                variances, as `eval` has them, however often `train` is called. Without it they go
                on moving with the data, as in 3D-ResNets-PyTorch.

        Raises:
            UsageError: there is no such stage; the nearest is named.
        """
        before = self._before(start)
        for stage, names in self.parameters_by_stage().items():
            for name in names:
                self.get_parameter(name).requires_grad_(stage not in before)
        self._still_before = start if statistics else None
        self.train(self.training)

    def train(self, mode: bool = True) -> VideoModel:  # noqa: FBT001, FBT002  torch's own signature
        """As in torch, but for the batch norms that `freeze` holds still."""
        super().train(mode)
        if self._still_before is not None:
            by_stage = self.modules_by_stage()
            for stage in self._before(self._still_before):
                for name in by_stage[stage]:
                    for module in self.get_submodule(name).modules():
                        if isinstance(module, BATCH_NORMS):
                            module.eval()
        return self

    def set_epoch(self, epoch: float) -> None:
        """Tell the network that `epoch` epochs of training lie behind it, for layers that follow a schedule."""

    def _before(self, start: str) -> tuple[str, ...]:
        if start not in self.stages:
            raise UsageError(
                f"{self.architecture or type(self).__name__} has no stage '{start}'{nearest(start, self.stages)}",
                allowed=", ".join(self.stages),
            )
        return self.stages[: self.stages.index(start)]


def _chain(parts: Sequence[nn.Module], x: Any) -> Any:
    for part in parts:
        x = part(x)
    return x


@dataclass(frozen=True)
class Option:
    """One keyword of a family that a user may set; its default stands in the family's signature.

    Attributes:
        name: the keyword.
        kind: `bool`, `int`, `float` (which takes whole numbers too) or `str`.
        summary: half a line for `kinema models show`.
        choices: the values allowed, or empty where `low` and `below` or `words` say it.
        low: smallest number allowed.
        below: first number no longer allowed.
        words: what is allowed, where a string is free and the family checks it itself.
    """

    name: str
    kind: type[OptionValue]
    summary: str
    choices: tuple[OptionValue, ...] = ()
    low: float = -math.inf
    below: float = math.inf
    words: str = ""

    @property
    def allowed(self) -> str:
        """The values allowed, in words."""
        if self.kind is bool:
            return "true or false"
        if self.words:
            return self.words
        if self.choices:
            return " or ".join(str(choice) for choice in self.choices)
        what = "a whole number" if self.kind is int else "a number"
        return f"{what} from {self.low:g}" + (f" to below {self.below:g}" if self.below < math.inf else "")

    def check(self, value: object) -> OptionValue:
        """`value` as this option's kind; UsageError with the allowed values where it is not one of them."""
        wanted = (int, float) if self.kind is float else (self.kind,)
        if isinstance(value, wanted) and (self.kind is bool or not isinstance(value, bool)):
            if isinstance(value, str):
                fits = value in self.choices or bool(self.words)
            else:
                fits = value in self.choices if self.choices else self.low <= value < self.below
            if fits:
                return self.kind(value)
        raise UsageError(f"option {self.name}={value!r}", allowed=self.allowed)
