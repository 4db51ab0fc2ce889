"""Two streams: one network sees the pictures and one their optical flow, side by side or fused.

Papers: Simonyan and Zisserman, "Two-Stream Convolutional Networks for Action Recognition in Videos"
(2014), https://arxiv.org/abs/1406.2199 (`two_stream`); Feichtenhofer et al., "Convolutional Two-Stream
Network Fusion for Video Action Recognition" (2016), https://arxiv.org/abs/1604.06573
(`fused_two_stream`); all three as compared by Carreira and Zisserman, "Quo Vadis, Action Recognition?
A New Model and the Kinetics Dataset" (2017), https://arxiv.org/abs/1705.07750.
Origin: written after the last paper's description, over torchvision's Inception-v1 and our I3D.

A clip has five channels: a picture, and the flow from it to the next one. Each stream is a complete
network of its own, at the attributes `rgb` and `flow`, and can be started from its own weights:
`load_backbone(network.rgb, path, labels)` where it is an I3D, `network.rgb.load_state_dict` with
torchvision's tensors where it is an Inception-v1.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from torch import nn
from torchvision.models.googlenet import GoogLeNet

from kinema.core.errors import UsageError
from kinema.core.spec import FLOW_MEAN, FLOW_STD, ClipSpec, FlowSpec, InputSpec
from kinema.models import i3d
from kinema.models.layers.inception import FEATURES, STAGES, inception_v1
from kinema.models.model import Option, VideoModel
from kinema.models.row import ModelRow

__all__ = ["FUSION_OPTIONS", "OPTIONS", "ROWS", "FusedTwoStream", "I3DTwoStream", "TwoStream", "fuse", "snippets"]

OPTIONS = (Option("dropout", float, "share of features dropped before the classifiers", low=0, below=1),)
FUSION_OPTIONS = (
    *OPTIONS,
    Option(
        "fusion",
        str,
        "what becomes of the streams: the sum of logits, or the mean of probabilities",
        choices=("logits", "probabilities"),
    ),
)

Fusion = Literal["logits", "probabilities"]

_PICTURE, _FLOW = 3, 2  # channels
_SNIPPET = 10  # fields of flow that are seen with one picture
_FUSED = 512


def snippets(clips: torch.Tensor) -> torch.Tensor:
    """Clips cut into snippets of 10 steps: (N, C, T, H, W) to (N, C, S, 10, H, W), S = ⌈T / 10⌉.

    They are spread evenly: the first begins where the clip begins, the last ends where it ends, and
    they overlap where T is no multiple of 10. A clip shorter than 10 steps is repeated from its start.
    """
    steps = clips.shape[2]
    if steps < _SNIPPET:
        clips = clips.repeat(1, 1, math.ceil(_SNIPPET / steps), 1, 1)[:, :, :_SNIPPET]
        steps = _SNIPPET
    count = math.ceil(steps / _SNIPPET)
    starts = [number * (steps - _SNIPPET) // max(count - 1, 1) for number in range(count)]
    return torch.stack([clips[:, :, start : start + _SNIPPET] for start in starts], dim=2)


def fuse(scores: torch.Tensor, fusion: Fusion) -> torch.Tensor:
    """Logits (N, K) of scores (N, streams, S, K), those of S snippets each.

    Args:
        scores: logits of each stream alone.
        fusion: `logits` adds the streams, as the released I3D does, and averages the snippets;
            `probabilities` gives the logarithm of the mean probability (its softmax is that mean),
            as the papers average predictions.
    """
    if fusion == "logits":
        return scores.sum(1).mean(1)
    return scores.log_softmax(-1).flatten(1, 2).logsumexp(1) - math.log(scores.shape[1] * scores.shape[2])


def _both(stages: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    return {
        stage: tuple(f"{stream}.{name}" for stream in ("rgb", "flow") for name in names)
        for stage, names in stages.items()
    }


class _Streams(VideoModel):
    """What both streams have in common: the stages, and who sees what of a clip (N, 5, T, H, W)."""

    rgb: nn.Module
    flow: nn.Module

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        if in_channels != _PICTURE + _FLOW:
            raise UsageError(
                f"two streams for clips of {in_channels} channels",
                allowed="5 channels: a picture and the flow from it to the next one",
                next_step="feed it with modality rgb+flow; or choose i3d, which takes either alone",
            )

    def modules_by_stage(self) -> dict[str, tuple[str, ...]]:
        """Names of the submodules that each stage runs; a stage of `top` is the network's own, or of both streams."""
        on_top = {stage: (stage,) if hasattr(self, stage) else (f"rgb.{stage}", f"flow.{stage}") for stage in self.top}
        return {**self.trunk, **on_top}

    @abstractmethod
    def _views(self, clips: torch.Tensor) -> dict[str, torch.Tensor]:
        """What each stream sees of clips (N, 5, T, H, W)."""

    def forward_features(self, clips: torch.Tensor, until: str | None = None) -> torch.Tensor:
        """The features that stage `until` gives, or the trunk's last: those of `rgb`, then those of `flow`.

        Args:
            clips: (N, 5, T, H, W).
            until: a stage of the trunk, the last one to be run.

        Returns:
            (N, 2 · features, T', H', W').
        """
        views = self._views(clips)
        for stage, modules in self.trunk.items():
            for module in modules:
                stream = module.partition(".")[0]
                views[stream] = self.pass_through((module,), views[stream])
            if stage == until:
                break
        return torch.cat([views["rgb"], views["flow"]], dim=1)


