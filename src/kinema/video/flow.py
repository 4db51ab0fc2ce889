"""Optical flow: by how many pixels each point of a frame moves until the next one, and the bytes that say so.

N frames have N - 1 fields between them. A field is float32 (2, H, W): motion to the right, then down, in pixels of
the very frames it was computed on. OpenCV is imported when an algorithm of its is made, and not before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torchvision.models.optical_flow import raft_large, raft_small

from kinema.core.errors import MediaError, UsageError, WeightsError, nearest
from kinema.core.spec import FlowSpec

__all__ = [
    "ALGORITHMS",
    "ZERO_BYTE",
    "FlowAlgorithm",
    "FlowChoice",
    "Parameters",
    "algorithm_of",
    "flow_fields",
    "from_bytes",
    "make_algorithm",
    "to_bytes",
]

Parameters = Mapping[str, bool | int | float | str]
"""The settings of an algorithm by name."""

ZERO_BYTE = 128
"""The byte of no motion. The bound is 127 steps away from it on either side."""

_STEPS = 127

# What OpenCV's own defaults are and were, in every version since 3.0: said here, since a default may change.
_TVL1: Parameters = {
    "Tau": 0.25, "Lambda": 0.15, "Theta": 0.3, "Gamma": 0.0, "Epsilon": 0.01, "ScalesNumber": 5, "ScaleStep": 0.8,
    "WarpingsNumber": 5, "InnerIterations": 30, "OuterIterations": 10, "MedianFiltering": 5, "UseInitialFlow": False,
}  # fmt: skip
# Those of OpenCV's own example.
_FARNEBACK: Parameters = {
    "pyr_scale": 0.5, "levels": 3, "winsize": 15, "iterations": 3, "poly_n": 5, "poly_sigma": 1.2, "flags": 0,
}  # fmt: skip

_RAFT: dict[str, Callable[..., torch.nn.Module]] = {"raft_small": raft_small, "raft_large": raft_large}
# Its coarsest correlation is taken at a sixty-fourth of the picture, which needs two points a side there.
_RAFT_LEAST_PX = 128
_RAFT_MULTIPLE_PX = 8
_RAFT_UPDATES = 12  # what torchvision's figures for its files were measured with


class FlowAlgorithm(Protocol):
    """Computes one field from two frames; belongs to one thread."""

    @property
    def name(self) -> str:
        """Key of `ALGORITHMS`."""

    @property
    def library(self) -> str:
        """Whose code it is, with its version."""

    @property
    def parameters(self) -> Parameters:
        """All settings that its result depends on."""

    def field(self, before: npt.NDArray[np.uint8], after: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Motion (2, H, W) to the right and down, in pixels, between two RGB frames (H, W, 3)."""


@dataclass(frozen=True)
class FlowChoice:
    """Which algorithm computes flow.

    Attributes:
        algorithm: key of `ALGORITHMS`.
        raft: `raft_small` or `raft_large`; for `raft` only, as are the next two.
        weights: file of torchvision's weights of that network.
        device: where the network runs.
        parameters: settings by name that differ from kinema's own; none for `raft`.
    """

    algorithm: str = "tvl1"
    raft: str = "raft_small"
    weights: Path | None = None
    device: str = "cpu"
    parameters: tuple[tuple[str, bool | int | float | str], ...] = ()

    def __post_init__(self) -> None:
        if self.algorithm not in ALGORITHMS:
            raise UsageError(
                f"no flow algorithm is called '{self.algorithm}'{nearest(self.algorithm, ALGORITHMS)}",
                allowed=", ".join(ALGORITHMS),
            )
        if self.raft not in _RAFT:
            raise UsageError(f"no RAFT is called '{self.raft}'{nearest(self.raft, _RAFT)}", allowed=", ".join(_RAFT))
        if self.algorithm == "raft" and self.parameters:
            raise UsageError(f"RAFT with {dict(self.parameters)}", allowed="no parameters beside its weights")
        if (self.algorithm == "raft") != (self.weights is not None):
            raise UsageError(
                f"flow by {self.algorithm} {'with' if self.weights else 'without'} weights",
                allowed="weights for raft, and for nothing else",
                next_step="download those of torchvision's raft_small or raft_large and pass the file as --weights",
            )


def make_algorithm(choice: FlowChoice) -> FlowAlgorithm:
    """The algorithm that `choice` names, ready to run.

    Raises:
        UsageError: OpenCV is not installed, or there is no such device.
        WeightsError: the weights of a network cannot be read or do not fit.
    """
    return ALGORITHMS[choice.algorithm](choice)


