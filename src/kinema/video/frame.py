"""Frames: pixels with their exact times, the value every other room receives from this one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import torch

from kinema.core.errors import DataError

__all__ = ["Frames"]


@dataclass(frozen=True, repr=False)
class Frames:
    """Consecutive or sampled frames of one video.

    Attributes:
        data: uint8 (T, C, H, W), RGB (C = 3) or flow (C = 2), values 0 to 255.
        pts: T presentation times in units of `time_base`, exact integers as stored in the file,
            from the first frame of the video's own clock (which need not be 0).
        time_base: seconds a unit of `pts`.
    """

    data: torch.Tensor
    pts: tuple[int, ...]
    time_base: Fraction

    def __post_init__(self) -> None:
        if self.data.dtype != torch.uint8 or self.data.ndim != 4:
            raise DataError(
                f"frames of {self.data.dtype} with shape {tuple(self.data.shape)}", allowed="uint8 (T, C, H, W)"
            )
        if self.data.shape[0] != len(self.pts):
            raise DataError(f"{self.data.shape[0]} frames with {len(self.pts)} times", allowed="one time a frame")

    @property
    def pts_seconds(self) -> tuple[float, ...]:
        """Presentation times (T,) in seconds."""
        return tuple(float(pts * self.time_base) for pts in self.pts)

    def __len__(self) -> int:
        return len(self.pts)

    def take(self, indices: Sequence[int]) -> Frames:
        """The frames at `indices` (repeats allowed), in that order."""
        picked = self.data[torch.as_tensor(list(indices), dtype=torch.long)]
        return Frames(picked, tuple(self.pts[i] for i in indices), self.time_base)

    @classmethod
    def join(cls, parts: Sequence[Frames]) -> Frames:
        """Several runs of frames of one video, one after another; at least one part."""
        data = torch.cat([part.data for part in parts])
        return cls(data, tuple(pts for part in parts for pts in part.pts), parts[0].time_base)

    def __repr__(self) -> str:
        frames, channels, height, width = self.data.shape
        span = f", {self.pts_seconds[0]:.3f}-{self.pts_seconds[-1]:.3f} s" if frames else ""
        return f"Frames({frames}x{channels}x{height}x{width}{span})"
