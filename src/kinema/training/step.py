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
from kinema.training.mixing import Mixing
from kinema.transforms.portion import Portion
from kinema.transforms.presets import TrainTransform

__all__ = ["Objective", "StepResult", "class_weights", "refuse_non_finite"]


@dataclass(frozen=True)
class StepResult:
    """One batch scored.

    Attributes:
        loss: scalar tensor with its graph, the mean over the clips of the batch.
        correct: how many clips were right (of mixed ones: of the class with the larger share).
    """

    loss: torch.Tensor
    correct: int


@dataclass(frozen=True)
class Objective:
    """What is minimised.

    Attributes:
        transform: makes network input of a batch.
        label_smoothing: probability spread evenly over the classes.
        mixing: which clips are mixed into one.
        weights: a factor for the loss of each class (K,), or None. The mean is over clips, not over their
            factors, as in torch: so micro-batches of any classes add up to one large batch. `class_weights`
            are 1 in the mean over all clips, so an epoch weighs the same either way.
    """

    transform: TrainTransform
    label_smoothing: float
    mixing: Mixing
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
        height, width = clips.shape[-2:]
        mix = self.mixing.draw(len(batch), height, width, rng)
        logits = model(mix.apply(clips).contiguous(memory_format=torch.channels_last_3d))
        loss = mix.share * self._loss(logits, targets)
        dominant = targets
        if mix.share < 1:
            partners = targets[mix.partner.to(device)]
            loss = loss + (1 - mix.share) * self._loss(logits, partners)
            dominant = targets if mix.share >= 0.5 else partners
        return StepResult(loss, int((logits.argmax(dim=1) == dominant).sum()))

    def _loss(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        losses = functional.cross_entropy(
            logits.float(), targets, weight=self.weights, label_smoothing=self.label_smoothing, reduction="none"
        )
        return losses.mean()


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