def algorithm_of(spec: FlowSpec, *, weights: Path | None = None, device: str = "cpu") -> FlowAlgorithm:
    """The algorithm that `spec` names, with its parameters, ready to run.

    Args:
        spec: what a network was trained on.
        weights: those of RAFT, where that is the algorithm; for nothing else.
        device: where RAFT runs.

    Raises:
        UsageError: kinema has no such algorithm or parameter, OpenCV is not installed, or RAFT lacks its weights.
        WeightsError: the weights are not those that the flow was computed with.
    """
    if spec.algorithm != "raft":
        return make_algorithm(FlowChoice(spec.algorithm, parameters=tuple(sorted(spec.parameters.items()))))
    if weights is None:
        raise UsageError(
            f"flow by {spec.parameters.get('network', 'raft')}, and no weights of it",
            allowed="the file that torchvision publishes",
            next_step="compute the flow with kinema data flow; or give kinema predict the file as --raft-weights",
        )
    made = make_algorithm(FlowChoice("raft", str(spec.parameters.get("network", "raft_small")), weights, device))
    expected = spec.parameters.get("weights_sha256")
    if expected is not None and made.parameters["weights_sha256"] != expected:
        raise WeightsError(
            f"{weights} is not the RAFT that the network's flow was computed with",
            allowed=f"the file with SHA-256 {expected}",
        )
    return made


def flow_fields(frames: torch.Tensor, algorithm: FlowAlgorithm) -> torch.Tensor:
    """Fields float32 (T - 1, 2, H, W) between neighbours of RGB frames uint8 (T, 3, H, W), T at least 1.

    Field t is the motion from frame t to frame t + 1, to the right and down, in pixels, unbounded.
    """
    pictures = frames.permute(0, 2, 3, 1).contiguous().numpy()  # (T, H, W, 3)
    fields = torch.empty((len(frames) - 1, 2, *frames.shape[2:]), dtype=torch.float32)
    for index, (before, after) in enumerate(pairwise(pictures)):
        fields[index] = torch.from_numpy(algorithm.field(before, after))
    return fields


def to_bytes(fields: torch.Tensor, bound_px: float) -> torch.Tensor:
    """Fields in pixels as bytes 1 to 255 of the same shape: `128 + round(127 x / bound_px)`, x held within ± bound_px.

    No motion is exactly 128, and opposite motions lie equally far from it; a byte is bound_px / 127 pixels.
    """
    steps = (fields.clamp(-bound_px, bound_px) * (_STEPS / bound_px)).round()
    return (steps + ZERO_BYTE).to(torch.uint8)


def from_bytes(bytes_: torch.Tensor, bound_px: float) -> torch.Tensor:
    """Bytes of `to_bytes` as pixels, float32."""
    return (bytes_.float() - ZERO_BYTE) * (bound_px / _STEPS)


