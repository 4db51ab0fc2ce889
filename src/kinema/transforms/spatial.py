"""Which part of the frames is seen: one box a clip, drawn once, so that all its frames move together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kinema.core.errors import UsageError

__all__ = ["Box", "center_box", "corner_box", "random_resized_box"]

_CORNERS_AND_CENTER = 5


@dataclass(frozen=True)
class Box:
    """A rectangle of pixels: rows [top, top + height), columns [left, left + width)."""

    top: int
    left: int
    height: int
    width: int

    def __post_init__(self) -> None:
        if self.top < 0 or self.left < 0 or self.height < 1 or self.width < 1:
            raise UsageError(f"a box of {self.height} x {self.width} pixels at row {self.top}, column {self.left}")


def center_box(height: int, width: int, side: int) -> Box:
    """The square of `side` pixels in the middle of frames of `height` x `width` (an odd pixel: as torchvision)."""
    return Box(round((height - side) / 2), round((width - side) / 2), side, side)


def corner_box(height: int, width: int, scales: Sequence[float], rng: np.random.Generator) -> Box:
    """Multi-scale corner crop: a square of one of `scales` of the short side, in a corner or the centre.

    Hara et al. 2017 use the scales 1, 2^-1/4, 2^-1/2, 2^-3/4 and 1/2. The side is
    `int(short side · scale)`, the place one of centre, top left, top right, bottom left and bottom
    right; every scale and place is as likely as another.
    """
    side = int(min(height, width) * scales[int(rng.integers(len(scales)))])
    place = int(rng.integers(_CORNERS_AND_CENTER))
    if place == 0:
        return center_box(height, width, side)
    bottom, right = divmod(place - 1, 2)
    return Box(bottom * (height - side), right * (width - side), side, side)


def random_resized_box(
    height: int, width: int, scale: tuple[float, float], ratio: tuple[float, float], rng: np.random.Generator
) -> Box:
    """A box of random area and shape ("Inception crop"), as torchvision's RandomResizedCrop draws it.

    Args:
        height: of the frames, pixels.
        width: of the frames, pixels.
        scale: smallest and largest share of the frame's area.
        ratio: smallest and largest width / height, drawn evenly in its logarithm.
        rng: the source of chance.

    Returns:
        A box inside the frame; after ten boxes that do not fit, the largest centred one of an allowed ratio.
    """
    for _ in range(10):
        area = height * width * rng.uniform(*scale)
        shape = math.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1])))
        box_height, box_width = round(math.sqrt(area / shape)), round(math.sqrt(area * shape))
        if 0 < box_height <= height and 0 < box_width <= width:
            top = int(rng.integers(height - box_height + 1))
            left = int(rng.integers(width - box_width + 1))
            return Box(top, left, box_height, box_width)
    shape = min(max(width / height, ratio[0]), ratio[1])
    box_height = min(height, round(width / shape))
    box_width = min(width, round(height * shape))
    return Box((height - box_height) // 2, (width - box_width) // 2, box_height, box_width)
