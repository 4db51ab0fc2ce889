"""Batch norms that count the clips of all processes, as one process with all of them would.

torch has this for GPUs alone (`nn.SyncBatchNorm`), which is used there; on a CPU it is computed here.
The modules stay where they are and keep their parameters, buffers and names: only their class changes, to one that
is still the old one as well.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm

from kinema.core.errors import UsageError

__all__ = ["synchronise"]


def synchronise(network: nn.Module, device: torch.device) -> None:
    """Make every batch norm of `network` count the clips of all processes, in place.

    Args:
        network: not yet wrapped for DDP.
        device: where it will train.

    Raises:
        UsageError: a batch norm with arithmetic of its own, such as that of a recurrent network.
    """
    norms: dict[str, Any] = {name: part for name, part in network.named_modules() if isinstance(part, _BatchNorm)}
    own = [name for name, norm in norms.items() if type(norm).forward is not _BatchNorm.forward]
    if own:
        raise UsageError(
            f"sync_batch_norm with {', '.join(own)}, which normalises in a way of its own",
            allowed="networks whose batch norms are plain ones",
            next_step="leave out sync_batch_norm, or choose another network",
        )
    for norm in norms.values():
        plain = type(norm)
        if device.type == "cpu":
            norm.__class__ = type(f"Synced{plain.__name__}", (_SyncedOnCpu, plain), {})
        else:
            norm.process_group = None  # what nn.SyncBatchNorm looks for: the group of all processes
            norm.__class__ = type(f"Synced{plain.__name__}", (nn.SyncBatchNorm, plain), {})


class _SyncedOnCpu(_BatchNorm):
    """A batch norm over the batches of all processes while it trains, and a plain one while it does not."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, ...) to the same."""
        if not self.training or not distributed.is_initialized() or distributed.get_world_size() == 1:
            return super().forward(x)
        share = self._count()
        normalised, mean, variance, count = cast(
            tuple[torch.Tensor, torch.Tensor, torch.Tensor, float],
            _Normalise.apply(x, self.weight, self.bias, self.eps),
        )
        with torch.no_grad():
            if self.running_mean is not None and self.running_var is not None:
                self.running_mean.lerp_(mean, share)
                self.running_var.lerp_(variance * (count / max(count - 1, 1)), share)
        return normalised

    def _count(self) -> float:
        """One batch more; the weight that it has in the running statistics."""
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        if self.momentum is None:
            return 1.0 / float(self.num_batches_tracked) if self.num_batches_tracked is not None else 0.0
        return self.momentum


class _Normalise(torch.autograd.Function):
    """Batch norm over the batches of all processes; statistics and sums in float32, or in float64 where the input is.

    The mean first, then the squares about it: the square of the mean, taken from the mean of the
    squares, would leave rounding errors where the mean is far from 0.
    """

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: torch.Tensor | None, bias: torch.Tensor | None, eps: float
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, float]:
        """Normalised (N, C, ...), mean (C,), biased variance (C,), and how many numbers a channel they are of."""
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        axes = [axis for axis in range(x.dim()) if axis != 1]
        sums = _summed(torch.cat([wide.sum(axes), wide.new_tensor([x.numel() // x.shape[1]])]))
        count = float(sums[-1])
        mean = sums[:-1] / count
        centred = wide - _channels(mean, x)
        variance = _summed(centred.square().sum(axes)) / count
        scale = (variance + eps).rsqrt()
        normalised = centred * _channels(scale, x)
        ctx.save_for_backward(normalised, scale, weight)
        ctx.count = count
        ctx.mark_non_differentiable(mean, variance)
        result = normalised if weight is None else normalised * _channels(weight, x)
        if bias is not None:
            result = result + _channels(bias, x)
        return result.to(x.dtype), mean, variance, count

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[torch.Tensor | None, ...]:
        """Of the input over all processes; of weight and bias of this one's clips, which DDP then averages."""
        normalised, scale, weight = ctx.saved_tensors
        wide = gradients[0].to(normalised.dtype)
        axes = [axis for axis in range(wide.dim()) if axis != 1]
        of_bias, of_weight = wide.sum(axes), (wide * normalised).sum(axes)
        all_bias, all_weight = (_summed(torch.stack([of_bias, of_weight])) / ctx.count).unbind()
        factor = scale if weight is None else scale * weight
        centred = wide - _channels(all_bias, wide) - normalised * _channels(all_weight, wide)
        of_input = (centred * _channels(factor, wide)).to(gradients[0].dtype)
        return (
            of_input,
            of_weight if ctx.needs_input_grad[1] else None,
            of_bias if ctx.needs_input_grad[2] else None,
            None,
        )


def _summed(numbers: torch.Tensor) -> torch.Tensor:
    distributed.all_reduce(numbers)
    return numbers


def _channels(numbers: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """(C,) as (1, C, 1, ...), to be broadcast over `like`."""
    return numbers.view(1, -1, *[1] * (like.dim() - 2))
