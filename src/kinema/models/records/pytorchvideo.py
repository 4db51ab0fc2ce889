"""Weights of PyTorchVideo's model zoo, https://github.com/facebookresearch/pytorchvideo, docs/source/model_zoo.md.

No checksums are published. The zoo was measured with PySlowFast; its classes are numbered as that
project's kinetics_classnames.json numbers them, which is the order of Kinetics-400's own list.
Of that zoo there is no record here for what is no classifier of whole clips (detection on AVA), has
several classes at once (Charades), samples frames in another way (Something-Something), or is a
network that kinema does not build under these names (MViT, SlowFast 4x16, the networks for phones).
"""

from __future__ import annotations

from kinema.core.spec import ClipSpec, InputSpec
from kinema.models.download import RemoteFile
from kinema.models.records.record import NOT_STATED, ClassSet, Figure, Licence, WeightsRecord

__all__ = ["RECORDS"]

_PAGE = "https://github.com/facebookresearch/pytorchvideo/blob/main/docs/source/model_zoo.md"
_FILES = "https://dl.fbaipublicfiles.com/pytorchvideo/model_zoo/kinetics"
_APACHE = Licence(code="Apache-2.0")
_CLASSES = ClassSet(
    "Kinetics-400",
    400,
    "kinetics400",
    "https://dl.fbaipublicfiles.com/pyslowfast/dataset/class_names/kinetics_classnames.json, "
    "which PyTorchVideo's tutorial reads",
)


def _record(
    architecture: str,
    stem: str,
    frames: int,
    stride: int,
    top1: float,
    top5: float,
    *,
    name: str = "",
    fed: InputSpec | None = None,
    note: str = "",
) -> WeightsRecord:
    views = f"10 clips of {frames} frames, {stride} apart, by 3 crops"
    figures = tuple(
        Figure(f"top-{k}", percent, "Kinetics-400", NOT_STATED, "video", views, _PAGE)
        for k, percent in ((1, top1), (5, top5))
    )
    return WeightsRecord(
        name=name or f"{architecture}-kinetics400",
        architecture=architecture,
        publisher="PyTorchVideo",
        files=(RemoteFile(f"{stem}.pyth", f"{_FILES}/{stem}.pyth", page=_PAGE),),
        classes=_CLASSES,
        licence=_APACHE,
        fed=fed,
        figures=figures,
        aliases=(stem, f"{stem}.pyth"),
        note=note,
    )


RECORDS = (
    _record("c2d_r50", "C2D_8x8_R50", 8, 8, 71.46, 89.68),
    _record(
        "i3d_r50", "I3D_8x8_R50", 8, 8, 73.27, 90.70, note="a ResNet-50 inflated, not the Inception of I3D's paper"
    ),
    _record("slow_r50", "SLOW_8x8_R50", 8, 8, 74.58, 91.63),
    _record(
        "slow_r50",
        "SLOW_4x16_R50",
        4,
        16,
        72.40,
        90.18,
        name="slow_r50-4x16-kinetics400",
        fed=InputSpec(ClipSpec(4, 16), size_px=224, short_side_px=256, mean=(0.45,) * 3, std=(0.225,) * 3),
    ),
    _record("slowfast_r50", "SLOWFAST_8x8_R50", 32, 2, 76.94, 92.69, note="its source code says 76.4 top-1"),
    _record("slowfast_r101", "SLOWFAST_8x8_R101", 32, 2, 77.90, 93.27),
    _record("slowfast_16x8_r101_50_50", "SLOWFAST_16x8_R101_50_50", 64, 2, 78.70, 93.61),
    _record("csn_r101", "CSN_32x2_R101", 32, 2, 77.00, 92.90),
    _record("r2plus1d_r50", "R2PLUS1D_16x4_R50", 16, 4, 76.01, 92.23),
    _record("x3d_xs", "X3D_XS", 4, 12, 69.12, 88.63),
    _record("x3d_s", "X3D_S", 13, 6, 73.33, 91.27),
    _record("x3d_m", "X3D_M", 16, 5, 75.94, 92.72),
    _record("x3d_l", "X3D_L", 16, 5, 77.44, 93.31),
)
