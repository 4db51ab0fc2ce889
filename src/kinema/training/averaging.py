"""The average of the weights over the steps of a run, which is what is tested and kept.

Polyak and Juditsky 1992, "Acceleration of Stochastic Approximation by Averaging"; in the form of a
moving average it generalises better than the last weights, at the cost of one more copy of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

__all__ = ["WeightAverage"]


class WeightAverage:
    """The exponential moving average of what an optimizer changes in a network, in float32.

    After step n (from 1) an average keeps the share min(decay, (1 + n) / (10 + n)) of itself and takes
    the rest from the weights. Early in a run the share is small, so that the random weights it began
    with are soon forgotten: after 20 steps less than a millionth of them is left, whatever the decay.
    Buffers, such as the figures of batch norms, are averages by themselves: the network's are taken.

    Args:
        network: whose weights are averaged.
        optimizer: parameters that it does not have never change, and need no average.
        decay: largest share of itself that an average keeps, in (0, 1).
    """

    def __init__(self, network: nn.Module, optimizer: torch.optim.Optimizer, decay: float) -> None:
        changing = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        self._decay = decay
        self._weights = {name: weight for name, weight in network.named_parameters() if id(weight) in changing}
        self._averages = {name: weight.detach().float().clone() for name, weight in self._weights.items()}
        self._steps = 0

    @torch.no_grad()
    def update(self) -> None:
        """Take note of the weights after one more step."""
        self._steps += 1
        keep = min(self._decay, (1 + self._steps) / (10 + self._steps))
        for name, average in self._averages.items():
            average.lerp_(self._weights[name].float(), 1 - keep)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within it the network has the averages for weights; afterwards its own again, to the last bit."""
        own = {name: weight.detach().clone() for name, weight in self._weights.items()}
        try:
            self._put(self._averages)
            yield
        finally:
            self._put(own)

    def remember(self) -> dict[str, Any]:
        """What must survive an interruption."""
        return {"steps": self._steps, "averages": self._averages}

    @torch.no_grad()
    def restore(self, remembered: dict[str, Any]) -> None:
        """Go on from what `remember` gave; LookupError for other weights than these."""
        for name, average in self._averages.items():
            average.copy_(remembered["averages"][name])
        self._steps = remembered["steps"]

    @torch.no_grad()
    def _put(self, values: dict[str, torch.Tensor]) -> None:
        for name, weight in self._weights.items():
            weight.copy_(values[name])
