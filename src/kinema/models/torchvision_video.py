"""torchvision's video networks under torchvision's names: built by torchvision, run stage by stage.

Papers: Tran et al. 2018, "A Closer Look at Spatiotemporal Convolutions for Action Recognition"
(`r3d_18`, `mc3_18`, `r2plus1d_18`), https://arxiv.org/abs/1711.11248; Xie et al. 2018, "Rethinking
Spatiotemporal Feature Learning" (`s3d`), https://arxiv.org/abs/1712.04851; Fan et al. 2021,
"Multiscale Vision Transformers" (`mvit_v1_b`), https://arxiv.org/abs/2104.11227; Li et al. 2022,
"MViTv2" (`mvit_v2_s`), https://arxiv.org/abs/2112.01526; Liu et al. 2022, "Video Swin Transformer"
(`swin3d_*`), https://arxiv.org/abs/2106.13230.
Origin: the layers themselves come from the installed torchvision (BSD-3-Clause); nothing of them is
restated here. Parameters carry its names, so its published files load without renaming, and one seed
builds the same numbers here as there.

Deliberate differences, none of which changes what torchvision computes where torchvision computes at
all: clips may have other lengths, sizes and channels (each class says how far), and testing scales
the short side of a frame, where torchvision squeezes frames to 128x171 (the 18-layer networks: the
same for pictures of 4:3) or 256x256 (`s3d`) before it takes the centre.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional
from torchvision.models.video.mvit import PositionalEncoding, mvit_v1_b, mvit_v2_s
from torchvision.models.video.resnet import mc3_18, r2plus1d_18, r3d_18
from torchvision.models.video.s3d import S3D
from torchvision.models.video.swin_transformer import SwinTransformer3d

from kinema.core.spec import ClipSpec, InputSpec
from kinema.models.model import Option, VideoModel
from kinema.models.row import ModelRow

__all__ = [
    "MVIT_OPTIONS",
    "ROWS",
    "S3D_OPTIONS",
    "SWIN_OPTIONS",
    "TorchvisionMViT",
    "TorchvisionResNet",
    "TorchvisionS3D",
    "TorchvisionSwin3d",
]

S3D_OPTIONS = (Option("dropout", float, "share of features dropped before the classifier", low=0, below=1),)
_STOCHASTIC_DEPTH = Option(
    "stochastic_depth", float, "share of clips that skip the last block in training, less before", low=0, below=1
)
MVIT_OPTIONS = (
    Option("dropout", float, "share of features dropped before the head", low=0, below=1),
    Option("attention_dropout", float, "share of values dropped after attention and in each MLP", low=0, below=1),
    _STOCHASTIC_DEPTH,
)
SWIN_OPTIONS = (
    Option("dropout", float, "share of values dropped after patches, attention and in each MLP", low=0, below=1),
    Option("attention_dropout", float, "share of attention weights dropped", low=0, below=1),
    _STOCHASTIC_DEPTH,
)

_RGB_CHANNELS = 3


class _Torchvision(VideoModel):
    """The children of a torchvision network, under their names.

    Args:
        network: as torchvision builds it, for RGB.
        in_channels: C; for another number than 3 the first convolution is a fresh one.
    """

    first_convolution: ClassVar[str]

    def __init__(self, network: nn.Module, in_channels: int) -> None:
        super().__init__()
        for name, child in network.named_children():
            self.add_module(name, child)
        if in_channels != _RGB_CHANNELS:
            self.set_submodule(self.first_convolution, self._fresh_convolution(in_channels))

    def _fresh_convolution(self, in_channels: int) -> nn.Conv3d:
        old = self.get_submodule(self.first_convolution)
        assert isinstance(old, nn.Conv3d)
        return nn.Conv3d(
            in_channels,
            old.out_channels,
            old.kernel_size,  # type: ignore[arg-type]  # torch annotates it as a tuple of any length
            stride=old.stride,  # type: ignore[arg-type]  # likewise
            padding=old.padding,  # type: ignore[arg-type]  # likewise
            bias=old.bias is not None,
        )


class TorchvisionResNet(_Torchvision):
    """torchvision's `VideoResNet` of 18 layers, over clips of any length and size.

    Args:
        build: torchvision's function, one of `r3d_18`, `mc3_18` and `r2plus1d_18`.
        num_classes: K.
        in_channels: C, 3 for RGB.
    """

    trunk: ClassVar = {
        "stem": ("stem",),  # 3x16x112x112 -> 64x16x56x56
        "layer1": ("layer1",),  # 64x16x56x56
        "layer2": ("layer2",),  # 128x8x28x28; mc3_18 keeps the 16 frames from here on
        "layer3": ("layer3",),  # 256x4x14x14
        "layer4": ("layer4",),  # 512x2x7x7
    }
    top: ClassVar = ("fc",)
    heads: ClassVar = ("fc",)
    first_convolution = "stem.0"
    avgpool: nn.Module
    fc: nn.Module

    def __init__(self, build: Callable[..., nn.Module], num_classes: int, in_channels: int = 3) -> None:
        super().__init__(build(num_classes=num_classes), in_channels)

    def _fresh_convolution(self, in_channels: int) -> nn.Conv3d:
        fresh = super()._fresh_convolution(in_channels)
        nn.init.kaiming_normal_(fresh.weight, mode="fan_out", nonlinearity="relu")  # as torchvision has all of them
        return fresh

    def forward_head(self, features: torch.Tensor) -> torch.Tensor:
        """(N, 512, T', H', W') to logits (N, K)."""
        return self.fc(self.avgpool(features).flatten(1))  # type: ignore[no-any-return]


class TorchvisionS3D(_Torchvision):
    """torchvision's `S3D`, over clips of 5 frames and 17 pixels or more.

    torchvision averages 2x7x7 windows of the last features and so asks for 14 frames and 224 pixels;
    where there are fewer features than that, the window is as large as they are.

    Args:
        num_classes: K.
        in_channels: C, 3 for RGB.
        dropout: share of features dropped before the classifier in training.
    """

    trunk: ClassVar = {
        "features.0": ("features.0",),  # 3x128x224x224 -> 64x64x112x112
        "features.2": ("features.1", "features.2"),  # 64x64x56x56
        "features.3": ("features.3",),  # 192x64x56x56
        "features.5": ("features.4", "features.5"),  # 256x64x28x28
        "features.6": ("features.6",),  # 480x64x28x28
        "features.8": ("features.7", "features.8"),  # 512x32x14x14
        "features.9": ("features.9",),  # 512x32x14x14
        "features.10": ("features.10",),  # 512x32x14x14
        "features.11": ("features.11",),  # 528x32x14x14
        "features.12": ("features.12",),  # 832x32x14x14
        "features.14": ("features.13", "features.14"),  # 832x16x7x7
        "features.15": ("features.15",),  # 1024x16x7x7
    }
    top: ClassVar = ("classifier",)
    heads: ClassVar = ("classifier.1",)
    first_convolution = "features.0.0.0"
    avgpool: nn.AvgPool3d
    classifier: nn.Module

    def __init__(self, num_classes: int, in_channels: int = 3, *, dropout: float = 0.2) -> None:
        super().__init__(S3D(num_classes=num_classes, dropout=dropout), in_channels)

    def forward_head(self, features: torch.Tensor) -> torch.Tensor:
        """(N, 1024, T', H', W') to logits (N, K)."""
        whole = self.avgpool.kernel_size
        assert isinstance(whole, tuple)
        window = [min(sizes) for sizes in zip(whole, features.shape[2:], strict=True)]
        pooled = functional.avg_pool3d(features, window, stride=1)
        return self.classifier(pooled).mean(dim=(2, 3, 4))  # type: ignore[no-any-return]


class TorchvisionMViT(_Torchvision):
    """torchvision's `MViT`, built for 16x224x224, over clips of any length and size.

    Its features are tokens (N, 1 + T'·H'·W', features): the class token, which alone is classified,
    then those of the grid. torchvision takes clips of the size that it was built for only. Here the
    grid is that of the clip; the positions learnt for the native one are stretched or squeezed to it
    linearly: relative ones (`mvit_v2_s`) by torchvision itself, absolute ones (`mvit_v1_b`) as
    SlowFast's original does, in space and in time. At the native size nothing is interpolated.

    Args:
        build: torchvision's function, `mvit_v1_b` or `mvit_v2_s`.
        num_classes: K.
        in_channels: C, 3 for RGB.
        dropout: share of features dropped before the head in training.
        attention_dropout: share of values dropped after attention and in each MLP in training.
        stochastic_depth: share of clips for which the last block's branches are left out in training;
            it grows evenly from 0 at the first block.
    """

    trunk: ClassVar = {
        "patches": ("conv_proj", "pos_encoding"),  # 3x16x224x224 -> 96x8x56x56 -> (1 + 8·56·56)x96
        "stage1": ("blocks.0",),  # (1 + 8·56·56)x96; mvit_v1_b widens here, and to 384 and 768 a stage early too
        "stage2": ("blocks.1", "blocks.2"),  # (1 + 8·28·28)x192
        "stage3": tuple(f"blocks.{index}" for index in range(3, 14)),  # (1 + 8·14·14)x384
        "stage4": ("blocks.14", "blocks.15", "norm"),  # (1 + 8·7·7)x768
    }
    top: ClassVar = ("head",)
    heads: ClassVar = ("head.1",)
    first_convolution = "conv_proj"
    conv_proj: nn.Module
    pos_encoding: PositionalEncoding
    norm: nn.Module
    head: nn.Module

    def __init__(
        self,
        build: Callable[..., nn.Module],
        num_classes: int,
        in_channels: int = 3,
        *,
        dropout: float = 0.5,
        attention_dropout: float = 0.0,
        stochastic_depth: float = 0.2,
    ) -> None:
        network = build(
            num_classes=num_classes,
            dropout=dropout,
            attention_dropout=attention_dropout,
            stochastic_depth_prob=stochastic_depth,
        )
        super().__init__(network, in_channels)

    def forward_features(self, clips: torch.Tensor, until: str | None = None) -> torch.Tensor:
        """(N, C, T, H, W) to tokens (N, 1 + T'·H'·W', features), the class token first."""
        patches = self.conv_proj(clips)  # (N, 96, T', H', W')
        grid = (patches.shape[2], patches.shape[3], patches.shape[4])
        x = _with_positions(self.pos_encoding, patches.flatten(2).transpose(1, 2), grid)
        for stage, modules in self.trunk.items():
            blocks = [self.get_submodule(name) for name in modules if name.startswith("blocks.")]
            x, grid = self.keep_inputs(partial(_through_blocks, blocks), blocks, x, grid)
            if "norm" in modules:
                x = self.norm(x)
            if stage == until:
                break
        return x

    def forward_head(self, features: torch.Tensor) -> torch.Tensor:
        """Tokens (N, 1 + T'·H'·W', 768) to logits (N, K)."""
        return self.head(features[:, 0].clone())  # type: ignore[no-any-return]  # its dropout works in place


def _through_blocks(
    blocks: Sequence[nn.Module], tokens: torch.Tensor, grid: tuple[int, int, int]
) -> tuple[torch.Tensor, tuple[int, int, int]]:
    for block in blocks:
        tokens, grid = block(tokens, grid)
    return tokens, grid


def _with_positions(encoding: PositionalEncoding, tokens: torch.Tensor, grid: tuple[int, int, int]) -> torch.Tensor:
    """Tokens (N, T·H·W, C) of `grid` with the class token in front and, where learnt, absolute positions added."""
    native = (encoding.temporal_size, *encoding.spatial_size)
    if encoding.spatial_pos is None or grid == native:
        return encoding(tokens)  # type: ignore[no-any-return]
    in_space = encoding.spatial_pos.T.unflatten(1, native[1:]).unsqueeze(0)  # (1, C, H, W)
    in_space = functional.interpolate(in_space, grid[1:], mode="bilinear", align_corners=False)
    in_time = encoding.temporal_pos.T.unsqueeze(0)  # (1, C, T)
    in_time = functional.interpolate(in_time, grid[0], mode="linear", align_corners=False)
    positions = in_time[:, :, :, None, None] + in_space[:, :, None]  # (1, C, T, H, W)
    first = (encoding.class_token + encoding.class_pos).expand(tokens.shape[0], 1, -1)
    return torch.cat((first, tokens + positions.flatten(2).transpose(1, 2)), dim=1)


class _Permuted(nn.Module):
    """Axes in another order; no parameters, no copy."""

    def __init__(self, *axes: int) -> None:
        super().__init__()
        self.axes = axes

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.permute(self.axes)


class TorchvisionSwin3d(_Torchvision):
    """torchvision's `SwinTransformer3d`, over clips of any length and size.

    Clips are padded to whole patches and windows. Where fewer patches than 8x7x7 are left, the window
    is as small as they are; of a window cut in height or width torchvision, like the original, takes
    the first relative positions of the whole one, which are not those of the same distance.

    Args:
        embed_dim: features of a patch, doubled at each stage after the first.
        depths: blocks of the four stages.
        num_heads: attention heads of the four stages.
        num_classes: K.
        in_channels: C, 3 for RGB.
        dropout: share of values dropped after patches, attention and in each MLP in training.
        attention_dropout: share of attention weights dropped in training.
        stochastic_depth: share of clips for which the last block's branches are left out in training;
            it grows evenly from 0 at the first block.
    """

    trunk: ClassVar = {
        "patches": ("patch_embed", "pos_drop", "maps.0"),  # 3x32x224x224 -> 96x16x56x56
        "stage1": ("channels_last", "features.0", "maps.1"),  # 96x16x56x56
        "stage2": ("channels_last", "features.1", "features.2", "maps.2"),  # 192x16x28x28
        "stage3": ("channels_last", "features.3", "features.4", "maps.3"),  # 384x16x14x14
        "stage4": ("channels_last", "features.5", "features.6", "norm", "maps.4"),  # 768x16x7x7
    }
    top: ClassVar = ("head",)
    heads: ClassVar = ("head",)
    first_convolution = "patch_embed.proj"
    avgpool: nn.Module
    head: nn.Module

    def __init__(
        self,
        embed_dim: int,
        depths: Sequence[int],
        num_heads: Sequence[int],
        num_classes: int,
        in_channels: int = 3,
        *,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        stochastic_depth: float = 0.1,
    ) -> None:
        network = SwinTransformer3d(
            patch_size=[2, 4, 4],
            embed_dim=embed_dim,
            depths=list(depths),
            num_heads=list(num_heads),
            window_size=[8, 7, 7],
            num_classes=num_classes,
            dropout=dropout,
            attention_dropout=attention_dropout,
            stochastic_depth_prob=stochastic_depth,
        )
        super().__init__(network, in_channels)
        # torchvision's layers keep channels last; stages begin and end with (N, C, T, H, W).
        self.channels_last = _Permuted(0, 2, 3, 4, 1)
        self.maps = nn.ModuleList(_Permuted(0, 4, 1, 2, 3) for _ in self.trunk)

    def forward_head(self, features: torch.Tensor) -> torch.Tensor:
        """(N, 8 · embed_dim, T', H', W') to logits (N, K)."""
        return self.head(self.avgpool(features).flatten(1))  # type: ignore[no-any-return]


_KINETICS_MEAN, _KINETICS_STD = (0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_GREY_MEAN, _GREY_STD = (0.45, 0.45, 0.45), (0.225, 0.225, 0.225)

_CLIP_16X112 = InputSpec(ClipSpec(16, fps=15), size_px=112, short_side_px=128, mean=_KINETICS_MEAN, std=_KINETICS_STD)
_CLIP_128X224 = InputSpec(ClipSpec(128, fps=15), size_px=224, short_side_px=256, mean=_KINETICS_MEAN, std=_KINETICS_STD)
_CLIP_16X224 = InputSpec(ClipSpec(16, fps=7.5), size_px=224, short_side_px=256, mean=_GREY_MEAN, std=_GREY_STD)
_CLIP_32X224 = InputSpec(ClipSpec(32, fps=15), size_px=224, short_side_px=256, mean=_IMAGENET_MEAN, std=_IMAGENET_STD)

_TRAN = "Tran et al. 2018, arXiv:1711.11248"
_XIE = "Xie et al. 2018, arXiv:1712.04851"
_FAN = "Fan et al. 2021, arXiv:2104.11227"
_LI = "Li et al. 2022, arXiv:2112.01526"
_LIU = "Liu et al. 2022, arXiv:2106.13230"


def _resnet(build: Callable[..., nn.Module], parameters: int, gflops: float) -> ModelRow:
    name = build.__name__
    return ModelRow(name, TorchvisionResNet, {"build": build}, (), parameters, gflops, _TRAN, _CLIP_16X112)


def _mvit(build: Callable[..., nn.Module], parameters: int, gflops: float, paper: str) -> ModelRow:
    name = build.__name__
    return ModelRow(name, TorchvisionMViT, {"build": build}, MVIT_OPTIONS, parameters, gflops, paper, _CLIP_16X224)


def _swin(
    size: str, embed_dim: int, depths: tuple[int, ...], num_heads: tuple[int, ...], parameters: int, gflops: float
) -> ModelRow:
    arguments = {"embed_dim": embed_dim, "depths": depths, "num_heads": num_heads}
    name = f"swin3d_{size}"
    return ModelRow(name, TorchvisionSwin3d, arguments, SWIN_OPTIONS, parameters, gflops, _LIU, _CLIP_32X224)


ROWS = (
    _resnet(r3d_18, parameters=33_371_472, gflops=81.39),
    _resnet(mc3_18, parameters=11_695_440, gflops=86.69),
    _resnet(r2plus1d_18, parameters=31_505_325, gflops=81.04),
    ModelRow("s3d", TorchvisionS3D, {}, S3D_OPTIONS, 8_320_048, 287.67, _XIE, _CLIP_128X224),
    _mvit(mvit_v1_b, parameters=36_610_672, gflops=141.20, paper=_FAN),
    _mvit(mvit_v2_s, parameters=34_537_744, gflops=128.45, paper=_LI),
    _swin("t", 96, (2, 2, 6, 2), (3, 6, 12, 24), parameters=28_158_070, gflops=175.53),
    _swin("s", 96, (2, 2, 18, 2), (3, 6, 12, 24), parameters=49_816_678, gflops=331.36),
    _swin("b", 128, (2, 2, 18, 2), (4, 8, 16, 32), parameters=88_048_984, gflops=562.67),
)
