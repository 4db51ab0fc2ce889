"""CNN-LSTM: Inception-v1 looks at each picture, a recurrent layer follows what it sees.

Paper: the first of the five architectures in Carreira and Zisserman, "Quo Vadis, Action Recognition?
A New Model and the Kinetics Dataset" (2017), https://arxiv.org/abs/1705.07750; batch norm in the LSTM
after Cooijmans et al., "Recurrent Batch Normalization" (2016), https://arxiv.org/abs/1603.09025.
Origin: no implementation was published with the paper; written after its description, over
torchvision's Inception-v1.

Deliberate differences: all steps of the LSTM share one set of statistics, where Cooijmans et al. count
them for each step apart, so that clips of any length are normalised alike; and its cell is not
normalised, whose values grow along a clip. Logits are those of the last picture, in training too,
where the paper's loss is over all of them.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional

from kinema.core.spec import ClipSpec, InputSpec
from kinema.models.layers.inception import FEATURES, STAGES, inception_v1
from kinema.models.model import Option, VideoModel
from kinema.models.row import ModelRow

__all__ = ["OPTIONS", "ROWS", "BatchNormLstm", "CnnLstm"]

OPTIONS = (Option("dropout", float, "share of the LSTM's last output dropped before fc", low=0, below=1),)

_HIDDEN = 512


class RecurrentBatchNorm(nn.BatchNorm1d):
    """Batch norm of what the step before hands on: it scales, and leaves the shift to the input's.

    One clip alone has no spread, so a batch of one is normalised by the running statistics, in training too.
    """

    def __init__(self, features: int) -> None:
        # Each batch moves the statistics once a step, so each time by little.
        super().__init__(features, momentum=0.01)
        self.register_parameter("bias", None)

    def reset_parameters(self) -> None:
        """A scale of 1, and the statistics of normalised data."""
        self.reset_running_stats()
        nn.init.ones_(self.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, features) to the same."""
        if not self.training or len(x) > 1:
            return super().forward(x)
        return functional.batch_norm(x, self.running_mean, self.running_var, self.weight, eps=self.eps)


class BatchNormLstm(nn.Module):
    """LSTM whose gates normalise what they get from the input and from the step before.

    In the symbols of Cooijmans et al., eq. 6: gates = BN(W_h h) + BN(W_x x) + b. Before the first step
    there is no h, and nothing is added for it.

    Args:
        in_features: of each step.
        hidden: of what it gives.
    """

    def __init__(self, in_features: int, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden
        gates = 4 * hidden  # input, forget, output, candidate
        self.input = nn.Linear(in_features, gates, bias=False)
        self.input_norm = nn.BatchNorm1d(gates)
        self.recurrent = nn.Linear(hidden, gates, bias=False)
        self.recurrent_norm = RecurrentBatchNorm(gates)
        self._initialise()

    def _initialise(self) -> None:
        """Orthogonal, with small scales (Cooijmans et al., section 4), and cells that keep what they hold at first."""
        nn.init.orthogonal_(self.input.weight)
        nn.init.orthogonal_(self.recurrent.weight)
        nn.init.constant_(self.input_norm.weight, 0.1)
        nn.init.constant_(self.recurrent_norm.weight, 0.1)
        nn.init.ones_(self.input_norm.bias[self.hidden : 2 * self.hidden])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, T, in) to what the last step gives, (N, hidden)."""
        frames = x.shape[1]
        from_input = self.input_norm(self.input(x).flatten(0, 1))  # (N · T, 4 · hidden)
        first, *rest = from_input.reshape(-1, frames, 4 * self.hidden).unbind(1)
        enters, _, leaves, candidate = first.chunk(4, 1)
        cell = enters.sigmoid() * candidate.tanh()
        hidden = leaves.sigmoid() * cell.tanh()
        for step in rest:
            gates = step + self.recurrent_norm(self.recurrent(hidden))
            enters, keeps, leaves, candidate = gates.chunk(4, 1)
            cell = keeps.sigmoid() * cell + enters.sigmoid() * candidate.tanh()
            hidden = leaves.sigmoid() * cell.tanh()
        return hidden  # type: ignore[no-any-return]


class CnnLstm(VideoModel):
    """Inception-v1 and an LSTM over clips (N, C, T, H, W) of any length and size.

    Args:
        num_classes: K.
        in_channels: C, 3 for RGB.
        dropout: share of the LSTM's last output dropped before `fc` in training.
    """

    trunk: ClassVar = {stage: tuple(f"inception.{name}" for name in names) for stage, names in STAGES.items()}
    top: ClassVar = ("lstm", "fc")
    heads: ClassVar = ("fc",)

    def __init__(self, num_classes: int, in_channels: int = 3, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.inception = inception_v1(in_channels, None)
        self.lstm = BatchNormLstm(FEATURES, _HIDDEN)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(_HIDDEN, num_classes)

    def forward_features(self, clips: torch.Tensor, until: str | None = None) -> torch.Tensor:
        """As for every network; its stages see pictures, each alone."""
        frames = clips.shape[2]
        pictures = clips.transpose(1, 2).flatten(0, 1)  # (N · T, C, H, W)
        maps = super().forward_features(pictures, until)  # (N · T, features, H', W')
        return maps.reshape(-1, frames, *maps.shape[1:]).transpose(1, 2)

    def forward_head(self, features: torch.Tensor) -> torch.Tensor:
        """(N, 1024, T, H', W') to logits (N, K)."""
        seen = features.mean((3, 4)).transpose(1, 2)  # (N, T, 1024)
        return self.fc(self.dropout(self.lstm(seen)))  # type: ignore[no-any-return]


_FIVE_SECONDS = InputSpec(
    clip=ClipSpec(frames=25, fps=5.0),
    size_px=224,
    short_side_px=256,
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
)

ROWS = (
    ModelRow(
        "cnn_lstm",
        CnnLstm,
        {},
        OPTIONS,
        parameters=8_956_976,
        gflops=75.02,
        paper="Carreira and Zisserman 2017, arXiv:1705.07750",
        input=_FIVE_SECONDS,
    ),
)
