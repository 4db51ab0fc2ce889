"""The arithmetic of a run, and what keeps a CPU from reading memory that nobody wrote.

The fault is oneDNN's (3.13, and its main branch of August 2026), in the AVX-512 kernels of weight
gradients. In that of bfloat16, `jit_avx512_core_bf16_conv_kernel.cpp`, where a kernel spans more frames
than there are, the step from one output frame to the next within the front padding
(`compute_od_loop_common`) also moves on in the input, past its end. Gradients are then made of memory
that nobody wrote, often infinite or no number, and more memory may be damaged. Rows and columns err
likewise in pictures of one or two; forward passes and gradients of inputs are right.

That of float32, `jit_avx512_common_conv_kernel.cpp`, jumps over that step, but counts too many frames
for long kernels that skip frames: of 7 over 5 to 7 frames, two at a time, as I3D and S3D begin with.

Zeros set around the clip beforehand give the same sums, and leave that kernel nothing to step over.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from lightning_fabric.plugins import MixedPrecision, Precision
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from kinema.core.errors import UsageError

__all__ = ["CpuBfloat16", "CpuFloat32", "ZerosAhead", "arithmetic", "computes_bfloat16"]

_CONVOLUTIONS = (functional.conv1d, functional.conv2d, functional.conv3d)
_FRAMES = 3  # the axis of frames, counted from the last: frames, rows, columns
_SHORT = 3  # kernels of this size are right in float32 at any stride


class ZerosAhead(TorchFunctionMode):
    """While it is on, convolutions whose kernel is longer, higher or wider than the clip get their zeros beforehand.

    It acts on calls, not on modules: parameters keep their names, and convolutions called by hand
    are caught too. All others, and all other operations, are as they were.

    Args:
        bfloat16: whether convolutions are computed in bfloat16; in float32 far fewer need it.
    """

    def __init__(self, *, bfloat16: bool) -> None:
        super().__init__()
        self._overhangs = _overhangs_bfloat16 if bfloat16 else _overhangs_float32

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Torch's hook: what is called instead of `func`."""
        if func in _CONVOLUTIONS:
            return _with_zeros(self._overhangs, func, *args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


@dataclass(frozen=True)
class _Axis:
    """One axis of a convolution.

    Attributes:
        number: counted from the last: 1 are the columns, 2 the rows, 3 the frames.
        length: of the input.
        size: of the kernel.
        padding: zeros on either side.
        stride: of the kernel.
        dilation: distance of the kernel's elements.
    """

    number: int
    length: int
    size: int
    padding: int
    stride: int
    dilation: int

    @property
    def span(self) -> int:
        """From the kernel's first element to its last."""
        return self.dilation * (self.size - 1) + 1

    @property
    def steps(self) -> bool:
        """Whether there is more than one output."""
        return self.length + 2 * self.padding - self.span >= self.stride


def _with_zeros(
    overhangs: Callable[[_Axis], bool],
    convolve: Callable[..., torch.Tensor],
    input: torch.Tensor,  # noqa: A002  the name that callers of torch's own know
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: str | int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> torch.Tensor:
    """`convolve`, with as much of the padding as is unsafe to leave to it done beforehand."""
    if not isinstance(padding, str):  # none of the zoo's is
        axes = weight.ndim - 2
        paddings, strides, dilations = (_each(value, axes) for value in (padding, stride, dilation))
        ahead = [
            pad if pad and overhangs(_Axis(axes - axis, input.shape[axis - axes], size, pad, step, apart)) else 0
            for axis, (size, pad, step, apart) in enumerate(
                zip(weight.shape[2:], paddings, strides, dilations, strict=True)
            )
        ]
        if any(ahead):
            padded = functional.pad(input, [zeros for zeros in reversed(ahead) for _ in range(2)])
            left = [pad - done for pad, done in zip(paddings, ahead, strict=True)]
            return convolve(padded, weight, bias, stride, left, dilation, groups)
    return convolve(input, weight, bias, stride, padding, dilation, groups)


def _overhangs_bfloat16(axis: _Axis) -> bool:
    # A single output frame takes no step: layers that have come down to one frame are as fast as ever.
    return axis.span > axis.length and (axis.number < _FRAMES or axis.steps)


def _overhangs_float32(axis: _Axis) -> bool:
    beyond = -axis.padding % axis.stride  # frames left behind when the kernel leaves the front padding
    strides = axis.number == _FRAMES and axis.stride > 1 and axis.size > _SHORT
    return strides and axis.span + beyond > axis.length and axis.steps


def _each(value: int | Sequence[int], axes: int) -> Sequence[int]:
    several = (value,) if isinstance(value, int) else value
    return several if len(several) == axes else [*several] * axes


class CpuBfloat16(MixedPrecision):
    """`bf16-mixed` on a CPU: convolutions in bfloat16, weights and sums in float32, zeros ahead."""

    def __init__(self) -> None:
        super().__init__("bf16-mixed", "cpu")

    @contextmanager
    def forward_context(self) -> Iterator[None]:
        """What the network runs in."""
        with super().forward_context(), ZerosAhead(bfloat16=True):
            yield


class CpuFloat32(Precision):
    """`32-true` on a CPU: torch's own float32, zeros ahead where oneDNN errs even there."""

    def forward_context(self) -> ZerosAhead:
        """What the network runs in."""
        return ZerosAhead(bfloat16=False)


def computes_bfloat16() -> bool:
    """Whether this CPU has instructions for bfloat16; without them it is slower than float32."""
    if platform.machine().lower() in {"x86_64", "amd64"}:
        # torch has no public name for these before 2.10.
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()  # noqa: SLF001
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())  # noqa: SLF001  likewise


def arithmetic(precision: Literal["32-true", "16-mixed", "bf16-mixed"], device: torch.device) -> Precision:
    """What computes at `precision` on `device`.

    Args:
        precision: `32-true`, `16-mixed` or `bf16-mixed`.
        device: where the network is trained.

    Raises:
        UsageError: bfloat16 on a CPU without instructions for it.
    """
    if precision == "32-true":
        return CpuFloat32() if device.type == "cpu" else Precision()
    if precision == "bf16-mixed" and device.type == "cpu":
        if not computes_bfloat16():
            raise UsageError(
                "precision bf16-mixed on a CPU without bfloat16 instructions (AVX512_BF16 or AMX)",
                allowed="32-true, which is faster there and more exact",
                next_step="leave out --set precision=bf16-mixed, or train on a GPU",
            )
        return CpuBfloat16()
    return MixedPrecision(precision, device.type)
