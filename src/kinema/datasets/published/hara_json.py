"""The annotation file of 3D-ResNets-PyTorch, read and written.

    {"labels": [NAME, ...],
     "database": {ID: {"subset": "training" | "validation" | "testing",
                       "annotations": {"label": NAME, "segment": [FIRST, END]},
                       "video_path": PATH, optional}}}

A class's index is its place in `labels`. Frames count from 1 (from 0 in lists for HDF5 files), END is
exclusive. A segment that begins with the first frame was written for a whole clip and is read so, unless
END comes before the last picture of a folder of frames; how many frames a file had for those who wrote the
list is not known. Videos may be files, folders of frames or HDF5 archives. Lists made for ActivityNet hold
several annotations a video, in seconds. An ID is the file name without its ending, so two files of one name
cannot both be in such a list.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from kinema.core.atomic import replacing
from kinema.core.errors import DataError, MediaError
from kinema.core.labels import LabelMap
from kinema.core.progress import Progress, Silent
from kinema.datasets.manifest import Manifest
from kinema.datasets.published.disk import Disk, part_of, without_suffix
from kinema.datasets.published.listed import Entry, Imported, settle
from kinema.datasets.sample import Sample, listing
from kinema.video.frame_folder import frame_files
from kinema.video.source import open_recording

__all__ = ["read_hara_json", "write_hara_json"]

_SUBSETS = {"train": "training", "val": "validation", "test": "testing"}


def read_hara_json(disk: Disk, annotations: Path | None) -> Imported:
    """The data set that one such file describes, with its videos on `disk`.

    Raises:
        DataError: no such file or more than one, or no video of it.
        MediaError: a video of which a part is meant, and that cannot be opened to ask for its frame rate.
    """
    called = "JSON file with the keys labels and database"
    found = disk.require_lists(annotations, r".*\.json", called)
    records = {path: record for path in found if (record := _record(path)) is not None}
    if len(records) != 1:
        raise DataError(
            f"{len(records)} annotation files in {annotations or disk.root}, out of "
            f"{', '.join(path.name for path in found[:8])}",
            allowed=f"one {called}",
            next_step="name it with --annotations",
        )
    ((source, record),) = records.items()
    unsure: list[Path] = []
    try:
        imported = settle(disk, _entries(record, disk, unsure), LabelMap.of(record["labels"]))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise DataError(f"{source} is not in the form of 3D-ResNets: {error!r}", allowed=called) from error
    if not unsure:
        return imported
    note = f"{len(unsure)} segments that begin with the first frame of a file were taken for all of it"
    return replace(imported, notes=(*imported.notes, note))


def write_hara_json(manifest: Manifest, target: Path | str, *, progress: Progress | None = None) -> None:
    """Write `manifest` as such a file: classes in their order, segments in frames from 1, END exclusive.

    Raises:
        DataError: samples without a split, or two samples of one file name.
        MediaError: a video that cannot be opened to count its frames.
    """
    _require_writable(manifest)
    database: dict[str, Any] = {}
    with (progress or Silent()).task("counting frames", len(manifest), "videos") as task:
        for sample in manifest.samples:
            annotation = {"label": sample.label, "segment": _segment(sample)}
            database[without_suffix(sample.path.name)] = {
                "subset": _SUBSETS[str(sample.split)],
                "annotations": annotation,
            }
            task.advance()
    record = {"labels": list(manifest.labels.require()), "database": database}
    with replacing(target) as beside:
        beside.write_text(json.dumps(record, ensure_ascii=False), encoding="utf-8")


def _record(path: Path) -> dict[str, Any] | None:
    try:
        record = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and {"labels", "database"} <= record.keys() else None


def _entries(record: dict[str, Any], disk: Disk, unsure: list[Path]) -> Iterator[Entry]:
    """What `record` says; videos that were taken whole, although a part may be meant, go to `unsure`."""
    labels = tuple(record["labels"])
    cut: dict[str, list[Path]] = defaultdict(list)  # some lists cut names at their first dot
    for held in disk.videos:
        cut[held.name.split(".")[0]].append(held)
    for identity, video in record["database"].items():
        annotations, split = video["annotations"], part_of(video["subset"])
        if isinstance(annotations, list):
            whole = disk.find(identity) or disk.find(f"v_{identity}")
            for one in annotations:
                start, end = map(float, one["segment"])
                yield Entry(identity, whole, one["label"], split, None, start, end)
            continue
        label = annotations.get("label")
        name = video.get("video_path") or f"{label or 'test'}/{identity}"
        own = f"{label}/{identity}" if label else identity
        path = disk.find(name, split=split, classes=labels) or disk.find(own, split=split, classes=labels)
        path = path or next((one for one in cut.get(identity, ()) if one.parent.name == label), None)
        yield Entry(name, path, label, split, None, *_times(path, annotations.get("segment"), unsure))


def _times(path: Path | None, segment: list[float] | None, unsure: list[Path]) -> tuple[float | None, float | None]:
    """Seconds of a segment of frames; None twice where it is the whole video, or is taken for it."""
    if path is None or segment is None:
        return None, None
    first, end = segment
    if first <= 1:
        frames = _pictures(path)
        if frames is None:
            unsure.append(path)
        if frames is None or end >= frames:
            return None, None
    with open_recording(path) as recording:
        fps = recording.info.average_fps
    origin = min(first, 1)
    return (first - origin) / fps or None, (end - origin) / fps


def _pictures(path: Path) -> int | None:
    """How many pictures a folder of frames holds; None of a file."""
    try:
        return len(frame_files(path)) if path.is_dir() else None
    except MediaError:
        return None  # told when it is read


def _segment(sample: Sample) -> list[int]:
    with open_recording(sample.path) as recording:
        info = recording.info
    first = math.floor((sample.start_seconds or 0.0) * info.average_fps + 0.5)
    end = info.frame_count
    if sample.end_seconds is not None:
        end = min(end, math.floor(sample.end_seconds * info.average_fps + 0.5))
    if first >= end:
        raise MediaError(sample.path, f"its segment has no frame among its {info.frame_count}")
    return [first + 1, end + 1]


def _require_writable(manifest: Manifest) -> None:
    unsplit = [manifest.relative(sample.path) for sample in manifest.samples if sample.split is None]
    if unsplit:
        raise DataError(
            f"{len(unsplit)} of {len(manifest)} samples are in no split:\n{listing(unsplit)}",
            allowed="manifests in which every row has a split",
            next_step="add a split column",
        )
    by_stem: dict[str, list[str]] = defaultdict(list)
    for sample in manifest.samples:
        by_stem[without_suffix(sample.path.name)].append(manifest.relative(sample.path))
    twice = [" and ".join(paths[:2]) for paths in by_stem.values() if len(paths) > 1]
    if twice:
        raise DataError(
            f"{len(twice)} names stand for more than one sample, and would overwrite each other:\n{listing(twice)}",
            allowed="one sample a file name",
            next_step="rename the files, or leave some out",
        )
