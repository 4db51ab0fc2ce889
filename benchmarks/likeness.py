"""How well videos of one place, and films coded again, are told from others: `docs/results/near-duplicates.md`.

    python benchmarks/likeness.py MANIFEST.csv [--apart A=B ...] [--copies 40] [--cost 10000] [--json]

MANIFEST needs groups: videos of one group are taken to show one place. `--apart A=B` leaves out the pairs between two
groups of which nobody can say whether they are one place. How alike two backgrounds must be is chosen on one half of
the groups, as the least that keeps a precision of 0.99 there, and precision and recall are told of the other half; and
the other way round. Every fifth video (`--copies` at most) is also made small and coded hard, and so cut, mirrored, and
put into a longer film, each to be found as a near duplicate of its original. `--cost` times the comparison of so many
made-up videos, in seconds of processors.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import beta

from kinema.core.progress import Silent
from kinema.datasets import likeness
from kinema.datasets.inspection import FileReport, inspect_files
from kinema.datasets.likeness import Seen, compare
from kinema.datasets.look import PERIODS, Look
from kinema.datasets.manifest import Manifest, read_manifest
from kinema.datasets.place import CELLS, DIRECTIONS
from kinema.video.frame import Frames
from kinema.video.source import open_recording
from kinema.video.writer import VideoWriter

THRESHOLDS = tuple(round(0.24 + 0.02 * step, 2) for step in range(14))
PRECISION = 0.99
DRAWS = 1000
SMALL_PX = 180


@dataclass(frozen=True)
class Truth:
    """Which pairs of files are of one place, and how alike they were found to be.

    Attributes:
        first, second: (P,) the files of each pair that counts.
        same: bool (P,) whether they are of one group.
        background: (P,) how alike; -1 where the two were not compared closely.
        groups: the group of each file.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    same: NDArray[np.bool_]
    background: NDArray[np.float64]
    groups: NDArray[np.str_]

    def of(self, files: NDArray[np.bool_]) -> Truth:
        """The pairs of which both files are among `files`, bool (N,)."""
        kept = files[self.first] & files[self.second]
        return Truth(self.first[kept], self.second[kept], self.same[kept], self.background[kept], self.groups)


@dataclass(frozen=True)
class Row:
    """What one threshold gives: precision and recall of pairs, each with the ends of a 95 % interval, and counts."""

    threshold: float
    precision: tuple[float, float, float]
    recall: tuple[float, float, float]
    found: int
    wrong: int
    same: int
    pairs: int
    groups: int


def compared(files: list[Seen], groups: list[str], apart: set[frozenset[str]]) -> Truth:
    """Every pair that counts."""
    used, likeness.SAME_PLACE = likeness.SAME_PLACE, THRESHOLDS[0]
    told = {(pair.first, pair.second): pair.background for pair in compare(files).pairs}
    likeness.SAME_PLACE = used
    pairs = [pair for pair in combinations(range(len(files)), 2) if frozenset(groups[at] for at in pair) not in apart]
    first, second = np.asarray(pairs).T
    names = np.asarray(groups)
    return Truth(
        first, second, names[first] == names[second], np.asarray([told.get(pair, -1.0) for pair in pairs]), names
    )


def row(truth: Truth, threshold: float) -> Row:
    """Precision with the interval of Clopper and Pearson; recall with one of groups drawn again and again."""
    found = truth.background >= threshold
    right, wrong = int((found & truth.same).sum()), int((found & ~truth.same).sum())
    total = max(1, right + wrong)
    low = 0.0 if right == 0 else float(beta.ppf(0.025, right, wrong + 1))
    high = 1.0 if wrong == 0 else float(beta.ppf(0.975, right + 1, wrong))
    owners, at = np.unique(truth.groups[truth.first[truth.same]], return_inverse=True)
    ours = np.bincount(at, weights=found[truth.same], minlength=len(owners))
    whole = np.bincount(at, minlength=len(owners))
    drawn = np.random.default_rng(0).integers(len(owners), size=(DRAWS, len(owners)))
    ends = np.quantile(ours[drawn].sum(axis=1) / whole[drawn].sum(axis=1), (0.025, 0.975))
    return Row(
        threshold,
        (right / total, low, high),
        (right / int(whole.sum()), float(ends[0]), float(ends[1])),
        right,
        wrong,
        int(whole.sum()),
        len(truth.same),
        len(set(truth.groups[truth.first]) | set(truth.groups[truth.second])),
    )


def halves(truth: Truth) -> list[Row]:
    """For each half of the groups, what the threshold gives that was chosen on the other."""
    digest = [int(hashlib.sha256(name.encode()).hexdigest(), 16) for name in truth.groups]
    order = {value: rank for rank, value in enumerate(sorted(set(digest)))}
    side = np.asarray([order[value] % 2 == 0 for value in digest])
    return [row(truth.of(~part), choose(truth.of(part))) for part in (side, ~side)]


def choose(truth: Truth) -> float:
    """The least threshold from which on precision stays."""
    precise = [row(truth, threshold).precision[0] >= PRECISION for threshold in THRESHOLDS]
    return next(each for at, each in enumerate(THRESHOLDS) if all(precise[at:]))


