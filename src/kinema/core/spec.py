"""What a network expects to be fed. Travels with its weights, so nobody passes means by hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from typing import Literal

from kinema.core.errors import UsageError

__all__ = ["FLOW_MEAN", "FLOW_STD", "ClipSpec", "Crop", "FlowSpec", "InputSpec", "Modality", "Padding"]

Padding = Literal["loop", "last", "none"]
Modality = Literal["rgb", "flow", "rgb+flow", "difference"]
Crop = Literal["center", "full"]

FLOW_MEAN = 128 / 255
FLOW_STD = 127 / 255
"""The statistics that make -1 to 1 of a byte of flow, 1 to 255 around 128: no motion is fed as exactly 0."""

_CHANNELS: dict[Modality, int] = {"rgb": 3, "flow": 2, "rgb+flow": 5, "difference": 1}


@dataclass(frozen=True)
class ClipSpec:
    """Which instants of a video make one clip.

    Attributes:
        frames: length T of a clip, in frames.
        stride: distance between two frames of a clip, in source frames; ignored where `fps` is set.
        fps: frames a second of the clip, resampled by time, so that videos of different frame rates
            show the same speed; None takes every `stride`-th frame as it comes.
        padding: what a video shorter than a clip does: `loop` starts again, `last` holds its last
            frame, `none` refuses.
    """

    frames: int = 16
    stride: int = 1
    fps: float | None = None
    padding: Padding = "loop"

    def __post_init__(self) -> None:
        if self.frames < 1:
            raise UsageError(f"a clip of {self.frames} frames", allowed="one frame or more")
        if self.stride < 1:
            raise UsageError(f"a stride of {self.stride} frames", allowed="one frame or more")
        if self.fps is not None and not self.fps > 0:
            raise UsageError(f"a clip at {self.fps} frames a second", allowed="a rate above 0, or none")
        if self.padding not in ("loop", "last", "none"):
            raise UsageError(f"padding '{self.padding}'", allowed="loop, last or none")


@dataclass(frozen=True)
class FlowSpec:
    """How the optical flow that a network is fed with is computed. The defaults are those of the I3D paper.

    Attributes:
        algorithm: its name, such as `tvl1`.
        fps: frames a second, resampled by time, between which motion is measured; an exact fraction as text,
            "25" or "30000/1001".
        short_side_px: what the short side of frames is scaled to before; motion is in pixels of that size.
        bound_px: motion that reaches the last byte; more is cut off.
        parameters: settings of the algorithm; kinema's own where they are not named.
    """

    algorithm: str
    fps: str = "25"
    short_side_px: int = 256
    bound_px: float = 20.0
    parameters: Mapping[str, bool | int | float | str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        try:
            positive = Fraction(self.fps) > 0
        except (ValueError, ZeroDivisionError):
            positive = False
        if not positive:
            raise UsageError(f"flow at {self.fps} frames a second", allowed="above 0, such as 25 or 30000/1001")
        if self.short_side_px < 1:
            raise UsageError(f"flow of frames of {self.short_side_px} pixels", allowed="one pixel or more")
        if not self.bound_px > 0:
            raise UsageError(f"flow bounded by {self.bound_px} pixels", allowed="above 0")

    @property
    def rate(self) -> Fraction:
        """`fps` as a number."""
        return Fraction(self.fps)

    def differences(self, other: FlowSpec) -> dict[str, tuple[str, str]]:
        """What differs from `other`: by name, this one's value and the other's; parameters where both name them."""
        mine, others = ({**asdict(each), **each.parameters, "fps": each.rate} for each in (self, other))
        del mine["parameters"], others["parameters"]
        shared = [name for name in mine if name in others]
        return {name: (_word(mine[name]), _word(others[name])) for name in shared if mine[name] != others[name]}

    def __str__(self) -> str:
        return f"{self.algorithm} at {self.fps} fps, short side {self.short_side_px}, within {self.bound_px:g} pixels"


@dataclass(frozen=True)
class InputSpec:
    """How pixels become the float32 input (N, C, T, size, size) of a network.

    A frame is scaled so that its short side has `short_side_px`, then a region is cut from it when
    testing: the centre square (`center`), or the whole frame squeezed into the square (`full`),
    which loses nothing at the sides of wide CCTV pictures. Then `(x / 255 * value_range - mean) / std`
    a channel.

    Attributes:
        clip: the instants.
        modality: `rgb` for 3 channels; `flow` for 2, motion to the right and down; `rgb+flow` for 5, each
            picture with the flow from it to the next one; `difference` for 1, the luma (ITU-R BT.601) of
            each frame minus that of the clip's frame before, so T frames give T - 1 time steps.
        size_px: side of the square network input.
        short_side_px: side that the short side of a frame is scaled to before cropping; at least `size_px`.
        crop: the region looked at when testing.
        mean: a value for each channel, after scaling to `value_range`.
        std: likewise; 1 means "not divided".
        value_range: what 255 becomes; 1.0 for most networks, 255.0 for those trained on raw bytes.
        flow: how the flow it was trained on was computed; None without flow, or where nobody said.
    """

    clip: ClipSpec = field(default_factory=ClipSpec)
    modality: Modality = "rgb"
    size_px: int = 112
    short_side_px: int = 112
    crop: Crop = "center"
    mean: tuple[float, ...] = (0.4345, 0.4051, 0.3775)
    std: tuple[float, ...] = (0.2768, 0.2713, 0.2737)
    value_range: float = 1.0
    flow: FlowSpec | None = None

    def __post_init__(self) -> None:
        if self.modality not in _CHANNELS:
            raise UsageError(f"modality '{self.modality}'", allowed=", ".join(_CHANNELS))
        if self.crop not in ("center", "full"):
            raise UsageError(f"crop '{self.crop}'", allowed="center or full")
        if self.flow is not None and self.flow_channel is None:
            raise UsageError(
                f"flow by {self.flow.algorithm} in an input of modality {self.modality}", allowed="flow or rgb+flow"
            )
        if self.modality == "difference" and self.clip.frames < 2:
            raise UsageError("differences of a clip of one frame", allowed="clips of two frames or more")
        if self.size_px < 16:
            raise UsageError(f"an input of {self.size_px} pixels", allowed="16 pixels or more")
        if self.short_side_px < self.size_px:
            raise UsageError(
                f"frames scaled to a short side of {self.short_side_px} pixels cannot give crops of {self.size_px}",
                allowed=f"{self.size_px} pixels or more",
            )
        if len(self.mean) != self.channels or len(self.std) != self.channels:
            raise UsageError(
                f"{len(self.mean)} means and {len(self.std)} deviations for {self.channels} {self.modality} channels",
                allowed="one of each a channel",
            )
        if min(self.std) <= 0:
            raise UsageError(f"a standard deviation of {min(self.std)}", allowed="above 0")

    @property
    def channels(self) -> int:
        """Channels C of the network input."""
        return _CHANNELS[self.modality]

    @property
    def flow_channel(self) -> int | None:
        """The channel of motion to the right, the one that points the other way in a mirror; None without flow."""
        return {"flow": 0, "rgb+flow": 3}.get(self.modality)

    @property
    def time_steps(self) -> int:
        """Length of the time axis of the network input."""
        return self.clip.frames - 1 if self.modality == "difference" else self.clip.frames

    def differences(self, other: InputSpec) -> dict[str, tuple[str, str]]:
        """What differs from `other`: by name, this one's value and the other's, in words."""
        mine, others = self._in_words(), other._in_words()
        return {name: (mine[name], others[name]) for name in mine if mine[name] != others[name]}

    def _in_words(self) -> dict[str, str]:
        values = {**asdict(self), **asdict(self.clip), "flow": self.flow}
        # Of these two one rules, so they are one property of a clip.
        stride, fps = values.pop("stride"), values.pop("fps")
        values["spacing"] = f"stride {stride}" if fps is None else f"{fps:g} fps"
        del values["clip"]
        return {name: _word(value) for name, value in values.items()}


def _word(value: object) -> str:
    if isinstance(value, tuple):
        return " ".join(map(_word, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
