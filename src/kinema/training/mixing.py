"""Pairs of clips mixed into one, for which either class is right in its share."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from kinema.transforms.spatial import Box

__all__ = ["Mix", "Mixing"]


@dataclass(frozen=True)
class Mix:
    """What becomes of the clips of one batch.

    Attributes:
        share: of each clip itself in what is learnt, in [0, 1]; its partner has the rest.
        partner: (N,) row that each clip is mixed with.
        box: the pixels that come from the partner, in every frame; None mixes all pixels by their shares.
    """

    share: float
    partner: torch.Tensor
    box: Box | None = None

    def apply(self, clips: torch.Tensor) -> torch.Tensor:
        """Clips (N, C, T, H, W), mixed."""
        if self.share == 1:
            return clips
        partners = clips[self.partner.to(clips.device)]
        if self.box is None:
            return self.share * clips + (1 - self.share) * partners
        rows = slice(self.box.top, self.box.top + self.box.height)
        columns = slice(self.box.left, self.box.left + self.box.width)
        mixed = clips.clone()
        mixed[..., rows, columns] = partners[..., rows, columns]
        return mixed


@dataclass(frozen=True)
class Mixing:
    """How a batch is mixed; with both on, each batch has one or the other, as likely.

    Attributes:
        mixup: a of Beta(a, a), from which the share of a clip's partner is drawn (Zhang et al. 2018,
            arXiv:1710.09412, one share a batch); 0 mixes nothing so.
        cutmix: a of Beta(a, a), from which the area of a box of the partner's pixels is drawn (Yun et al. 2019,
            arXiv:1905.04899, one box a batch). The box is the same in all frames: a tube through the clip.
            It may reach beyond the frame, so the share is that of the pixels it really covers. 0 cuts nothing.
    """

    mixup: float = 0.0
    cutmix: float = 0.0

    def draw(self, clips: int, height: int, width: int, rng: np.random.Generator) -> Mix:
        """For a batch of `clips` clips of `height` x `width` pixels."""
        if self.mixup == 0 and self.cutmix == 0:
            return Mix(1.0, torch.arange(clips))
        cuts = self.mixup == 0 or (self.cutmix > 0 and bool(rng.random() < 0.5))
        share = float(rng.beta(*(self.cutmix if cuts else self.mixup,) * 2))
        # A share and its complement mix alike; the larger keeps the batch's own targets dominant.
        share = share if cuts else max(share, 1 - share)
        partner = torch.from_numpy(rng.permutation(clips))
        box = _box(height, width, 1 - share, rng) if cuts else None
        if not cuts:
            return Mix(share, partner)
        return Mix(1.0 if box is None else 1 - box.height * box.width / (height * width), partner, box)


def _box(height: int, width: int, area: float, rng: np.random.Generator) -> Box | None:
    """A box of the frame's shape and `area` of it, anywhere about a pixel of the frame, as far as it lies within it."""
    middle = (int(rng.integers(height)), int(rng.integers(width)))
    ends = []
    for place, size in zip(middle, (height, width), strict=True):
        side = int(size * math.sqrt(area))
        ends.append((max(place - side // 2, 0), min(place - side // 2 + side, size)))
    (top, bottom), (left, right) = ends
    return Box(top, left, bottom - top, right - left) if bottom > top and right > left else None
