"""ActivityNet: one JSON file with the videos' segments in seconds, and videos called `v_ID`.

Classes are the leaves of the file's taxonomy. Where these are the 200 of version 1.3, they are in
the order of its published list, else in that of the file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kinema.core.errors import DataError
from kinema.core.labels import LabelMap, published_labels
from kinema.datasets.published.disk import Disk, part_of
from kinema.datasets.published.listed import Entry, Imported, settle

__all__ = ["read_activitynet"]


def read_activitynet(disk: Disk, annotations: Path | None) -> Imported:
    """The data set on `disk`: a sample for each segment.

    Raises:
        DataError: no list or more than one, or no video of it.
    """
    called = "activity_net.v1-3.min.json, with the keys taxonomy and database"
    found = disk.require_lists(annotations, r".*\.json", called)
    records = {path: record for path in found if (record := _record(path)) is not None}
    if len(records) != 1:
        raise DataError(
            f"{len(records)} lists of ActivityNet in {annotations or disk.root}, out of "
            f"{', '.join(path.name for path in found[:8])}",
            allowed=f"one {called}",
            next_step="name the file with --annotations",
        )
    ((source, record),) = records.items()
    try:
        return settle(disk, _entries(record, disk), _classes(record))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise DataError(f"{source} is not in the form of ActivityNet: {error!r}", allowed=called) from error


def _record(path: Path) -> dict[str, Any] | None:
    try:
        record = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and {"taxonomy", "database"} <= record.keys() else None


def _classes(record: dict[str, Any]) -> LabelMap:
    parents = {node["parentId"] for node in record["taxonomy"]}
    leaves = LabelMap.of(node["nodeName"] for node in record["taxonomy"] if node["nodeId"] not in parents)
    official = published_labels("activitynet200")
    return official if set(leaves.require()) == set(official.require()) else leaves


def _entries(record: dict[str, Any], disk: Disk) -> Iterator[Entry]:
    for identity, video in record["database"].items():
        path = disk.find(f"v_{identity}") or disk.find(identity)
        split = part_of(video["subset"])
        if not video.get("annotations"):
            yield Entry(f"v_{identity}", path, None, split, left_out="its segments were not published")
        for annotation in video.get("annotations") or ():
            start, end = map(float, annotation["segment"])
            yield Entry(f"v_{identity}", path, annotation["label"], split, None, max(start, 0.0), end)
