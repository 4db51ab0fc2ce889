"""torchvision's video weights, as its enumerations of weights describe them (torchvision 0.29).

Names of the files end in the first digits of their SHA-256. torchvision numbers the classes in the
order of Kinetics-400's own list, which its enumerations carry.
"""

from __future__ import annotations

from typing import Literal

from kinema.models.download import RemoteFile
from kinema.models.records.record import NOT_STATED, ClassSet, Figure, Licence, WeightsRecord

__all__ = ["RECORDS"]

_DOCS = "https://docs.pytorch.org/vision/stable/models/generated/torchvision.models.video"
_FILES = "https://download.pytorch.org/models"
_CLASSES = ClassSet("Kinetics-400", 400, "kinetics400", 'meta["categories"] of torchvision\'s weights')
_BSD = Licence(code="BSD-3-Clause")


def _record(
    architecture: str, file: str, figures: tuple[Figure, ...], *, data: str = "kinetics400", note: str = ""
) -> WeightsRecord:
    stem, page = file.removesuffix(".pth"), f"{_DOCS}.{architecture}.html"
    return WeightsRecord(
        name=f"{architecture}-{data}",
        architecture=architecture,
        publisher="torchvision",
        files=(RemoteFile(file, f"{_FILES}/{file}", page=page, sha256=stem.rsplit("-", 1)[1]),),
        classes=_CLASSES,
        licence=_BSD,
        figures=figures,
        aliases=(stem, file),
        note=note,
    )


def _figures(
    architecture: str, top1: float, top5: float, views: str, level: Literal["clip", "video"] = "video"
) -> tuple[Figure, ...]:
    source = f"{_DOCS}.{architecture}.html"
    return tuple(
        Figure(f"top-{k}", percent, "Kinetics-400", NOT_STATED, level, views, source)
        for k, percent in ((1, top1), (5, top5))
    )


_FIVE_OF_16 = "5 clips a video, of 16 frames at 15 a second"
_FIVE_OF_16_SLOW = "5 clips a video, of 16 frames at 7.5 a second"
_TWELVE_OF_32 = "12 clips a video, of 32 frames at 15 a second"
_ONE_OF_128 = "1 clip a video, of 128 frames at 15 a second"

_SQUEEZED = "trained and measured on frames squeezed to 171 x 128; kinema keeps their shape"
_PORTED = "ported from the weights of its paper, not trained by torchvision"

# What the same file was said to reach before: https://docs.pytorch.org/vision/0.13, and the models page of 0.12.
_R2PLUS1D_BEFORE = tuple(
    Figure(
        f"top-{k}",
        percent,
        "Kinetics-400",
        NOT_STATED,
        "clip",
        "clips of 16 frames",
        "https://docs.pytorch.org/vision/0.13/models/generated/torchvision.models.video.r2plus1d_18.html",
        note="the figure of torchvision until 0.13, for the same architecture",
    )
    for k, percent in ((1, 57.5), (5, 78.81))
)

RECORDS = (
    _record("r3d_18", "r3d_18-b3b3357e.pth", _figures("r3d_18", 63.2, 83.479, _FIVE_OF_16), note=_SQUEEZED),
    _record("mc3_18", "mc3_18-a90a0ba3.pth", _figures("mc3_18", 63.96, 84.13, _FIVE_OF_16), note=_SQUEEZED),
    _record(
        "r2plus1d_18",
        "r2plus1d_18-91a641e6.pth",
        (*_figures("r2plus1d_18", 67.463, 86.175, _FIVE_OF_16), *_R2PLUS1D_BEFORE),
        note=_SQUEEZED,
    ),
    _record(
        "s3d",
        "s3d-d76dad2f.pth",
        _figures("s3d", 68.368, 88.05, _ONE_OF_128, level="clip"),
        note="trained and measured on frames squeezed to 256 x 256; kinema keeps their shape",
    ),
    _record(
        "mvit_v1_b",
        "mvit_v1_b-dbeb1030.pth",
        _figures("mvit_v1_b", 78.477, 93.582, _FIVE_OF_16_SLOW),
        note=f"{_PORTED}; its source, PyTorchVideo, gives 78.85 and 93.85 over 5 clips",
    ),
    _record(
        "mvit_v2_s", "mvit_v2_s-ae3be167.pth", _figures("mvit_v2_s", 80.757, 94.665, _FIVE_OF_16_SLOW), note=_PORTED
    ),
    _record("swin3d_t", "swin3d_t-7615ae03.pth", _figures("swin3d_t", 77.715, 93.519, _TWELVE_OF_32), note=_PORTED),
    _record("swin3d_s", "swin3d_s-da41c237.pth", _figures("swin3d_s", 79.521, 94.158, _TWELVE_OF_32), note=_PORTED),
    _record("swin3d_b", "swin3d_b_1k-24f7c7c6.pth", _figures("swin3d_b", 79.427, 94.386, _TWELVE_OF_32), note=_PORTED),
    _record(
        "swin3d_b",
        "swin3d_b_22k-7c6ae6fa.pth",
        _figures("swin3d_b", 81.643, 95.574, _TWELVE_OF_32),
        data="kinetics400-imagenet22k",
        note=f"{_PORTED}; begun from ImageNet-22K",
    ),
)
