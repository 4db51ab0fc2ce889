"""Pure functions from frames to model input.

Before `to_model_axes`, pixels are uint8 with axes (…, T, C, H, W); behind it float32 (N, C, T, H, W).
"""

from __future__ import annotations

import torch
from torchvision.transforms.v2 import functional as tv

from kinema.core.errors import DataError
from kinema.core.spec import InputSpec
from kinema.transforms.color import luma
from kinema.transforms.spatial import Box

__all__ = ["crop_resize", "flip", "luma_difference", "normalise", "require_frames", "to_model_axes"]


def crop_resize(frames: torch.Tensor, box: Box, size_px: int) -> torch.Tensor:
    """Cut `box` from uint8 frames (T, C, h, w) and scale it to (T, C, size_px, size_px).

    Scaling is bilinear and antialiased; a box that has the size already is cut only.

    Raises:
        DataError: the frames are no uint8 (T, C, h, w), or the box reaches beyond them.
    """
    require_frames(frames)
    height, width = frames.shape[-2:]
    if box.top + box.height > height or box.left + box.width > width:
        raise DataError(f"{box} reaches beyond frames of {height} x {width} pixels", allowed="boxes inside the frame")
    cut = frames[:, :, box.top : box.top + box.height, box.left : box.left + box.width]
    if cut.shape[-2:] == (size_px, size_px):
        return cut.contiguous()
    resized: torch.Tensor = tv.resize(cut, [size_px, size_px], antialias=True)
    return resized


def require_frames(frames: torch.Tensor) -> None:
    """DataError unless `frames` are uint8 (T, C, h, w)."""
    if frames.dtype != torch.uint8 or frames.ndim != 4:
        raise DataError(f"frames of {frames.dtype} with shape {tuple(frames.shape)}", allowed="uint8 (T, C, h, w)")


def flip(batch: torch.Tensor, flipped: torch.Tensor, *, flow_channel: int | None = None) -> torch.Tensor:
    """Mirror left and right those clips of a uint8 batch (N, T, C, H, W) that `flipped` (N,) names.

    Channel `flow_channel` is motion to the right as a byte, 1 to 255 around 128; mirrored, it points the other way.
    No motion stays none. A byte of 0, which kinema's own flow lacks, becomes 255.
    """
    mirrored = batch.flip(-1)
    if flow_channel is not None:
        # In two steps, since 256 is no byte.
        mirrored[:, :, flow_channel] = 255 - (mirrored[:, :, flow_channel].clamp(min=1) - 1)
    return torch.where(flipped.to(batch.device).view(-1, 1, 1, 1, 1), mirrored, batch)


def to_model_axes(batch: torch.Tensor) -> torch.Tensor:
    """uint8 (N, T, C, H, W) to float32 (N, C, T, H, W), still 0 to 255. The one place where axes change.

    Raises:
        DataError: the batch is no uint8 (N, T, C, H, W).
    """
    if batch.dtype != torch.uint8 or batch.ndim != 5:
        raise DataError(f"a batch of {batch.dtype} with shape {tuple(batch.shape)}", allowed="uint8 (N, T, C, H, W)")
    return batch.permute(0, 2, 1, 3, 4).to(torch.float32, memory_format=torch.contiguous_format)


def luma_difference(clips: torch.Tensor) -> torch.Tensor:
    """RGB clips (N, 3, T, H, W) to how the luma of each frame differs from the one before, (N, 1, T - 1, H, W).

    Raises:
        DataError: clips of one frame, which differs from nothing.
    """
    if clips.shape[2] < 2:
        raise DataError("differences of a clip of one frame", allowed="clips of two frames or more")
    return luma(clips).diff(dim=2)


def normalise(clips: torch.Tensor, spec: InputSpec) -> torch.Tensor:
    """`(x / 255 · value_range - mean) / std` a channel, for float clips (N, C, T, H, W) of 0 to 255.

    For modality `difference`, RGB clips come in and x is their `luma_difference`, -255 to 255.
    """
    if spec.modality == "difference":
        clips = luma_difference(clips)
    mean, std = (torch.tensor(values, device=clips.device).view(1, -1, 1, 1, 1) for values in (spec.mean, spec.std))
    # In place from the second step on: for whole batches, memory fresh from the system costs more than the sums.
    return (clips / 255).mul_(spec.value_range).sub_(mean).div_(std)
