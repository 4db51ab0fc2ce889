"""Weights of 3D-ResNets-PyTorch (Hara, Kataoka, Satoh), https://github.com/kenshohara/3D-ResNets-PyTorch.

They lie in two folders of Google Drive that its READMEs link to; single files have no published link
or checksum, so a person fetches them. The READMEs give model, depth, class count and, for the older
ones, the shortcut. All else is the default of the code beside them (branch master: 16 frames of 112
pixels, mean and deviation of Kinetics; branch CVPR2018: the mean of ActivityNet over raw bytes).
"""

from __future__ import annotations

from dataclasses import replace

from kinema.core.spec import ClipSpec, InputSpec
from kinema.models.download import RemoteFile
from kinema.models.model import OptionValue
from kinema.models.records.record import NOT_STATED, ClassSet, Figure, Licence, WeightsRecord

__all__ = ["RECORDS"]

_PUBLISHER = "3D-ResNets-PyTorch"
_PAGE = "https://drive.google.com/open?id=1xbYbZ7rpyjftI_KCk6YuL-XrfQDz7Yd4"
_OLD_PAGE = "https://drive.google.com/drive/folders/1zvl89AgFAApbH0At-gMuZSeQB_LpNP-M"
_README = "https://github.com/kenshohara/3D-ResNets-PyTorch/blob/CVPR2018/README.md"
_ABSTRACT = "https://arxiv.org/abs/1711.09577"
_ISSUES = "https://github.com/kenshohara/3D-ResNets-PyTorch/issues"
_MIT = Licence(code="MIT")

_OPEN_ORDER = f"the order of the classes was never published ({_ISSUES}/211)"
_SCORED_BY_VIDEO = f"the author gives video-level 54 and 78 for ResNet-18, whose mean this is ({_ISSUES}/29)"
_ORDERED_400 = ClassSet(
    "Kinetics-400",
    400,
    order="kinetics400",
    evidence="class_names_list of the author's https://github.com/kenshohara/video-classification-3d-cnn-pytorch, "
    "which reads these very files",
)
_ORDERED_UCF = ClassSet(
    "UCF101", 101, order="ucf101", evidence="utils/ucf101_json.py numbers classes by the data set's classInd.txt"
)
_OPEN_HMDB = ClassSet(
    "HMDB51", 51, evidence="utils/hmdb51_json.py numbers classes as the trainer's file system happened to list them"
)

# The letters in names of files, and what they stand for in names of records.
_DATA = {"K": ("kinetics700", "Kinetics-700", 700), "M": ("moments", "Moments in Time", 339)}
_DATA["S"] = ("stair", "STAIR Actions", 100)

_NEW_INPUT = InputSpec()
_OLD_INPUT = replace(_NEW_INPUT, mean=(114.7748, 107.7354, 99.4750), std=(1.0, 1.0, 1.0), value_range=255.0)


def _new(stem: str, architecture: str, letters: str, page: str = _PAGE, note: str = "") -> WeightsRecord:
    parts = [_DATA[letter] for letter in letters]
    return WeightsRecord(
        name="-".join([architecture, *(part[0] for part in parts)]),
        architecture=architecture,
        publisher=_PUBLISHER,
        files=(RemoteFile(f"{stem}.pth", page=page),),
        classes=ClassSet(" + ".join(part[1] for part in parts), sum(part[2] for part in parts), evidence=_OPEN_ORDER),
        licence=_MIT,
        fed=_NEW_INPUT,
        aliases=(stem, f"{stem}.pth"),
        note=note,
    )


def _r3d(depth: int, letters: str) -> WeightsRecord:
    return _new(f"r3d{depth}_{letters}_200ep", f"resnet3d_{depth}", letters)


def _r2p1d(depth: int, letters: str, told: str) -> WeightsRecord:
    note = f"not in the README; {told}"
    return _new(f"r2p1d{depth}_{letters}_200ep", f"resnet2p1d_{depth}", letters, note=note)


def _old(
    stem: str, name: str, classes: ClassSet, figures: tuple[Figure, ...], *, frames: int = 16, note: str = ""
) -> WeightsRecord:
    architecture = name.split("-", 1)[0]
    options: dict[str, OptionValue] = {"shortcut": "A"} if architecture in ("resnet3d_18", "resnet3d_34") else {}
    return WeightsRecord(
        name=name,
        architecture=architecture,
        publisher=f"{_PUBLISHER}, branch CVPR2018",
        files=(RemoteFile(f"{stem}.pth", page=_OLD_PAGE),),
        classes=classes,
        licence=_MIT,
        options=options,
        fed=replace(_OLD_INPUT, clip=ClipSpec(frames)),
        figures=figures,
        aliases=(stem, f"{stem}.pth"),
        note=note,
    )