class _SnippetStreams(_Streams):
    """Two Inception-v1: of each snippet one sees the picture in its middle, the other its ten fields of flow.

    The fields are channels, motion to the right and down in turn. A clip of T steps has ⌈T / 10⌉ snippets.
    """

    trunk: ClassVar = _both(STAGES)
    rgb: GoogLeNet
    flow: GoogLeNet

    def __init__(self, num_classes: int | None, in_channels: int, dropout: float) -> None:
        super().__init__(in_channels)
        self.rgb = inception_v1(_PICTURE, num_classes, dropout)
        self.flow = inception_v1(_SNIPPET * _FLOW, num_classes, dropout)

    def _views(self, clips: torch.Tensor) -> dict[str, torch.Tensor]:
        steps = snippets(clips).transpose(1, 2).flatten(0, 1)  # (N · S, 5, 10, H, W)
        fields = steps[:, _PICTURE:].transpose(1, 2).flatten(1, 2)  # (N · S, 20, H, W)
        return {"rgb": steps[:, :_PICTURE, _SNIPPET // 2], "flow": fields}

    def forward_features(self, clips: torch.Tensor, until: str | None = None) -> torch.Tensor:
        """As for both streams; T' is the number S of snippets."""
        count = math.ceil(clips.shape[2] / _SNIPPET)
        maps = super().forward_features(clips, until)  # (N · S, 2 · features, H', W')
        return maps.reshape(-1, count, *maps.shape[1:]).transpose(1, 2)


class TwoStream(_SnippetStreams):
    """Two Inception-v1 over clips (N, 5, T, H, W) of any length and size, whose scores are fused.

    Args:
        num_classes: K.
        in_channels: 5.
        dropout: share of features dropped before the classifiers in training.
        fusion: how scores become logits, see `fuse`.
    """

    top: ClassVar = ("fc",)
    heads: ClassVar = ("rgb.fc", "flow.fc")

    def __init__(
        self, num_classes: int, in_channels: int = 5, *, dropout: float = 0.2, fusion: Fusion = "logits"
    ) -> None:
        super().__init__(num_classes, in_channels, dropout)
        self.fusion = fusion

    def forward_head(self, features: torch.Tensor) -> torch.Tensor:
        """(N, 2048, S, H', W') to logits (N, K)."""
        halves = features.mean((3, 4)).transpose(1, 2).chunk(2, dim=2)  # two of (N, S, 1024)
        streams = zip((self.rgb, self.flow), halves, strict=True)
        return fuse(torch.stack([stream.fc(stream.dropout(half)) for stream, half in streams], dim=1), self.fusion)


class FusedTwoStream(_SnippetStreams):
    """Two Inception-v1 over clips (N, 5, T, H, W) whose last features a convolution joins in space and time.

    Args:
        num_classes: K.
        in_channels: 5.
        dropout: share of features dropped before `fc` in training.
    """

    top: ClassVar = ("fusion", "fc")
    heads: ClassVar = ("fc",)

    def __init__(self, num_classes: int, in_channels: int = 5, *, dropout: float = 0.2) -> None:
        super().__init__(None, in_channels, dropout)
        self.fusion = nn.Sequential(  # 2048x5x7x7 -> 512x5x7x7 -> 512x3x4x4
            nn.Conv3d(2 * FEATURES, _FUSED, 3, padding=1, bias=False),
            nn.BatchNorm3d(_FUSED, eps=1e-3),
            nn.ReLU(inplace=True),
            nn.MaxPool3d(3, stride=2, padding=1),
        )
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(_FUSED, num_classes)

    def forward_head(self, features: torch.Tensor) -> torch.Tensor:
        """(N, 2048, S, H', W') to logits (N, K)."""
        pooled = self.fusion(features).mean((2, 3, 4))  # (N, 512)
        return self.fc(self.dropout(pooled))  # type: ignore[no-any-return]


class I3DTwoStream(_Streams):
    """Two I3D over clips (N, 5, T, H, W) of any length and size, whose scores are fused.

    Args:
        num_classes: K.
        in_channels: 5.
        dropout: share of features dropped before the logits in training.
        fusion: how scores become logits, see `fuse`.
    """

    trunk: ClassVar = _both(i3d.I3D.trunk)
    top: ClassVar = ("logits",)
    heads: ClassVar = ("rgb.logits.conv3d", "flow.logits.conv3d")
    rgb: VideoModel
    flow: VideoModel

    def __init__(
        self, num_classes: int, in_channels: int = 5, *, dropout: float = 0.5, fusion: Fusion = "logits"
    ) -> None:
        super().__init__(in_channels)
        (row,) = i3d.ROWS
        self.rgb = row.build(num_classes, _PICTURE, {"dropout": dropout})
        self.flow = row.build(num_classes, _FLOW, {"dropout": dropout})
        self.fusion = fusion

    def _views(self, clips: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"rgb": clips[:, :_PICTURE], "flow": clips[:, _PICTURE:]}

    def forward_head(self, features: torch.Tensor) -> torch.Tensor:
        """(N, 2048, T', H', W') to logits (N, K)."""
        streams = zip((self.rgb, self.flow), features.chunk(2, dim=1), strict=True)
        scores = torch.stack([stream.forward_head(half) for stream, half in streams], dim=1)  # (N, 2, K)
        return fuse(scores.unsqueeze(2), self.fusion)


def _row(name: str, builder: type[_Streams], options: tuple[Option, ...], frames: int, **size: float) -> ModelRow:
    at_25_fps = InputSpec(
        clip=ClipSpec(frames=frames, fps=25.0),
        modality="rgb+flow",
        size_px=224,
        short_side_px=256,
        mean=(*(0.5,) * 3, *(FLOW_MEAN,) * 2),
        std=(*(0.5,) * 3, *(FLOW_STD,) * 2),
        flow=FlowSpec("tvl1"),
    )
    paper = "Carreira and Zisserman 2017, arXiv:1705.07750"
    return ModelRow(name, builder, {}, options, int(size["parameters"]), size["gflops"], paper, at_25_fps)


ROWS = (
    _row("two_stream", TwoStream, FUSION_OPTIONS, 10, parameters=12_073_120, gflops=7.33),
    _row("fused_two_stream", FusedTwoStream, OPTIONS, 50, parameters=39_770_896, gflops=50.51),
    _row("i3d_two_stream", I3DTwoStream, FUSION_OPTIONS, 64, parameters=25_358_016, gflops=426.99),
)
