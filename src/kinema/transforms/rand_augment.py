"""RandAugment on a whole batch: every clip its own operations, every frame of a clip the same ones.

Paper: Cubuk et al., "RandAugment: Practical Automated Data Augmentation with a Reduced Search Space" (2020),
https://arxiv.org/abs/1909.13719. Its fourteen operations, in the strengths that torchvision gives them.
What an operation measures, such as the darkest and brightest value, it measures over the whole clip: a
measure of each frame would make the clip flicker, and a still scene move.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from kinema.transforms.portion import Portion

__all__ = ["HIGHEST_MAGNITUDE", "OPERATIONS", "RandAugment", "rand_augment"]

HIGHEST_MAGNITUDE = 30.0

_GREY = 128.0  # of pixels that come from beyond the frame
_TRANSLATE = 150 / 331  # of the frame's side, at most


def _identity(clips: torch.Tensor, _strength: float) -> torch.Tensor:
    return clips


def _still(operation: Callable[[torch.Tensor, float], torch.Tensor]) -> Callable[[torch.Tensor, float], torch.Tensor]:
    """`operation` of pictures, given each clip as one tall picture of all its frames."""

    def whole(clips: torch.Tensor, strength: float) -> torch.Tensor:
        count, frames, channels, height, width = clips.shape
        tall = clips.transpose(1, 2).reshape(count, channels, frames * height, width)
        return operation(tall, strength).reshape(count, channels, frames, height, width).transpose(1, 2)

    return whole


def _affine(
    *, angle: float = 0.0, shear: tuple[float, float] = (0.0, 0.0), translate: tuple[float, float] = (0.0, 0.0)
) -> Callable[[torch.Tensor, float], torch.Tensor]:
    """Frames turned (degrees), sheared and shifted (shares) about their middle, by these at full strength."""

    def move(clips: torch.Tensor, strength: float) -> torch.Tensor:
        height, width = clips.shape[-2:]
        moved: torch.Tensor = tv.affine(
            clips.flatten(0, 1),
            angle=angle * strength,
            translate=[round(translate[0] * strength * width), round(translate[1] * strength * height)],
            scale=1.0,
            shear=[math.degrees(math.atan(share * strength)) for share in shear],
            interpolation=InterpolationMode.BILINEAR,
            fill=[_GREY],
        )
        return moved.view_as(clips)

    return move


_SIGNED: dict[str, Callable[[torch.Tensor, float], torch.Tensor]] = {
    "rotate": _affine(angle=30.0),
    "shear-x": _affine(shear=(0.3, 0.0)),
    "shear-y": _affine(shear=(0.0, 0.3)),
    "translate-x": _affine(translate=(_TRANSLATE, 0.0)),
    "translate-y": _affine(translate=(0.0, _TRANSLATE)),
    "brightness": _still(lambda clips, strength: tv.adjust_brightness(clips, 1 + 0.9 * strength)),
    "color": _still(lambda clips, strength: tv.adjust_saturation(clips, 1 + 0.9 * strength)),
    "contrast": _still(lambda clips, strength: tv.adjust_contrast(clips, 1 + 0.9 * strength)),
    "sharpness": lambda clips, strength: tv.adjust_sharpness(clips, 1 + 0.9 * strength),
}
_UNSIGNED: dict[str, Callable[[torch.Tensor, float], torch.Tensor]] = {
    "identity": _identity,
    "autocontrast": _still(lambda clips, _: tv.autocontrast(clips)),
    "equalize": _still(lambda clips, _: tv.equalize(clips)),
    "posterize": lambda clips, strength: tv.posterize(clips, 8 - round(4 * strength)),
    "solarize": lambda clips, strength: tv.solarize(clips, 255 * (1 - strength)),
}

OPERATIONS = (*_UNSIGNED, *_SIGNED)
"""Their names; of those from `rotate` on, strengths have a sign."""


@dataclass(frozen=True)
class RandAugment:
    """What is done to each clip.

    Attributes:
        operations: (N, n) numbers of `OPERATIONS`, one after the other.
        signs: (N, n), 1 or -1.
        magnitude: of all of them, 0 to 30.
    """

    operations: torch.Tensor
    signs: torch.Tensor
    magnitude: float

    @classmethod
    def draw(cls, clips: int, operations: int, magnitude: float, generator: torch.Generator) -> RandAugment:
        """Draw `operations` for each of `clips` clips, every operation and sign as likely as another."""
        shape, device = (clips, operations), generator.device
        return cls(
            torch.randint(len(OPERATIONS), shape, generator=generator, device=device),
            1 - 2 * torch.randint(2, shape, generator=generator, device=device),
            magnitude,
        )

    def of(self, portion: Portion, clips: int) -> RandAugment:
        """Of changes drawn for a whole step those of a batch of `clips` clips."""
        return RandAugment(portion.take(self.operations, clips), portion.take(self.signs, clips), self.magnitude)


def rand_augment(batch: torch.Tensor, change: RandAugment) -> torch.Tensor:
    """uint8 RGB clips (N, T, 3, H, W), changed as `change` says; what comes in stays as it was."""
    strength = change.magnitude / HIGHEST_MAGNITUDE
    changed = batch.clone()
    for drawn, signs in zip(change.operations.unbind(1), change.signs.unbind(1), strict=True):
        for number, name in enumerate(OPERATIONS):
            for sign in (1, -1) if name in _SIGNED else (0,):
                rows = ((drawn == number) & ((signs == sign) | (sign == 0))).nonzero().flatten().to(batch.device)
                if len(rows) and name != "identity":
                    operation = _SIGNED[name] if sign else _UNSIGNED[name]
                    changed[rows] = operation(changed[rows], strength * (sign or 1))
    return changed
