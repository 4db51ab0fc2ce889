"""The arithmetic of a run, and what keeps bfloat16 on a CPU from reading memory that nobody wrote.

The fault is oneDNN's (3.13, and its main branch of August 2026), in the AVX-512 kernel of bfloat16
weight gradients, `jit_avx512_core_bf16_conv_kernel.cpp`: where a kernel spans more frames than there
are, the step from one output frame to the next within the front padding (`compute_od_loop_common`)
also moves on in the input, past its end. Gradients are then made of memory that nobody wrote, often
infinite or no number, and more memory may be damaged. Rows and columns err likewise in pictures of one
or two; forward passes and gradients of inputs are right.

Zeros set around the clip beforehand give the same sums, and leave that kernel nothing to step over.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from lightning_fabric.plugins import MixedPrecision, Precision
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from kinema.core.errors import UsageError

__all__ = ["CpuBfloat16", "ZerosAhead", "arithmetic", "computes_bfloat16"]

_CONVOLUTIONS = (functional.conv2d, functional.conv3d)
_FRAMES = 3  # the axis of frames, counted from the last: frames, rows, columns


class ZerosAhead(TorchFunctionMode):
    """While it is on, convolutions whose kernel is longer, higher or wider than the clip get their zeros beforehand.

    It acts on calls, not on modules: parameters keep their names, and convolutions called by hand
    are caught too. All others, and all other operations, are as they were.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Torch's hook: what is called instead of `func`."""
        if func in _CONVOLUTIONS:
            return _with_zeros(func, *args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _with_zeros(
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
            pad if _overhangs(axes - axis, input.shape[axis - axes], size, pad, step, apart) else 0
            for axis, (size, pad, step, apart) in enumerate(
                zip(weight.shape[2:], paddings, strides, dilations, strict=True)
            )
        ]
        if any(ahead):
            input = functional.pad(input, [zeros for zeros in reversed(ahead) for _ in range(2)])  # noqa: A001
            padding = [pad - done for pad, done in zip(paddings, ahead, strict=True)]
    return convolve(input, weight, bias, stride, padding, dilation, groups)


def _overhangs(axis: int, length: int, size: int, padding: int, stride: int, dilation: int) -> bool:
    """Whether a kernel overhangs in a way that oneDNN cannot be trusted with.

    Args:
        axis: counted from the last: 1 are the columns, 2 the rows, 3 the frames.
        length: of the input.
        size: of the kernel.
        padding: zeros on either side.
        stride: of the kernel.
        dilation: distance of the kernel's elements.
    """
    span = dilation * (size - 1) + 1
    if padding == 0 or span <= length:
        return False
    # A single output frame takes no step: layers that have come down to one frame are as fast as ever.
    return axis < _FRAMES or length + 2 * padding - span >= stride


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
        with super().forward_context(), ZerosAhead():
            yield


def computes_bfloat16() -> bool:
    """Whether this CPU has instructions for bfloat16; without them it is slower than float32."""
    if platform.machine().lower() in {"x86_64", "amd64"}:
        # torch has no public name for these before 2.10.
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()  # noqa: SLF001
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())  # noqa: SLF001  likewise


def arithmetic(precision: str, device: torch.device) -> Precision:
    """What computes at `precision` on `device`.

    Args:
        precision: `32-true`, `16-mixed` or `bf16-mixed`.
        device: where the network is trained.

    Raises:
        UsageError: bfloat16 on a CPU without instructions for it.
    """
    if precision == "32-true":
        return Precision()
    if precision == "bf16-mixed" and device.type == "cpu":
        if not computes_bfloat16():
            raise UsageError(
                "precision bf16-mixed on a CPU without bfloat16 instructions (AVX512_BF16 or AMX)",
                allowed="32-true, which is faster there and more exact",
                next_step="leave out --set precision=bf16-mixed, or train on a GPU",
            )
        return CpuBfloat16()
    return MixedPrecision(precision, device.type)  # type: ignore[arg-type]  # one of the two that are left
