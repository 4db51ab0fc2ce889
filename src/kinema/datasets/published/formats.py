"""The data sets that can be taken as their authors distribute them: one line each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kinema.core.errors import UsageError, nearest
from kinema.core.progress import Progress
from kinema.datasets.manifest import read_manifest
from kinema.datasets.published.activitynet import read_activitynet
from kinema.datasets.published.disk import Disk
from kinema.datasets.published.hara_json import read_hara_json
from kinema.datasets.published.hmdb51 import read_hmdb51
from kinema.datasets.published.kinetics import read_kinetics
from kinema.datasets.published.listed import Imported
from kinema.datasets.published.mmaction_txt import read_mmaction_txt
from kinema.datasets.published.moments_in_time import read_moments_in_time
from kinema.datasets.published.stair_actions import read_stair_actions
from kinema.datasets.published.ucf101 import read_ucf101

__all__ = ["FORMATS", "Format", "import_published"]

_Reader = Callable[[Disk, "Path | None", "int | None"], Imported]


@dataclass(frozen=True)
class Format:
    """One way in which data sets are distributed.

    Attributes:
        read: takes the disk, where the lists are (None: below the root) and the number of the split.
        splits: the numbers of its official splits; empty where there is one division only, None where any may be.
        lists: the files that say what there is; blank where there is none.
    """

    read: _Reader
    splits: tuple[int, ...] | None
    lists: str


def _folder(disk: Disk, _annotations: Path | None, _split: int | None) -> Imported:
    found = read_manifest(disk.root, min_classes=1)
    taken = {sample.path for sample in found.samples}
    unlisted = tuple(path for path in disk.videos if path not in taken)
    return Imported(disk.root, found.samples, found.labels, len(found), (), unlisted)


FORMATS = {
    "kinetics400": Format(
        lambda disk, lists, _: read_kinetics(disk, lists, "kinetics400"), (), "train.csv, val.csv, test.csv"
    ),
    "kinetics600": Format(
        lambda disk, lists, _: read_kinetics(disk, lists, "kinetics600"), (), "train.csv, val.csv, test.csv"
    ),
    "kinetics700": Format(
        lambda disk, lists, _: read_kinetics(disk, lists, "kinetics700"), (), "train.csv, val.csv, test.csv"
    ),
    "moments_in_time": Format(
        lambda disk, lists, _: read_moments_in_time(disk, lists), (), "trainingSet.csv, validationSet.csv"
    ),
    "stair_actions": Format(
        lambda disk, lists, _: read_stair_actions(disk, lists), (), "videolist_train.txt, videolist_val.txt"
    ),
    "activitynet": Format(lambda disk, lists, _: read_activitynet(disk, lists), (), "activity_net.v1-3.min.json"),
    "ucf101": Format(
        lambda disk, lists, split: read_ucf101(disk, lists, split or 1), (1, 2, 3), "trainlist01.txt, testlist01.txt"
    ),
    "hmdb51": Format(
        lambda disk, lists, split: read_hmdb51(disk, lists, split or 1), (1, 2, 3), "CLASS_test_split1.txt"
    ),
    "hara-json": Format(lambda disk, lists, _: read_hara_json(disk, lists), (), "one JSON file"),
    "mmaction-txt": Format(read_mmaction_txt, None, "*train*.txt, *val*.txt, label_map*.txt"),
    "folder": Format(_folder, (), ""),
}
"""By the name that `kinema data import` takes."""


def import_published(
    name: str,
    root: Path | str,
    *,
    annotations: Path | str | None = None,
    split: int | None = None,
    progress: Progress | None = None,
) -> Imported:
    """Read the data set below `root` as its authors distribute it.

    Args:
        name: one of `FORMATS`.
        root: the folder that its videos were unpacked to; its lists too, unless `annotations` says else.
        annotations: folder of the official lists, or one of them.
        split: which official split; the first unless given, where there are several.
        progress: shows that files are looked for.

    Raises:
        UsageError: another name, a split that this data set does not have, or lists where there are none.
        DataError: no lists, no videos, or lists of something else.
    """
    if name not in FORMATS:
        raise UsageError(f"no format named '{name}'{nearest(name, FORMATS)}", allowed=", ".join(FORMATS))
    form = FORMATS[name]
    if split is not None and form.splits is not None and split not in form.splits:
        numbers = ", ".join(map(str, form.splits)) or "no --split, as there is one division only"
        raise UsageError(f"split {split} of {name}", allowed=numbers)
    if annotations is not None and not form.lists:
        raise UsageError(f"--annotations with {name}, where folders name the classes", allowed="no --annotations")
    return form.read(Disk(root, progress=progress), None if annotations is None else Path(annotations), split)
