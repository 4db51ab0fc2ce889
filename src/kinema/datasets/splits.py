"""Who trains, who validates, who tests: splits that can be made again from a rule of five values.

Clips cut from one recording look alike. Where some of them train and others test, a model that knows
the background scores well; so samples of one group always stay together, and a split that would tear
groups apart is refused unless it is asked for by name, and then says so wherever it is reported.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinema.core.errors import DataError, UsageError, nearest
from kinema.core.labels import LabelMap
from kinema.datasets.manifest import Manifest
from kinema.datasets.partition import deal
from kinema.datasets.sample import SPLITS, Sample, listing

__all__ = ["SPLIT_BY", "Split", "SplitRule", "doubts_of", "make_splits", "restore_split", "shared_by_parts"]

SPLIT_BY = ("auto", "column", "group", "random")

_TRAIN, _VAL, _TEST = range(3)
_Parts = NDArray[np.int64]  # (N,), an index into SPLITS for every sample


@dataclass(frozen=True)
class SplitRule:
    """How a manifest is split. The rule and the manifest decide the split, to the last sample.

    Attributes:
        by: `column`: as the manifest's own split column (or folders) says. `group`: by its group
            column, samples without a group by file. `random`: by file, whatever the groups.
            `auto`: `column` where the manifest has splits, else `group` where it has groups, else `random`.
        fractions: shares of train, val and test; they sum to 1, val and test may be 0. With folds, and
            where a split column names no `val`, validation takes val / (train + val) of what is not test.
        folds: K of K-fold cross-validation, 2 or more; None for one split.
        seed: which of the equally even splits.
        allow_leak: go on where groups stand in more than one part, and record it.
    """

    by: str = "auto"
    fractions: tuple[float, float, float] = (0.7, 0.15, 0.15)
    folds: int | None = None
    seed: int = 0
    allow_leak: bool = False

    def __post_init__(self) -> None:
        if self.by not in SPLIT_BY:
            raise UsageError(f"a split by '{self.by}'{nearest(self.by, SPLIT_BY)}", allowed=", ".join(SPLIT_BY))
        shares = self.fractions
        if len(shares) != len(SPLITS) or min(shares) < 0 or shares[_TRAIN] == 0 or abs(sum(shares) - 1) > 1e-6:
            raise UsageError(
                f"the fractions {', '.join(f'{share:g}' for share in shares)}, which sum to {sum(shares):g}",
                allowed="three shares of train, val and test that sum to 1, that of train above 0",
                next_step="such as 0.7, 0.15, 0.15",
            )
        if self.folds is not None and self.folds < 2:
            raise UsageError(f"{self.folds} folds", allowed="2 folds or more, or none for a single split")
        if self.folds is not None and self.by == "column":
            raise UsageError(
                f"{self.folds} folds of a split by column",
                allowed="folds by group or random, or the one split of the column",
                next_step="leave out --folds, or --split-by column",
            )

    def to_json(self) -> dict[str, Any]:
        """What `from_json` reads."""
        return asdict(self) | {"fractions": list(self.fractions)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SplitRule:
        """The rule that `to_json` wrote; DataError where it is none."""
        known = {entry.name for entry in fields(cls)}
        if set(data) != known:
            raise DataError(
                f"a split rule of {', '.join(sorted(data)) or 'nothing'}", allowed=f"exactly {', '.join(sorted(known))}"
            )
        return cls(**{**data, "fractions": tuple(data["fractions"])})


@dataclass(frozen=True, repr=False)
class Split:
    """Which samples of a manifest train, validate and test.

    Attributes:
        rule: as applied; `by` is never `auto`.
        fold: number of the fold that tests, in [0, rule.folds); None without folds.
        train: ascending indices into the manifest's samples; not empty.
        val: likewise; may be empty.
        test: likewise; may be empty. No index is in two parts.
        leaks: a sentence for each way in which two parts share groups or files; empty unless allowed.
        warnings: sentences about what else a reader of scores should know.
        fingerprint: SHA-256 over which sample (relative path and times) is in which part.
        manifest_fingerprint: that of the manifest.
    """

    rule: SplitRule
    fold: int | None
    train: tuple[int, ...]
    val: tuple[int, ...]
    test: tuple[int, ...]
    leaks: tuple[str, ...]
    warnings: tuple[str, ...]
    fingerprint: str
    manifest_fingerprint: str

    def part(self, name: str) -> tuple[int, ...]:
        """The indices of `train`, `val` or `test`; UsageError for another name, DataError for an empty part."""
        if name not in SPLITS:
            raise UsageError(f"split '{name}'{nearest(name, SPLITS)}", allowed=", ".join(SPLITS))
        indices: tuple[int, ...] = getattr(self, name)
        if not indices:
            filled = [other for other in SPLITS if getattr(self, other)]
            raise DataError(f"the {name} part of this split is empty", allowed=", ".join(filled))
        return indices

    def leave_out(self, manifest: Manifest, samples: Collection[Sample]) -> Split:
        """This split without `samples`, such as those that do not decode; the fingerprints stay.

        Raises:
            DataError: a class loses all that it is trained on.
        """
        gone = {index for index, sample in enumerate(manifest.samples) if sample in samples}
        kept = [tuple(index for index in part if index not in gone) for part in (self.train, self.val, self.test)]
        left = replace(self, train=kept[_TRAIN], val=kept[_VAL], test=kept[_TEST])
        _require_trained(manifest, left.train, range(len(manifest)))
        return left

    def to_json(self) -> dict[str, Any]:
        """What a report shows, and what `restore_split` makes this split from again."""
        return {
            "rule": self.rule.to_json(),
            "fold": self.fold,
            "samples": {name: len(getattr(self, name)) for name in SPLITS},
            "leaks": list(self.leaks),
            "warnings": list(self.warnings),
            "fingerprint": self.fingerprint,
            "manifest_fingerprint": self.manifest_fingerprint,
        }

    def __repr__(self) -> str:
        fold = "" if self.fold is None else f", fold {self.fold} of {self.rule.folds}"
        sizes = ", ".join(f"{name} {len(getattr(self, name))}" for name in SPLITS)
        return f"Split(by {self.rule.by}{fold}: {sizes})"


def make_splits(manifest: Manifest, rule: SplitRule) -> tuple[Split, ...]:
    """Split `manifest` by `rule`: one split, or one for each of K folds.

    Parts are stratified by label and as near to the shares asked for as whole groups allow. With
    folds, each sample tests exactly once.

    Raises:
        UsageError: the rule contradicts the manifest's own splits.
        DataError: groups would stand in more than one part, a class has too few groups for the
            parts or is tested without being trained, or the column asked for is not there.
    """
    rule = _resolve(manifest, rule)
    notes: list[str] = []
    if rule.by == "column":
        assigned = [_column(manifest, rule, notes)]
    elif rule.folds is None:
        filled = [part for part in range(len(SPLITS)) if rule.fractions[part] > 0]
        dealt = _deal(manifest, rule, np.arange(len(manifest)), [rule.fractions[part] for part in filled])
        assigned = [np.asarray(filled)[dealt]]
    else:
        fold_of = _deal(manifest, rule, np.arange(len(manifest)), [1 / rule.folds] * rule.folds)
        assigned = [
            _carve_validation(manifest, rule, np.where(fold_of == fold, _TEST, _TRAIN)) for fold in range(rule.folds)
        ]
    return tuple(
        _finish(manifest, rule, None if rule.folds is None else fold, parts, notes)
        for fold, parts in enumerate(assigned)
    )


def restore_split(manifest: Manifest, record: Mapping[str, Any]) -> Split:
    """The split that `Split.to_json` recorded, made again from its rule.

    A manifest whose files have changed in size, but not in name or label, gives the split with a warning.

    Raises:
        DataError: the same rule gives another split of this manifest, because rows or groups differ.
    """
    rule = SplitRule.from_json(record["rule"])
    split = make_splits(manifest, rule)[record["fold"] or 0]
    if split.fingerprint != record["fingerprint"]:
        then = sum(record["samples"].values())
        raise DataError(
            f"{manifest.source} is not the data set that was split: {len(manifest)} samples now, {then} then"
            + (", but with other paths, labels or groups" if then == len(manifest) else ""),
            allowed="the manifest that the model was trained with",
            next_step="give that manifest, or evaluate on all of this one with --split all",
        )
    if manifest.fingerprint == record["manifest_fingerprint"]:
        return split
    changed = "the videos are not the ones trained with: sizes or labels have changed since"
    return replace(split, warnings=(*split.warnings, changed))


def _resolve(manifest: Manifest, rule: SplitRule) -> SplitRule:
    unsplit = sum(sample.split is None for sample in manifest.samples)
    has_splits = unsplit < len(manifest)
    has_groups = any(sample.group is not None for sample in manifest.samples)
    if has_splits and (rule.folds is not None or rule.by in ("group", "random")):
        asked = f"--folds {rule.folds}" if rule.folds is not None else f"--split-by {rule.by}"
        raise UsageError(
            f"{asked}, but {manifest.source} says itself which samples train and test",
            allowed="its own split (--split-by column), or a manifest without one",
            next_step=f"leave out {asked}, or remove the split column (or merge the split folders)",
        )
    if rule.by == "group" and not has_groups:
        raise DataError(
            f"{manifest.source} has no groups to split by",
            allowed="a CSV file with a group column",
            next_step="add the column: what each clip was cut from, who is in it, or where it was filmed",
        )
    if rule.by == "column" and not has_splits:
        raise DataError(f"{manifest.source} has no split column", allowed="a split column, or --split-by group")
    by = rule.by if rule.by != "auto" else "column" if has_splits else "group" if has_groups else "random"
    if by == "column" and unsplit:
        raise DataError(
            f"{unsplit} of the {len(manifest)} samples of {manifest.source} are in no split",
            allowed=f"{', '.join(SPLITS)} in every row, or no split column",
        )
    return replace(rule, by=by)


def _column(manifest: Manifest, rule: SplitRule, notes: list[str]) -> _Parts:
    parts = np.asarray([SPLITS.index(sample.split or "") for sample in manifest.samples])
    if not (parts == _TRAIN).any():
        raise DataError(f"no sample of {manifest.source} is in split 'train'", allowed="some samples to train on")
    if (parts == _VAL).any() or rule.fractions[_VAL] == 0:
        return parts
    carved = _carve_validation(manifest, rule, parts)
    before, taken = (parts == _TRAIN).sum(), (carved == _VAL).sum()
    notes.append(f"the manifest names no val samples: {taken} of its {before} train samples validate")
    return carved


def _carve_validation(manifest: Manifest, rule: SplitRule, parts: _Parts) -> _Parts:
    """Turn a share of the train samples, stratified and by whole groups, into val samples."""
    share = rule.fractions[_VAL] / (rule.fractions[_TRAIN] + rule.fractions[_VAL])
    if share == 0:
        return parts
    rows = np.flatnonzero(parts == _TRAIN)
    carved = parts.copy()
    carved[rows] = np.asarray([_TRAIN, _VAL])[_deal(manifest, rule, rows, [1 - share, share])]
    return carved


def _deal(manifest: Manifest, rule: SplitRule, rows: NDArray[np.int64], shares: Sequence[float]) -> NDArray[np.int64]:
    """The part in [0, len(shares)) of each of `rows`."""
    by_group = rule.by != "random"
    units = [
        manifest.units[row] if by_group else f"file:{manifest.relative(manifest.samples[row].path)}" for row in rows
    ]
    targets = [manifest.targets[row] for row in rows]
    held: dict[int, set[str]] = {}
    for unit, target in zip(units, targets, strict=True):
        held.setdefault(target, set()).add(unit)
    what = "groups" if by_group and any(unit.startswith("group:") for unit in units) else "files"
    names = manifest.labels.require()
    scarce = [f"'{names[target]}': {len(own)} {what}" for target, own in sorted(held.items()) if len(own) < len(shares)]
    if scarce:
        raise DataError(
            f"{len(scarce)} classes have too few {what} for {len(shares)} parts:\n{listing(scarce)}",
            allowed=f"{len(shares)} {what} or more in every class, so that each part can have one",
            next_step=f"add {what}, take fewer folds, or give val (or test) no share",
        )
    return deal(units, targets, shares, seed=rule.seed)


def _finish(manifest: Manifest, rule: SplitRule, fold: int | None, parts: _Parts, notes: Sequence[str]) -> Split:
    indices = [tuple(np.flatnonzero(parts == part).tolist()) for part in range(len(SPLITS))]
    leaks = shared_by_parts(manifest, indices)
    if leaks and not rule.allow_leak:
        raise DataError(
            f"this split by {rule.by} would test on what was trained: {'; '.join(leaks)}",
            allowed="splits that keep every group and every file in one part",
            next_step="use --split-by group"
            + (" without the split column" if rule.by == "column" else "")
            + ", or pass --allow-leak, and every report will say so",
        )
    _require_trained(manifest, indices[_TRAIN], [*indices[_VAL], *indices[_TEST]])
    rows = sorted(
        [SPLITS[part], manifest.relative(sample.path), str(sample.start_seconds), str(sample.end_seconds)]
        for part, sample in zip(parts, manifest.samples, strict=True)
    )
    return Split(
        rule=rule,
        fold=fold,
        train=indices[_TRAIN],
        val=indices[_VAL],
        test=indices[_TEST],
        leaks=tuple(leaks),
        warnings=(*notes, *_warnings(manifest, indices)),
        fingerprint=hashlib.sha256(json.dumps(rows).encode()).hexdigest(),
        manifest_fingerprint=manifest.fingerprint,
    )


def shared_by_parts(manifest: Manifest, indices: Sequence[Sequence[int]]) -> list[str]:
    """A sentence for each way in which two of train, val and test, given as indices, share groups or files."""
    samples = manifest.samples
    groups = [{samples[index].group for index in part} - {None} for part in indices]
    files = [{samples[index].path for index in part} for part in indices]
    leaks = []
    for one, other in combinations(range(len(SPLITS)), 2):
        where = f"in both {SPLITS[one]} and {SPLITS[other]}"
        if shared := len(groups[one] & groups[other]):
            leaks.append(f"{shared} group{' has' if shared == 1 else 's have'} clips {where}")
        if shared := len(files[one] & files[other]):
            leaks.append(f"{shared} file{' has' if shared == 1 else 's have'} segments {where}")
    return leaks


def _require_trained(manifest: Manifest, train: Sequence[int], others: Sequence[int]) -> None:
    targets, names = manifest.targets, manifest.labels.require()
    untrained = sorted({targets[index] for index in others} - {targets[index] for index in train})
    if untrained:
        raise DataError(
            f"no training sample for {', '.join(names[target] for target in untrained)}",
            allowed="classes that training has samples of",
            next_step="move samples of these classes to train, remove the classes, or correct misspelt labels",
        )


def _warnings(manifest: Manifest, indices: Sequence[Sequence[int]]) -> list[str]:
    held = [Counter(manifest.targets[index] for index in part) for part in indices]
    counts = [[part[target] for target in range(manifest.labels.count)] for part in held]
    ungrouped = sum(sample.group is None for sample in manifest.samples)
    return doubts_of(manifest.labels, counts, ungrouped=ungrouped, samples=len(manifest))


def doubts_of(labels: LabelMap, counts: Sequence[Sequence[int]], *, ungrouped: int, samples: int) -> list[str]:
    """What a reader of scores should know of a split: a sentence each.

    Args:
        labels: the K classes.
        counts: samples of each class in train, val and test, (3, K).
        ungrouped: samples whose group is unknown.
        samples: how many there are in all.
    """
    doubts = []
    if ungrouped == samples:
        doubts.append(
            "there is no group column: clips of one recording may stand in more than one part, "
            "so near-duplicates cannot be excluded and scores may be too good"
        )
    elif ungrouped:
        doubts.append(f"{ungrouped} of {samples} samples have no group: each of their files counts as one")
    for part in (_VAL, _TEST):
        pairs = zip(labels.require(), counts[_TRAIN], counts[part], strict=True)
        lacking = ", ".join(name for name, trained, here in pairs if trained and not here)
        if any(counts[part]) and lacking:
            doubts.append(f"no {SPLITS[part]} sample of {lacking}: nothing is known of how well they are recognised")
    return doubts