def _kinetics(stem: str, architecture: str, percent: float) -> WeightsRecord:
    figure = Figure(
        "mean of top-1 and top-5",
        percent,
        "Kinetics-400",
        "val",
        "video",
        "windows of 16 frames, centre crop, mean of scores",
        _README,
        note=_SCORED_BY_VIDEO,
    )
    return _old(f"{stem}-kinetics", f"{architecture}-kinetics400", _ORDERED_400, (figure,))


def _three_splits(data: str, percent: float) -> Figure:
    views = "windows of 64 frames, centre crop, mean of scores"
    note = f"mean over the three splits, while this file is of split 1; video level as the author says in {_ISSUES}/80"
    return Figure("top-1", percent, data, "test", "video", views, _ABSTRACT, note=note)


_UCF_16 = Figure(
    "top-1",
    90.7,
    "UCF101",
    NOT_STATED,
    NOT_STATED,
    "windows of 16 frames",
    f"{_ISSUES}/24",
    note="the paper's figure as quoted there by a user who reached 86.0",
)
_TEST_64 = Figure(
    "mean of top-1 and top-5",
    78.4,
    "Kinetics-400",
    "test",
    "video",
    "windows of 64 frames, centre crop, mean of scores",
    _ABSTRACT,
)

RECORDS = (
    _r3d(18, "K"),
    _r3d(18, "KM"),
    _r3d(34, "K"),
    _r3d(34, "KM"),
    _r3d(50, "K"),
    _r3d(50, "KM"),
    _r3d(50, "KMS"),
    _r3d(50, "KS"),
    _r3d(50, "M"),
    _r3d(50, "MS"),
    _r3d(50, "S"),
    _r3d(101, "K"),
    _r3d(101, "KM"),
    _r3d(152, "K"),
    _r3d(152, "KM"),
    _r3d(200, "K"),
    _r3d(200, "KM"),
    _r2p1d(18, "K", f"uploaded by the author in {_ISSUES}/191"),
    _r2p1d(34, "K", f"uploaded by the author in {_ISSUES}/191"),
    _r2p1d(50, "K", "known from projects that load it"),
    _r2p1d(50, "KM", "known from projects that load it"),
    replace(
        _kinetics("resnet-18", "resnet3d_18", 66.1),
        note="trained with shortcut A, without parameters where shapes change",
    ),
    replace(
        _kinetics("resnet-34", "resnet3d_34", 71.0),
        note="trained with shortcut A, without parameters where shapes change; "
        "resnet-34-kinetics-cpu.pth holds the same tensors",
    ),
    _kinetics("resnet-50", "resnet3d_50", 72.2),
    _kinetics("resnet-101", "resnet3d_101", 73.3),
    _kinetics("resnet-152", "resnet3d_152", 73.7),
    _kinetics("resnet-200", "resnet3d_200", 73.7),
    _kinetics("preresnet-200", "preact_resnet3d_200", 73.4),
    _kinetics("wideresnet-50", "wide_resnet3d_50", 74.7),
    _kinetics("resnext-101", "resnext3d_101", 75.4),
    _kinetics("densenet-121", "densenet3d_121", 70.8),
    _kinetics("densenet-201", "densenet3d_201", 72.3),
    _old(
        "resnext-101-64f-kinetics",
        "resnext3d_101-64f-kinetics400",
        _ORDERED_400,
        (_TEST_64,),
        frames=64,
        note=f"not in the README; the author answers for it in {_ISSUES}/43",
    ),
    _old("resnext-101-kinetics-ucf101_split1", "resnext3d_101-kinetics400-ucf101", _ORDERED_UCF, (_UCF_16,)),
    _old(
        "resnext-101-64f-kinetics-ucf101_split1",
        "resnext3d_101-64f-kinetics400-ucf101",
        _ORDERED_UCF,
        (_three_splits("UCF101", 94.5),),
        frames=64,
    ),
    _old("resnext-101-kinetics-hmdb51_split1", "resnext3d_101-kinetics400-hmdb51", _OPEN_HMDB, ()),
    _old(
        "resnext-101-64f-kinetics-hmdb51_split1",
        "resnext3d_101-64f-kinetics400-hmdb51",
        _OPEN_HMDB,
        (_three_splits("HMDB51", 70.2),),
        frames=64,
    ),
)
