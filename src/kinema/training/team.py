"""What the processes of one training tell each other besides gradients: results, and that one of them cannot go on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import distributed, nn

from kinema.core.errors import KinemaError, TrainingError

__all__ = ["ElsewhereError", "TrainingTeam"]


class ElsewhereError(TrainingError):
    """Another process of this training cannot go on; its exit code is that of the error there."""

    def __init__(self, rank: int, error: _Told) -> None:
        super().__init__(f"process {rank}: {error.given}", allowed=error.allowed, next_step=error.next_step)
        self.exit_code = error.exit_code


@dataclass(frozen=True)
class _Told:
    """An error in a form that travels."""

    given: str
    allowed: str
    next_step: str
    exit_code: int

    @classmethod
    def of(cls, error: Exception) -> _Told:
        if isinstance(error, KinemaError):
            return cls(error.given, error.allowed, error.next_step, error.exit_code)
        return cls(f"{type(error).__name__}: {error}", "", "", KinemaError.exit_code)


@dataclass(frozen=True)
class TrainingTeam:
    """The processes that `fabric` connects.

    Attributes:
        fabric: launched.
    """

    fabric: Fabric

    @property
    def rank(self) -> int:
        """This process, in [0, ranks)."""
        return self.fabric.global_rank

    @property
    def ranks(self) -> int:
        """How many train together."""
        return self.fabric.world_size

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and tells."""
        return self.rank == 0

    def gather(self, part: Any) -> list[Any]:
        """What each process gave, by rank, on every process; it is pickled on its way."""
        if self.ranks == 1:
            return [part]
        parts: list[Any] = [None] * self.ranks
        distributed.all_gather_object(parts, part)
        return parts

    def sum(self, *numbers: float) -> list[float]:
        """Each number's sum over the processes, in float64."""
        if self.ranks == 1:
            return list(numbers)
        sums = self.fabric.all_reduce(torch.tensor(numbers, dtype=torch.float64), reduce_op="sum")
        assert isinstance(sums, torch.Tensor)
        return [float(number) for number in sums]

    @contextmanager
    def together(self) -> Iterator[None]:
        """A block that fails on all processes where it fails on one, instead of leaving the others to wait for ever.

        The block must not wait for other processes itself.

        Raises:
            ElsewhereError: it failed on another process; where it failed, the error itself.
        """
        mine: Exception | None = None
        try:
            yield
        except Exception as error:
            if self.ranks == 1:
                raise
            mine = error
        if self.ranks == 1 or self.sum(mine is not None)[0] == 0:
            return
        told = self.gather(None if mine is None else _Told.of(mine))
        if mine is not None:
            raise mine
        raise next(ElsewhereError(rank, error) for rank, error in enumerate(told) if error is not None)

    def share_buffers(self, network: nn.Module) -> None:
        """Give every process the buffers of the first: batch norms that count their own clips only have others."""
        if self.ranks > 1:
            for buffer in network.buffers():
                distributed.broadcast(buffer, src=0)
