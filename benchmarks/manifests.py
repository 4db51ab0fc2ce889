"""Time and memory of manifests as long as Kinetics-700: reading, writing, splitting, merging, importing.

    python benchmarks/manifests.py [--rows 650000] [--there 50000] [--folder FOLDER] [--only NAME] [--json]

Makes a manifest of `--rows` clips in 700 class folders, all of them empty files, as no video is opened; and a list of
Kinetics of as many clips, of which one disk holds `--there` and another all. Every task runs in a process of its own,
so that its peak memory (of the whole process, libraries included) is its own. `--folder` keeps the files for later.
"""

from __future__ import annotations

import argparse
import csv
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from kinema.core.errors import DataError
from kinema.core.labels import LabelMap, published_labels
from kinema.datasets.manifest import Manifest, read_manifest
from kinema.datasets.merge import merge
from kinema.datasets.published.formats import import_published
from kinema.datasets.sample import Sample
from kinema.datasets.splits import SplitRule, make_splits

CLASSES = published_labels("kinetics700").require()
SHARED_EVERY = 10  # every tenth clip is cut from the same video as the one before


def main() -> None:
    """Print a table, or with --json one object a task."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=650_000)
    parser.add_argument("--there", type=int, default=50_000)
    parser.add_argument("--folder", type=Path, help="where the files are made, and stay")
    parser.add_argument("--only", choices=[*TASKS], action="append")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(measured(TASKS[arguments.child], arguments.folder)))
        return
    with tempfile.TemporaryDirectory() as made:
        folder = arguments.folder or Path(made)
        lay(folder, arguments.rows, arguments.there)
        if not arguments.json:
            print(f"{'':<22}{'processor s':>12}{'seconds':>10}{'peak MiB':>10}")
        for name in arguments.only or TASKS:
            own = [sys.executable, __file__, "--child", name, "--folder", str(folder)]
            row = json.loads(subprocess.run(own, check=True, capture_output=True, text=True).stdout)
            if arguments.json:
                print(json.dumps({"task": name, "rows": arguments.rows, **row}))
            else:
                print(f"{name:<22}{row['processor_seconds']:>12.1f}{row['seconds']:>10.1f}{row['peak_mib']:>10.0f}")


def measured(task: Callable[[Path], object], folder: Path) -> dict[str, float]:
    """What `task` takes: processor time, time, and the peak memory of this process."""
    began, worked = time.perf_counter(), time.process_time()
    task(folder)
    return {
        "processor_seconds": time.process_time() - worked,
        "seconds": time.perf_counter() - began,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def lay(folder: Path, rows: int, there: int) -> None:
    """The manifests, the official lists and the empty files, where an earlier run has not made them."""
    if (folder / "clips.csv").exists():
        return
    held = [clip(number) for number in range(rows)]
    for root, names in ((folder / "videos", held), (folder / "half", held[:there])):
        for label in CLASSES:
            (root / label).mkdir(parents=True, exist_ok=True)
        for label, identity, start in names:
            (root / label / f"{identity}_{start:06}_{start + 10:06}.mp4").touch()
    for root, name, names in ((folder, "clips.csv", held), (folder / "half", "k700.csv", held[:there])):
        with (root / name).open("w", encoding="utf-8", newline="") as opened:
            writer = csv.writer(opened)
            writer.writerow(("path", "label", "group"))
            place = "videos/" if root == folder else ""
            for label, identity, start in names:
                writer.writerow((f"{place}{label}/{identity}_{start:06}_{start + 10:06}.mp4", label, identity))
    with (folder / "gone.csv").open("w", encoding="utf-8", newline="") as opened:
        writer = csv.writer(opened)
        writer.writerow(("path", "label"))
        writer.writerows((f"gone/{label}/{identity}.mp4", label) for label, identity, _ in held)
    (folder / "half" / "lists").mkdir()
    with (folder / "half" / "lists" / "train.csv").open("w", encoding="utf-8", newline="") as opened:
        writer = csv.writer(opened)
        writer.writerow(("label", "youtube_id", "time_start", "time_end", "split"))
        writer.writerows((label, identity, start, start + 10, "train") for label, identity, start in held)


def clip(number: int) -> tuple[str, str, int]:
    """Class, YouTube video and start of a clip."""
    video = number - 1 if number % SHARED_EVERY == SHARED_EVERY - 1 else number
    return CLASSES[video % len(CLASSES)], f"{video * 2654435761 % 2**40:010x}_", number % 300


def read_csv(folder: Path) -> Manifest:
    """What every command does first."""
    return read_manifest(folder / "clips.csv")


def write_csv(folder: Path) -> None:
    """After reading."""
    read_csv(folder).write(folder / "again.csv")


def write_parquet(folder: Path) -> None:
    """After reading the CSV file."""
    read_csv(folder).write(folder / "clips.parquet")


def read_parquet(folder: Path) -> Manifest:
    """What the task before has written."""
    return read_manifest(folder / "clips.parquet")


def split(folder: Path) -> None:
    """By groups into three parts, after reading."""
    make_splits(read_csv(folder), SplitRule(by="group"))


def merged(folder: Path) -> None:
    """With another data set, after reading."""
    first = read_csv(folder)
    rows = [Sample(folder / "other" / f"{number}.mp4", CLASSES[number % 9]) for number in range(len(first) // 10)]
    second = Manifest.of(folder / "other", rows, labels=LabelMap.of(sorted({row.label for row in rows})))
    merge({"first": first, "second": second}, folder / "all.csv", rule="union")


def all_missing(folder: Path) -> None:
    """Reading a manifest of which no file is there."""
    try:
        read_manifest(folder / "gone.csv")
    except DataError:
        return
    raise SystemExit("nothing was found missing")


def imported(folder: Path) -> None:
    """Official lists against a disk that holds some of what they name; the manifest is written."""
    import_published("kinetics700", folder / "half").write(folder / "half" / "imported.csv")


def import_whole(folder: Path) -> None:
    """Official lists against a disk that holds all that they name."""
    lists = folder / "half" / "lists"
    import_published("kinetics700", folder / "videos", annotations=lists).write(folder / "whole.csv")


TASKS: dict[str, Callable[[Path], object]] = {
    "read csv": read_csv,
    "read and write csv": write_csv,
    "csv to parquet": write_parquet,
    "read parquet": read_parquet,
    "read and split": split,
    "read and merge": merged,
    "all files missing": all_missing,
    "import a part": imported,
    "import the whole": import_whole,
}

if __name__ == "__main__":
    main()
