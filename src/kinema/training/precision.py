"""The arithmetic of a run, and what keeps bfloat16 on a CPU from reading memory that nobody wrote.

The fault is oneDNN's (3.13, and its main branch of August 2026), in the AVX-512 kernel of bfloat16
weight gradients, `jit_avx512_core_bf16_conv_kernel.cpp`, `compute_od_loop_common`: where a kernel spans
more frames than there are, the step from one output frame to the next inside the front padding also
moves on in the input, past its end. Gradients are then made of memory that nobody wrote, often infinite
or no number, and more memory may be damaged. Forward passes and gradients of inputs are right.

Frames of zeros set in front of and behind the clip beforehand are the same sum, and leave that kernel
nothing to step over.
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

_Triple = int | Sequence[int]


class ZerosAhead(TorchFunctionMode):
    """While it is on, 3D convolutions whose kernel is longer than the clip get their zero frames beforehand.

    It acts on calls, not on modules: parameters keep their names, and convolutions called by hand
    are caught too. All others, and all other operations, are as they were.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Torch's hook: what is called instead of `func`."""
        if func is functional.conv3d:
            return _conv3d(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _conv3d(
    input: torch.Tensor,  # noqa: A002  the name that callers of torch's own know
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    stride: _Triple = 1,
    padding: str | _Triple = 0,
    dilation: _Triple = 1,
    groups: int = 1,
) -> torch.Tensor:
    if not isinstance(padding, str):  # those of "same" and "valid" are none of the zoo's
        frames, rows, columns = _three(padding)
        if _is_longer(weight, input, frames, _three(stride)[0], _three(dilation)[0]):
            input = functional.pad(input, (0, 0, 0, 0, frames, frames))  # noqa: A001  see above
            padding = (0, rows, columns)
    return functional.conv3d(input, weight, bias, stride, padding, dilation, groups)


def _is_longer(weight: torch.Tensor, clip: torch.Tensor, padding: int, stride: int, dilation: int) -> bool:
    """Whether the kernel spans more frames than there are, and steps over them more than once."""
    span = dilation * (weight.shape[2] - 1) + 1
    frames = clip.shape[-3]
    return padding > 0 and span > frames and frames + 2 * padding - span >= stride


def _three(value: _Triple) -> tuple[int, int, int]:
    if isinstance(value, int):
        return value, value, value
    (every, *others) = value
    return (every, *others) if others else (every, every, every)  # type: ignore[return-value]  # torch takes 1 or 3


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
