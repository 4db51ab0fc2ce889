"""Colour jitter on a whole batch: every clip its own change, every frame of a clip the same one."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from kinema.transforms.portion import Portion

__all__ = ["Jitter", "adjust_brightness", "adjust_contrast", "adjust_hue", "adjust_saturation", "jitter", "luma"]

_BT601 = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class Jitter:
    """One change of colour a clip.

    Attributes:
        brightness: (N,) factors, 1 changes nothing.
        contrast: likewise.
        saturation: likewise.
        hue: (N,) turns of the colour circle, -0.5 to 0.5, 0 changes nothing.
    """

    brightness: torch.Tensor
    contrast: torch.Tensor
    saturation: torch.Tensor
    hue: torch.Tensor

    @classmethod
    def draw(
        cls,
        clips: int,
        *,
        brightness: float,
        contrast: float,
        saturation: float,
        hue: float,
        generator: torch.Generator,
    ) -> Jitter:
        """Draw for `clips` clips: factors within 1 ± strength (at least 0), turns within ± `hue`."""

        def within(centre: float, strength: float) -> torch.Tensor:
            evenly = torch.rand(clips, generator=generator, device=generator.device) * 2 - 1
            return evenly * strength + centre

        return cls(
            brightness=within(1, brightness).clamp(min=0),
            contrast=within(1, contrast).clamp(min=0),
            saturation=within(1, saturation).clamp(min=0),
            hue=within(0, hue),
        )

    def of(self, portion: Portion, clips: int) -> Jitter:
        """Of changes drawn for a whole step those of a batch of `clips` clips."""
        return Jitter(*(portion.take(factors, clips) for factors in vars(self).values()))


def jitter(clips: torch.Tensor, change: Jitter) -> torch.Tensor:
    """Brightness, contrast, saturation, then hue of RGB `clips`, float (N, 3, T, H, W) from 0 to 255.

    A part that changes no clip is left out, so that no strength means the very same numbers.
    """
    if bool((change.brightness != 1).any()):
        clips = adjust_brightness(clips, change.brightness)
    if bool((change.contrast != 1).any()):
        clips = adjust_contrast(clips, change.contrast)
    if bool((change.saturation != 1).any()):
        clips = adjust_saturation(clips, change.saturation)
    if bool((change.hue != 0).any()):
        clips = adjust_hue(clips, change.hue)
    return clips


def luma(clips: torch.Tensor) -> torch.Tensor:
    """Grey (N, 1, T, H, W) of RGB clips (N, 3, T, H, W), by the weights of ITU-R BT.601."""
    weights = torch.tensor(_BT601, device=clips.device, dtype=clips.dtype).view(1, 3, 1, 1, 1)
    return (clips * weights).sum(dim=1, keepdim=True)


def adjust_brightness(clips: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """Clips (N, 3, T, H, W) times their factors (N,), held within 0 to 255."""
    return (clips * _each(factors, clips)).clamp(0, 255)


def adjust_contrast(clips: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """Clips (N, 3, T, H, W) stretched about their mean grey by factors (N,).

    The mean is the whole clip's: a mean a frame would flicker where something bright passes.
    """
    mean = luma(clips).mean(dim=(1, 2, 3, 4), keepdim=True)
    return mean.lerp(clips, _each(factors, clips)).clamp(0, 255)


def adjust_saturation(clips: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """Clips (N, 3, T, H, W) stretched away from their own grey by factors (N,); 0 gives grey clips."""
    return luma(clips).expand_as(clips).lerp(clips, _each(factors, clips)).clamp(0, 255)


def adjust_hue(clips: torch.Tensor, turns: torch.Tensor) -> torch.Tensor:
    """Clips (N, 3, T, H, W) with every colour moved `turns` (N,) round the circle of hue, in HSV."""
    value, _ = clips.max(dim=1, keepdim=True)
    chroma = value - clips.amin(dim=1, keepdim=True)
    red, green, blue = (clips[:, channel : channel + 1] for channel in range(3))
    span = torch.where(chroma > 0, chroma, 1)
    sixths = torch.where(
        value == red,
        (green - blue) / span,
        torch.where(value == green, (blue - red) / span + 2, (red - green) / span + 4),
    )  # (N, 1, T, H, W), 0 = red, 2 = green, 4 = blue
    offsets = torch.tensor([5.0, 3.0, 1.0], device=clips.device).view(1, 3, 1, 1, 1)
    k = (sixths + 6 * _each(turns, clips) + offsets).remainder(6)  # (N, 3, T, H, W)
    return value - chroma * torch.minimum(k, 4 - k).clamp(0, 1)


def _each(numbers: torch.Tensor, clips: torch.Tensor) -> torch.Tensor:
    return numbers.to(clips.device, clips.dtype).view(-1, 1, 1, 1, 1)