class _Tvl1:
    """Dual TV-L1 of OpenCV's contributed modules; see docs/how-to/flow.md for what the authors of I3D took."""

    name = "tvl1"

    def __init__(self, choice: FlowChoice) -> None:
        self._cv2 = _opencv()
        self._made = self._cv2.optflow.DualTVL1OpticalFlow_create()
        _write_on(self._made, _settings("tvl1", _TVL1, choice))
        self.library = f"OpenCV {self._cv2.__version__}"
        self.parameters: Parameters = _read_off(self._made)

    def field(self, before: npt.NDArray[np.uint8], after: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """See `FlowAlgorithm`."""
        return _planes(self._made.calc(_grey(self._cv2, before), _grey(self._cv2, after), None))


class _Dis:
    """Dense inverse search at OpenCV's medium preset."""

    name = "dis"

    def __init__(self, choice: FlowChoice) -> None:
        self._cv2 = _opencv()
        self._made = self._cv2.DISOpticalFlow_create(self._cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        own = {"preset": "medium", **_read_off(self._made)}
        settings = _settings("dis", own, choice)
        if settings.pop("preset") != "medium":
            raise UsageError(f"DIS at preset {dict(choice.parameters)['preset']}", allowed="medium")
        _write_on(self._made, settings)
        self.library = f"OpenCV {self._cv2.__version__}"
        self.parameters: Parameters = {"preset": "medium", **_read_off(self._made)}

    def field(self, before: npt.NDArray[np.uint8], after: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """See `FlowAlgorithm`."""
        return _planes(self._made.calc(_grey(self._cv2, before), _grey(self._cv2, after), None))


class _Farneback:
    """Polynomial expansion with the settings of OpenCV's own example."""

    name = "farneback"

    def __init__(self, choice: FlowChoice) -> None:
        self._cv2 = _opencv()
        self.library = f"OpenCV {self._cv2.__version__}"
        self._settings: dict[str, Any] = _settings("farneback", _FARNEBACK, choice)
        self.parameters: Parameters = dict(self._settings)

    def field(self, before: npt.NDArray[np.uint8], after: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """See `FlowAlgorithm`."""
        found = self._cv2.calcOpticalFlowFarneback(
            _grey(self._cv2, before), _grey(self._cv2, after), None, **self._settings
        )
        return _planes(found)


class _Raft:
    """torchvision's RAFT, with weights from a file, used as torchvision's own evaluation uses it.

    Pictures go from -1 to 1, and are padded to multiples of 8 by repeating their edges, half on either side.
    """

    name = "raft"

    def __init__(self, choice: FlowChoice) -> None:
        assert choice.weights is not None  # FlowChoice saw to it
        self._network = _RAFT[choice.raft]()
        try:
            content = choice.weights.read_bytes()
            self._network.load_state_dict(torch.load(choice.weights, map_location="cpu", weights_only=True))
        except (OSError, RuntimeError, UnpicklingError, ValueError, TypeError, AttributeError, EOFError) as error:
            raise WeightsError(
                f"{choice.weights} holds no weights of {choice.raft}: {str(error).splitlines()[0]}",
                allowed=f"the file that torchvision publishes for {choice.raft}",
            ) from error
        try:
            self._device = torch.device(choice.device)
            self._network.eval().to(self._device)
        except (RuntimeError, AssertionError) as error:
            raise UsageError(
                f"device {choice.device}: {str(error).splitlines()[0]}", allowed="cpu, or cuda where there is a GPU"
            ) from error
        self.library = f"torchvision {version('torchvision')}"
        digest = hashlib.sha256(content).hexdigest()
        self.parameters: Parameters = {"network": choice.raft, "updates": _RAFT_UPDATES, "weights_sha256": digest}

    @torch.inference_mode()
    def field(self, before: npt.NDArray[np.uint8], after: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """See `FlowAlgorithm`."""
        height, width = before.shape[:2]
        if min(height, width) < _RAFT_LEAST_PX:
            raise MediaError(
                "a video", f"{width}x{height} pixels are too few for RAFT", allowed=f"{_RAFT_LEAST_PX} pixels a side"
            )
        pair = torch.from_numpy(np.stack([before, after])).to(self._device).permute(0, 3, 1, 2).float() / 127.5 - 1
        across, down = (-side % _RAFT_MULTIPLE_PX for side in (width, height))
        left, top = across // 2, down // 2
        pair = torch.nn.functional.pad(pair, (left, across - left, top, down - top), mode="replicate")
        found = self._network(pair[:1], pair[1:], num_flow_updates=_RAFT_UPDATES)[-1]
        field: npt.NDArray[np.float32] = found[0, :, top : top + height, left : left + width].float().cpu().numpy()
        return field


ALGORITHMS: Mapping[str, Callable[[FlowChoice], FlowAlgorithm]] = {
    each.name: each for each in (_Tvl1, _Dis, _Farneback, _Raft)
}
"""By name, what makes each algorithm."""


def _opencv() -> Any:
    """OpenCV with its contributed modules, in one thread: videos are what runs side by side."""
    try:
        import cv2  # noqa: PLC0415  an extra, loaded only where flow is computed

        _ = cv2.optflow
    except (ImportError, AttributeError) as error:
        raise UsageError(
            "optical flow needs OpenCV with its contributed modules, which is not installed",
            allowed="opencv-contrib-python-headless; the plain packages of OpenCV lack TV-L1",
            next_step="pip install 'kinema[flow]'",
        ) from error
    cv2.setNumThreads(1)
    return cv2


def _grey(cv2: Any, picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    grey: npt.NDArray[np.uint8] = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    return grey


def _planes(interleaved: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(H, W, 2) to (2, H, W)."""
    return np.ascontiguousarray(interleaved.transpose(2, 0, 1))


def _settings(name: str, own: Parameters, choice: FlowChoice) -> dict[str, bool | int | float | str]:
    """The settings of an algorithm that are kinema's own, and in place of some of them those that were chosen."""
    for each, _ in choice.parameters:
        if each not in own:
            raise UsageError(f"{name} has no parameter {each}{nearest(each, own)}", allowed=", ".join(own))
    return {**own, **dict(choice.parameters)}


def _write_on(made: Any, settings: Parameters) -> None:
    """Make an algorithm of OpenCV run with `settings`."""
    for name, value in settings.items():
        getattr(made, f"set{name}")(value)


def _read_off(made: Any) -> dict[str, bool | int | float | str]:
    """What an algorithm of OpenCV says of its own settings."""
    names = sorted(name for name in dir(made) if name.startswith("get") and name != "getDefaultName")
    return {name.removeprefix("get"): getattr(made, name)() for name in names}
