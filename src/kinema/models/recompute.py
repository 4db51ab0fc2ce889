"""Stages that keep only what enters them, and are computed a second time on the way back: less memory, same numbers.

Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost", https://arxiv.org/abs/1604.06174. Torch does
it, random numbers of dropout included; what it does not know is that a batch norm that sees its input a
second time must not count it twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

__all__ = ["BATCH_NORMS", "Context", "recomputed"]

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
"""Layers that carry running means and variances."""

Context = Callable[[], AbstractContextManager[Any]]
"""Makes what code is run in, once each time."""

T = TypeVar("T")


def recomputed(run: Callable[..., T], parts: Sequence[nn.Module], again: Context, *inputs: Any) -> T:
    """`run(*inputs)`, of which nothing but `inputs` is kept for the way back.

    Args:
        run: works on `inputs` and `parts` alone, and changes no input.
        parts: the modules that it runs.
        again: what the second time is run in, beside autocast, which torch remembers.
        inputs: tensors, or whatever holds them.
    """
    if torch.compiler.is_compiling():  # the compiler plans by itself what to compute twice, and counts once
        return checkpoint(run, *inputs, use_reentrant=False)

    def contexts() -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
        return nullcontext(), _second_time(parts, again)

    return checkpoint(run, *inputs, use_reentrant=False, context_fn=contexts)


@contextmanager
def _second_time(parts: Sequence[nn.Module], again: Context) -> Iterator[None]:
    """Batch norms do as before, but count on copies of their running figures, which are thrown away."""
    norms = {module for part in parts for module in part.modules() if isinstance(module, BATCH_NORMS)}
    figures = [(norm, dict(norm.named_buffers(recurse=False))) for norm in norms]
    try:
        for norm, buffers in figures:
            _set_buffers(norm, {name: buffer.clone() for name, buffer in buffers.items()})
        with again():
            yield
    finally:
        for norm, buffers in figures:
            _set_buffers(norm, buffers)


def _set_buffers(module: nn.Module, buffers: Mapping[str, torch.Tensor]) -> None:
    for name, buffer in buffers.items():
        setattr(module, name, buffer)
