"""The two roads from decoded frames to a network's input: one for training, one for everything else.

Each has two steps. `clip` runs once a clip, in a data-loading worker, on bytes: it chooses and cuts
the box. `batch` runs once a batch, on the batch's device: it flips, jitters and normalises.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch

from kinema.core.errors import DataError, UsageError
from kinema.core.spec import InputSpec
from kinema.transforms.color import Jitter, jitter
from kinema.transforms.functional import crop_resize, flip, normalise, require_frames, to_model_axes
from kinema.transforms.portion import Portion
from kinema.transforms.rand_augment import HIGHEST_MAGNITUDE, RandAugment, rand_augment
from kinema.transforms.spatial import Box, center_box, corner_box, random_resized_box

__all__ = ["AugmentSpec", "Crop", "EvalTransform", "TrainTransform"]

Crop = Literal["random-resized", "corner", "random", "center"]


@dataclass(frozen=True)
class AugmentSpec:
    """How training clips are varied. The defaults are those of Hara's code of 2020.

    Attributes:
        crop: `random-resized` draws area and shape (`scale`, `ratio`), `corner` one of
            `corner_scales` in a corner or the centre, `center` takes the region that tests look at,
            `random` one of its size at any place.
        scale: smallest and largest share of the frame's area.
        ratio: smallest and largest width / height; of an input whose `crop` is `full`, in multiples of
            the frame's own, so that 1 squeezes boxes as whole frames are squeezed.
        corner_scales: shares of the short side, each in (0, 1].
        flip: probability that a clip is mirrored left and right.
        brightness: factor within 1 ± this, of each clip; 0 is off, here and below.
        contrast: likewise.
        saturation: likewise.
        hue: turns of the colour circle within ± this, at most 0.5.
        rand_augment: operations of RandAugment drawn for each clip, before its colours are jittered; 0 draws none.
        rand_augment_magnitude: of these, 0 to 30.
    """

    crop: Crop = "random-resized"
    scale: tuple[float, float] = (0.25, 1.0)
    ratio: tuple[float, float] = (0.75, 1.333)
    corner_scales: tuple[float, ...] = (1.0, 2**-0.25, 2**-0.5, 2**-0.75, 0.5)
    flip: float = 0.5
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    rand_augment: int = 0
    rand_augment_magnitude: float = 9.0

    def __post_init__(self) -> None:
        if self.crop not in get_args(Crop):
            raise UsageError(f"crop '{self.crop}'", allowed=", ".join(get_args(Crop)))
        checks = (
            ("scale", 0 < self.scale[0] <= self.scale[1] <= 1, "two shares above 0 and up to 1, the smaller first"),
            ("ratio", 0 < self.ratio[0] <= self.ratio[1], "two ratios above 0, the smaller first"),
            (
                "corner_scales",
                all(0 < scale <= 1 for scale in self.corner_scales or (0,)),
                "shares above 0 and up to 1",
            ),
            ("flip", 0 <= self.flip <= 1, "a probability from 0 to 1"),
            ("brightness", self.brightness >= 0, "0 or more"),
            ("contrast", self.contrast >= 0, "0 or more"),
            ("saturation", self.saturation >= 0, "0 or more"),
            ("hue", 0 <= self.hue <= 0.5, "from 0 to 0.5"),
            ("rand_augment", self.rand_augment >= 0, "0 or more"),
            (
                "rand_augment_magnitude",
                0 <= self.rand_augment_magnitude <= HIGHEST_MAGNITUDE,
                f"from 0 to {HIGHEST_MAGNITUDE:g}",
            ),
        )
        for name, holds, allowed in checks:
            if not holds:
                raise UsageError(f"augmentation {name}={getattr(self, name)}", allowed=allowed)

    @property
    def jitters(self) -> bool:
        """Whether colours change at all."""
        return max(self.brightness, self.contrast, self.saturation, self.hue) > 0


class EvalTransform:
    """The region that the input names, centre or full frame; the same for a clip alone and in any batch.

    Args:
        input: what the network expects.
    """

    def __init__(self, input: InputSpec) -> None:  # noqa: A002  the name that callers read
        self.input = input

    def clip(self, frames: torch.Tensor, rng: np.random.Generator | None = None) -> torch.Tensor:
        """uint8 frames (T, C, h, w) to their region, uint8 (T, C, size_px, size_px). `rng` is not used.

        For the centre, frames whose short side is `short_side_px` already, as decoders deliver
        them, are cut and not scaled; others are seen as if they had been scaled to it first.

        Raises:
            DataError: the frames are smaller than the crop, or have other channels than the input.
        """
        return crop_resize(frames, _region(frames, self.input), self.input.size_px)

    def batch(self, batch: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        """uint8 (N, T, C, S, S) to normalised float32 (N, C', T', S, S). `generator` is not used.

        C' and T' are the input's `channels` and `time_steps`.
        """
        return normalise(to_model_axes(batch), self.input)


class TrainTransform:
    """Crops, flips and colours drawn once a clip and held over its frames.

    Args:
        input: what the network expects.
        augment: how clips are varied.

    Raises:
        UsageError: colour jitter or RandAugment on optical flow, which has no colours, and whose arrows would
            have to turn with the frames.
    """

    def __init__(self, input: InputSpec, augment: AugmentSpec) -> None:  # noqa: A002  the name that callers read
        if input.flow_channel is not None and augment.jitters:
            raise UsageError("colour jitter on optical flow", allowed="brightness, contrast, saturation and hue of 0")
        if input.flow_channel is not None and augment.rand_augment:
            raise UsageError("RandAugment on optical flow", allowed="rand_augment 0")
        self.input = input
        self.augment = augment

    def clip(self, frames: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        """uint8 frames (T, C, h, w) to one box of them, scaled to uint8 (T, C, size_px, size_px).

        Raises:
            DataError: the frames are smaller than the crop, or have other channels than the input.
        """
        return crop_resize(frames, self._box(frames, rng), self.input.size_px)

    def batch(self, batch: torch.Tensor, generator: torch.Generator, portion: Portion | None = None) -> torch.Tensor:
        """uint8 (N, T, C, S, S) to float32 (N, C', T', S, S): flipped, jittered, normalised, on its own device.

        Args:
            batch: clips that `clip` gave.
            generator: the source of chance; on the CPU, it gives the same on every device.
            portion: which clips of a step these are; all of it unless given.
        """
        count, share = len(batch), portion or Portion(len(batch))
        flips = torch.rand(share.whole, generator=generator, device=generator.device) < self.augment.flip
        flipped = share.take(flips, count)
        batch = flip(batch, flipped, flow_channel=self.input.flow_channel)
        if self.augment.rand_augment:
            strength = self.augment.rand_augment_magnitude
            drawn = RandAugment.draw(share.whole, self.augment.rand_augment, strength, generator)
            batch = rand_augment(batch, drawn.of(share, count))
        clips = to_model_axes(batch)
        if self.augment.jitters:
            strengths = self.augment
            change = Jitter.draw(
                share.whole,
                brightness=strengths.brightness,
                contrast=strengths.contrast,
                saturation=strengths.saturation,
                hue=strengths.hue,
                generator=generator,
            )
            clips = jitter(clips, change.of(share, count))
        return normalise(clips, self.input)

    def _box(self, frames: torch.Tensor, rng: np.random.Generator) -> Box:
        height, width = _usable_size(frames, self.input)
        if self.augment.crop == "random-resized":
            low, high = self.augment.ratio
            # What is tested on the whole frame, squeezed, must be trained on boxes squeezed alike.
            squeeze = width / height if self.input.crop == "full" else 1.0
            return random_resized_box(height, width, self.augment.scale, (low * squeeze, high * squeeze), rng)
        if self.augment.crop == "corner":
            return corner_box(height, width, self.augment.corner_scales, rng)
        region = _region(frames, self.input)
        if self.augment.crop == "random":
            top = int(rng.integers(height - region.height + 1))
            left = int(rng.integers(width - region.width + 1))
            return Box(top, left, region.height, region.width)
        return region


def _region(frames: torch.Tensor, spec: InputSpec) -> Box:
    height, width = _usable_size(frames, spec)
    if spec.crop == "full":
        return Box(0, 0, height, width)
    return center_box(height, width, round(min(height, width) * spec.size_px / spec.short_side_px))


def _usable_size(frames: torch.Tensor, spec: InputSpec) -> tuple[int, int]:
    require_frames(frames)
    channels, height, width = frames.shape[1:]
    wanted = (
        3 if spec.modality == "difference" else spec.channels
    )  # differences are taken of RGB, after its colours were jittered
    if channels != wanted:
        raise DataError(
            f"frames of {channels} channels for an input of modality {spec.modality}",
            allowed=f"{wanted} channels",
            next_step="compute flow with kinema data flow, and give its flow.json" if spec.modality == "flow" else "",
        )
    if min(height, width) < spec.size_px:
        raise DataError(
            f"frames of {height} x {width} pixels are smaller than the crop of {spec.size_px}",
            allowed=f"a short side of {spec.size_px} pixels or more",
            next_step=f"read the video with short_side_px={spec.short_side_px}",
        )
    return height, width
