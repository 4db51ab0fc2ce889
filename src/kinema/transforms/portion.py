"""Which clips of a larger batch one batch holds: a step's clips are parted among micro-batches and processes."""

from __future__ import annotations

from dataclasses import dataclass

import torch

__all__ = ["Portion"]


@dataclass(frozen=True)
class Portion:
    """The clips of one batch as part of all clips of a step.

    What happens to a clip by chance is drawn for all clips of the step and follows from its place
    among them, so that it does not depend on how they are parted.

    Attributes:
        whole: clips of the step.
        first: place of this batch's first clip among them.
        every: places from one of its clips to the next.
    """

    whole: int
    first: int = 0
    every: int = 1

    @classmethod
    def of_step(cls, clips: int, *, number: int, batches: int, rank: int, ranks: int) -> Portion:
        """Of the `number`-th of so many micro-batches of one process, where ranks take turns clip by clip.

        Args:
            clips: of this micro-batch; the others have as many, or one less where all clips do not fill it.
            number: of the micro-batch in the step, from 0.
            batches: micro-batches of a step.
            rank: of the process.
            ranks: processes that share the step.
        """
        return cls(clips * batches * ranks, number * clips * ranks + rank, ranks)

    def take(self, numbers: torch.Tensor, count: int) -> torch.Tensor:
        """Of one number for each clip of the step (whole, ...) those of this batch, (count, ...)."""
        return numbers[self.first :: self.every][:count]
