"""What bytes become on their way into a network that starts from no weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from kinema.core.spec import FLOW_MEAN, FLOW_STD, InputSpec, Modality

__all__ = ["PixelStatistics", "Pixels", "describe_change", "statistics"]

Pixels = Literal["kinetics", "activitynet-mean", "symmetric"]


@dataclass(frozen=True)
class PixelStatistics:
    """`(x / 255 · value_range - mean) / std` a channel, as in `InputSpec`."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    value_range: float = 1.0


# Mean and deviation of Kinetics as 3D-ResNets-PyTorch has them since 2020, the mean of ActivityNet over
# raw bytes as its branch of 2018 has it, and -1 to 1 (x / 127.5 - 1) as kinetics-i3d feeds its networks.
_PICTURES: dict[Pixels, PixelStatistics] = {
    "kinetics": PixelStatistics((0.4345, 0.4051, 0.3775), (0.2768, 0.2713, 0.2737)),
    "activitynet-mean": PixelStatistics((114.7748, 107.7354, 99.4750), (1.0, 1.0, 1.0), 255.0),
    "symmetric": PixelStatistics((0.5,) * 3, (0.5,) * 3),
}

# A luma difference has zero mean, and a tenth of the range spreads typical motion over one unit.
_DIFFERENCE = PixelStatistics((0.0,), (0.1,))


def statistics(pixels: Pixels, modality: Modality) -> PixelStatistics:
    """The statistics of each channel of `modality`, whose pictures, if any, are fed as `pixels` says.

    Flow is -1 to 1 however pictures are fed: for I3D, motion within 20 pixels, divided by 20.
    """
    if modality == "difference":
        return _DIFFERENCE
    pictures = _PICTURES[pixels]
    if modality == "rgb":
        return pictures
    scale = pictures.value_range if modality == "rgb+flow" else 1.0
    flow = PixelStatistics((FLOW_MEAN * scale,) * 2, (FLOW_STD * scale,) * 2, scale)
    if modality == "flow":
        return flow
    return PixelStatistics((*pictures.mean, *flow.mean), (*pictures.std, *flow.std), scale)


def describe_change(pixels: Pixels, asked: InputSpec, fed: InputSpec) -> str:
    """One line where weights were trained on other pixels than `pixels` would give; empty where they agree.

    Args:
        pixels: the setting.
        asked: the input by the settings alone.
        fed: the input as the weights have it, which rules.
    """
    if all(getattr(asked, name) == getattr(fed, name) for name in ("mean", "std", "value_range")):
        return ""
    numbers = [" ".join(f"{value:g}" for value in values) for values in (fed.mean, fed.std)]
    return (
        f"pixels are fed as the weights were trained on them, not as pixels '{pixels}' says: 0 to {fed.value_range:g}, "
        f"mean {numbers[0]}, deviation {numbers[1]}"
    )