def clusters(files: list[Seen], groups: list[str], apart: set[frozenset[str]]) -> tuple[float, float]:
    """Precision and recall of pairs that are in one cluster, at the threshold in use."""
    names = compare(files).clusters
    pairs = [pair for pair in combinations(range(len(files)), 2) if frozenset(groups[at] for at in pair) not in apart]
    same = {pair for pair in pairs if groups[pair[0]] == groups[pair[1]]}
    joined = {pair for pair in pairs if names[pair[0]] == names[pair[1]]}
    return len(same & joined) / max(1, len(joined)), len(same & joined) / len(same)


def copies(paths: list[Path], folder: Path) -> Iterator[tuple[str, Path, Path]]:
    """(how, original, copy): small and coded hard; that without a quarter of its beginning, mirrored, inside a film."""
    before: torch.Tensor | None = None
    for path in paths:
        with open_recording(path, short_side_px=SMALL_PX, strict=False) as video:
            data = Frames.join(list(video.frames())).data
            fps = max(1, round(video.info.average_fps))
        data = data[:, :, : data.shape[2] // 2 * 2, : data.shape[3] // 2 * 2]
        forms = {"coded and scaled": data, "cut": data[len(data) // 4 :], "mirrored": data.flip(3)}
        if before is not None:  # another film goes before it and after it, each as long at most
            other = torch.nn.functional.interpolate(before[: len(data)].float(), data.shape[2:]).byte()
            forms["inside another film"] = torch.cat([other, data, other])
        before = data
        for how, shown in forms.items():
            target = folder / f"{how.replace(' ', '-')}-{path.name}"
            size = shown.shape[3], shown.shape[2]
            with VideoWriter(target, fps=fps, size=size, crf=33, preset="veryfast") as writer:
                writer.write(shown.contiguous())
            yield how, path, target


def found_copies(reports: dict[Path, FileReport], made: list[tuple[str, Path, Path]]) -> dict[str, str]:
    """How many copies of each kind are found as near duplicates of their originals, and how many as one place."""
    told: dict[str, list[str]] = {}
    looks = inspect_files([copy for _, _, copy in made], workers=None, progress=Silent())
    for (how, original, _), report in zip(made, looks, strict=True):
        pairs = compare([Seen("a", reports[original].look), Seen("b", report.look)]).pairs
        told.setdefault(how, []).append(pairs[0].kind if pairs else "")
    return {
        how: f"{kinds.count('near duplicate')} of {len(kinds)}, {kinds.count('same background')} as one place"
        for how, kinds in told.items()
    }


def cost_seconds(count: int) -> float:
    """Seconds of processors that comparing `count` videos of different places takes."""
    rng = np.random.default_rng(0)
    motion = np.zeros((16, 8, 8), np.int8)
    shape = (PERIODS, DIRECTIONS, CELLS, CELLS)
    bases = rng.normal(0, 30, (64, *shape[1:]))  # of few kinds, so that every file has its nearest to compare with

    def look() -> Look:
        place = bases[rng.integers(64)] + rng.normal(0, 40, shape)
        return Look(np.clip(place, -127, 127).astype(np.int8), motion, 0.125, 0.0, 0.0)

    files = [Seen(str(number), look()) for number in range(count)]
    start = time.process_time()
    compare(files)
    return time.process_time() - start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--apart", nargs="*", default=[], metavar="A=B")
    parser.add_argument("--copies", type=int, default=40)
    parser.add_argument("--cost", type=int, default=10_000)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    manifest: Manifest = read_manifest(given.manifest)
    reports = inspect_files([one.path for one in manifest.samples], workers=None, progress=Silent())
    files = [Seen(report.sha256, report.look) for report in reports]
    groups = [sample.group or "" for sample in manifest.samples]
    apart = {frozenset(pair.split("=")) for pair in given.apart}
    truth = compared(files, groups, apart)
    told = {
        "halves": [asdict(each) for each in halves(truth)],
        "all": [asdict(row(truth, threshold)) for threshold in (*THRESHOLDS, likeness.SAME_PLACE)],
        "clusters": clusters(files, groups, apart),
        "near": len(compare(files).of_kind("near duplicate")),
    }
    with tempfile.TemporaryDirectory() as folder:
        made = list(copies([sample.path for sample in manifest.samples[::5]][: given.copies], Path(folder)))
        told["copies"] = found_copies({report.path: report for report in reports}, made) if made else {}
    told["cost_seconds"] = cost_seconds(given.cost) if given.cost else 0.0
    print(json.dumps(told) if given.json else _words(told, given.cost))


def _words(told: dict, cost: int) -> str:
    lines = []
    for title in ("halves", "all"):
        lines.append({"halves": "chosen on one half of the groups, told of the other", "all": "on all groups"}[title])
        for each in told[title]:
            shares = "  ".join(
                f"{name} {each[name][0]:.3f} ({each[name][1]:.3f} to {each[name][2]:.3f})"
                for name in ("precision", "recall")
            )
            lines.append(
                f"  {each['threshold']:.2f}  {shares}  {each['found']} of {each['same']} found, {each['wrong']} wrong"
                f" of {each['pairs'] - each['same']}, {each['groups']} groups"
            )
    lines.append("pairs in one cluster: precision {:.3f}, recall {:.3f}".format(*told["clusters"]))
    lines.append(f"{told['near']} pairs of originals taken for near duplicates")
    lines += [f"found {how}: {share}" for how, share in told["copies"].items()]
    lines.append(f"{cost} videos compared in {told['cost_seconds']:.1f} s of processors")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
