"""Several labelled data sets as one manifest."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from unicodedata import normalize

from kinema.core.errors import DataError, shortened
from kinema.core.labels import LabelMap, merge_labels
from kinema.datasets.absolute import are_absolute_paths_allowed
from kinema.datasets.manifest import Manifest
from kinema.datasets.sample import Sample, listing

__all__ = ["alike", "merge", "names_of"]

_ARTICLES = frozenset({"a", "an", "the"})


def names_of(paths: Sequence[Path]) -> dict[str, Path]:
    """The name of the data set at each path: that of the folder, or of the file without its ending.

    Raises:
        DataError: two of one name.
    """
    names = [normalize("NFC", path.absolute().name if path.is_dir() else path.stem) for path in paths]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(
            f"two data sets called {shortened(twice)}: {', '.join(map(str, paths))}",
            allowed="a name for each",
            next_step="rename the files; a data set is called like its file",
        )
    return dict(zip(names, paths, strict=True))


def merge(manifests: Mapping[str, Manifest], target: Path | str, *, rule: str) -> Manifest:
    """The samples of `manifests`, each with the name of its data set, under one label map.

    Groups become `DATASET/GROUP`, so that equal names in two data sets stay two groups. The label
    map remembers its parts (`LabelMap.parts`).

    Args:
        manifests: two or more, by the names that the data sets get.
        target: CSV file that the result is going to be written to; nothing is written here.
        rule: how classes are joined, see `core.labels.merge_labels`: `prefix` or `union`.

    Raises:
        UsageError: another rule.
        DataError: one data set only, one that is merged already, a video that lies in two of them,
            or videos that do not lie below the folder of `target`.
    """
    place = Path(os.path.normpath(Path(target).absolute()))
    merged = [name for name, manifest in manifests.items() if any(sample.dataset for sample in manifest.samples)]
    if merged:
        raise DataError(
            f"merged before: {shortened(merged)}",
            allowed="manifests of one data set each",
            next_step="merge all of them at once, from the manifests they were made of",
        )
    labels = merge_labels({name: manifest.labels for name, manifest in manifests.items()}, rule)
    samples = []
    for part in labels.parts:
        manifest = manifests[part.dataset]
        renamed = {own: labels.name(index) for own, index in zip(part.names, part.indices, strict=True)}
        samples += [_sample(sample, part.dataset, renamed[sample.label]) for sample in manifest.samples]
    _require_mergeable(samples, place)
    return Manifest.of(place, samples, labels=labels)


def alike(labels: LabelMap) -> tuple[tuple[str, ...], ...]:
    """Classes of different data sets that a merged map keeps apart, although their names seem to mean the same.

    Names are alike that differ in capitals, blanks, signs, articles and endings only, such as `brush_hair` and
    `brushing hair`, or `cartwheel` and `Cartwheeling`.

    Returns:
        tuples of two or more names `DATASET/CLASS`, in order.
    """
    found: dict[str, dict[int, list[tuple[str, str]]]] = {}
    for part in labels.parts:
        for name, index in zip(part.names, part.indices, strict=True):
            found.setdefault(_stem(name), {}).setdefault(index, []).append((part.dataset, name))
    groups = ([one for held in indices.values() for one in held] for indices in found.values() if len(indices) > 1)
    apart = (group for group in groups if len({dataset for dataset, _ in group}) > 1)
    return tuple(sorted(tuple(f"{dataset}/{name}" for dataset, name in group) for group in apart))


def _stem(name: str) -> str:
    """The words of `name` without endings: what is left of `ApplyLipstick` and `applying a lipstick` is the same."""
    words = re.findall(r"[^\W\d_]+|\d+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", normalize("NFC", name)).lower())
    return " ".join(_without_ending(word) for word in words if word not in _ARTICLES)


def _without_ending(word: str) -> str:
    if word.endswith("ing") and len(word) > 4:
        word = word[:-3]
    elif word.endswith("s") and not word.endswith("ss") and len(word) > 3:
        word = word[:-1]
    word = word.removesuffix("e")  # making, make
    return word[:-1] if len(word) > 2 and word[-1] == word[-2] else word  # running, run


def _sample(sample: Sample, dataset: str, label: str) -> Sample:
    group = None if sample.group is None else f"{dataset}/{sample.group}"
    return replace(sample, label=label, group=group, dataset=dataset)


def _require_mergeable(samples: list[Sample], place: Path) -> None:
    outside = [str(sample.path) for sample in samples if not sample.path.is_relative_to(place.parent)]
    if outside and not are_absolute_paths_allowed():
        raise DataError(
            f"{len(outside)} videos lie outside {place.parent}, such as {outside[0]}",
            allowed="a manifest in a folder that holds all its videos, or links to their folders",
            next_step="choose a folder above all data sets with --out",
        )
    holders = Counter(path for path, _ in {(sample.path, sample.dataset) for sample in samples})
    twice = sorted(str(path) for path, count in holders.items() if count > 1)
    if twice:
        raise DataError(
            f"{len(twice)} videos lie in two of the data sets:\n{listing(twice)}",
            allowed="data sets without common files",
            next_step="leave them out of one of the manifests",
        )
