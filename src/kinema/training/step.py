"""What happens to one batch: augment, mix, score, and refuse to learn from numbers that are none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from kinema.core.errors import TrainingError
from kinema.datasets.loader import Batch
from kinema.transforms.portion import Portion
from kinema.transforms.presets import TrainTransform

__all__ = ["Objective", "StepResult", "class_weights", "refuse_non_finite"]


@dataclass(frozen=True)
class StepResult:
    """One batch scored.

    Attributes:
        loss: scalar tensor with its graph, the mean over the clips of the batch.
        correct: how many clips were right (under mixup: of the class with the larger share).
    """

    loss: torch.Tensor
    correct: int


@dataclass(frozen=True)
class Objective:
    """What is minimised.

    Attributes:
        transform: makes network input of a batch.
        label_smoothing: probability spread evenly over the classes.
        mixup: a of Beta(a, a), from which the share of each clip's partner is drawn (Zhang et al. 2018,
            arXiv:1710.09412, one share a batch); 0 mixes nothing.
        weights: a factor for the loss of each class (K,), or None.
    """

    transform: TrainTransform
    label_smoothing: float
    mixup: float
    weights: torch.Tensor | None

    def __call__(
        self,
        model: nn.Module,
        batch: Batch,
        device: torch.device,
        rng: np.random.Generator,
        portion: Portion | None = None,
    ) -> StepResult:
        """Score `batch` on `device`.

        Args:
            model: gives logits (N, K).
            batch: N clips.
            device: where to compute.
            rng: all randomness comes from it; the same in all micro-batches and processes of a step.
            portion: which clips of the step these are; all of it unless given. What changes single clips
                follows from their place in the step; partners are drawn within the batch.
        """
        generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
        targets = batch.targets.to(device, non_blocking=True)
        clips = self.transform.batch(batch.clips.to(device, non_blocking=True), generator, portion)
        share, partner = self._draw_partners(len(batch), rng)
        if share < 1:
            clips = share * clips + (1 - share) * clips[partner.to(device)]
        logits = model(clips.contiguous(memory_format=torch.channels_last_3d))
        loss = share * self._loss(logits, targets)
        if share < 1:
            loss = loss + (1 - share) * self._loss(logits, targets[partner.to(device)])
        correct = int((logits.argmax(dim=1) == targets).sum())
        return StepResult(loss, correct)

    def _loss(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(
            logits.float(), targets, weight=self.weights, label_smoothing=self.label_smoothing
        )

    def _draw_partners(self, size: int, rng: np.random.Generator) -> tuple[float, torch.Tensor]:
        """The share of each clip itself, in [0.5, 1], and the row it is mixed with."""
        if self.mixup == 0:
            return 1.0, torch.arange(size)
        share = float(rng.beta(self.mixup, self.mixup))
        # A share and its complement mix alike; the larger keeps the batch's own targets dominant.
        return max(share, 1 - share), torch.from_numpy(rng.permutation(size))


def class_weights(counts: Sequence[int]) -> torch.Tensor:
    """Inverse class frequency (K,), scaled so that the mean over the clips is 1; of the K classes' clips `counts`.

    Raises:
        TrainingError: a class without a single training clip, which no weight can make up for.
    """
    missing = [index for index, count in enumerate(counts) if count == 0]
    if missing:
        raise TrainingError(f"no training clip of the classes with index {missing}", allowed="one or more a class")
    return sum(counts) / (len(counts) * torch.tensor(counts, dtype=torch.float32))


def refuse_non_finite(name: str, value: torch.Tensor, clips: Sequence[str], epoch: int, step: int) -> None:
    """Stop where `value` is infinite or not a number, naming the `clips` of the batch.

    Raises:
        TrainingError: with the epoch, step and files; the weights have not been touched by this batch.
    """
    if bool(torch.isfinite(value)):
        return
    files = "\n".join(f"  {clip}" for clip in dict.fromkeys(clips))
    raise TrainingError(
        f"the {name} is {float(value)} in epoch {epoch + 1}, step {step + 1}, with the batch\n{files}",
        allowed="finite numbers",
        next_step="look at these clips, lower --set lr=..., or add --set clip_grad_norm=5; the saved state is intact",
    )
