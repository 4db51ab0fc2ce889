"""Pictures in time -> steps: each picture, and the motion from it to the next one. Flow is computed or read here only.

video ── at_rate ──> picture 0, 1, 2 ... N-1 ── steps ──> (picture, field) 0 ... N-2 ──> stored, or fed to a network
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import torch

from kinema.core.errors import MediaError
from kinema.video.flow import FlowAlgorithm, flow_fields, to_bytes
from kinema.video.frame import Frames

__all__ = ["FieldSource", "Step", "at_rate", "computed", "field_at", "scaled", "steps", "too_short"]

# Clocks coarser than Matroska's milliseconds count frames, and round nothing.
_MOST_SLACK_SECONDS = Fraction(1, 2000)

FieldSource = Callable[[int, torch.Tensor, torch.Tensor], torch.Tensor]
"""From the index of a step and its two pictures, uint8 (3, H, W), to the motion between them, uint8 (2, H, W)."""


@dataclass(frozen=True, repr=False)
class Step:
    """One picture of a video at an even rate, and how it moves.

    Attributes:
        index: which one, from 0; it is shown at `index / fps` seconds.
        picture: uint8 (3, H, W).
        field: uint8 (2, H, W), motion to the right and down until the next picture; 128 is none.
    """

    index: int
    picture: torch.Tensor
    field: torch.Tensor

    def __repr__(self) -> str:
        return f"Step({self.index}, {tuple(self.picture.shape)})"


def at_rate(chunks: Iterable[Frames], fps: Fraction) -> Iterator[torch.Tensor]:
    """The frame shown at each multiple of 1 / fps, uint8 (C, H, W), from the first frame to the last one's begin.

    A frame of a slower video comes more than once, those of a faster one are left out. Times are compared
    exactly, but for half a unit of the file's clock (at most half a millisecond), to which they were rounded.

    Raises:
        MediaError: of the video, when all that decodes was given.
    """
    origin: int | None = None
    shown: torch.Tensor | None = None
    ticks = 0
    last = slack = Fraction(0)
    damage: MediaError | None = None
    try:
        for chunk in chunks:
            slack = min(chunk.time_base / 2, _MOST_SLACK_SECONDS)
            for picture, pts in zip(chunk.data, chunk.pts, strict=True):
                origin = pts if origin is None else origin
                last = (pts - origin) * chunk.time_base - slack
                while shown is not None and ticks / fps < last:
                    yield shown
                    ticks += 1
                shown = picture
    except MediaError as error:
        damage = error  # after the last picture that decodes
    while shown is not None and ticks / fps <= last + 2 * slack:
        yield shown
        ticks += 1
    if damage is not None:
        raise damage


def computed(algorithm: FlowAlgorithm, bound_px: float) -> FieldSource:
    """Fields that are computed as they are asked for, bounded and as bytes."""

    def field(_: int, before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
        return to_bytes(flow_fields(torch.stack([before, after]), algorithm), bound_px)[0]

    return field


def steps(
    frames: Generator[Frames, None, None],
    fps: Fraction,
    fields: FieldSource,
    *,
    first: int = 0,
    last: int | None = None,
) -> Iterator[Step]:
    """The steps [first, last) of a video: of N pictures at `fps` there are N - 1. Holds two pictures and a chunk.

    Args:
        frames: of the video, from its first one on.
        fps: pictures a second.
        fields: where motion comes from; it is asked for these steps alone.
        first: the first step wanted.
        last: the one behind the last one wanted; None: to the end.
    """
    with closing(frames):
        for index, (before, after) in enumerate(pairwise(at_rate(frames, fps))):
            if last is not None and index >= last:
                return
            if index >= first:
                yield Step(index, before, fields(index, before, after))


def field_at(seconds: float, fps: Fraction) -> int:
    """The first step at or after `seconds`; times that differ by rounding are the same."""
    ticks = Fraction(seconds).limit_denominator(1_000_000) * fps
    return -(-ticks.numerator // ticks.denominator)


def scaled(data: torch.Tensor, short_side_px: int | None) -> torch.Tensor:
    """Bytes (T, C, H, W), of pictures or of motion, with another short side; None keeps theirs.

    Motion stays in pixels of the size it was computed at, as it does wherever networks are fed with crops of flow.
    """
    height, width = data.shape[2:]
    if short_side_px is None or short_side_px == min(height, width):
        return data.contiguous()
    scale = short_side_px / min(height, width)
    size = [max(1, round(height * scale)), max(1, round(width * scale))]
    resized = torch.nn.functional.interpolate(data.float(), size, mode="bilinear", antialias=True)
    return resized.round().clamp(0, 255).to(torch.uint8)


def too_short(path: Path | str, fps: Fraction) -> MediaError:
    """What to say of a video of fewer than two pictures at `fps`."""
    return MediaError(path, f"one frame at {fps} frames a second, and flow is what lies between two")
