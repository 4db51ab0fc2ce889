import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinema.core.errors import DataError, UsageError
from kinema.datasets.manifest import Manifest, Sample, read_manifest
from kinema.datasets.splits import SplitRule, make_splits, restore_split

FRACTIONS = st.sampled_from([(0.7, 0.15, 0.15), (0.6, 0.2, 0.2), (0.8, 0.0, 0.2), (0.5, 0.5, 0.0), (1.0, 0.0, 0.0)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("videos")
    for number in range(120):
        (root / f"{number:03}.mp4").touch()
    return root


def manifest_of(root, rows):
    """A manifest of (label, group, split) rows, a file each."""
    return Manifest.of(
        root,
        [Sample(root / f"{number:03}.mp4", label, split, group) for number, (label, group, split) in enumerate(rows)],
    )


def grouped(root, groups=12, clips=6):
    """Two classes; every group has clips of both."""
    rows = [("ab"[clip % 2], f"g{group}", None) for group in range(groups) for clip in range(clips)]
    return manifest_of(root, rows)


def ungrouped(root, count=60):
    return manifest_of(root, [("abc"[number % 3], None, None) for number in range(count)])


def columned(root, splits, label="ab", group=None):
    rows = [(label[number % len(label)], group and group(number), split) for number, split in enumerate(splits)]
    return manifest_of(root, rows)


ROWS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 24)), max_size=70).map(
    # Three groups of its own for every class, so that every part can have all classes.
    lambda rows: (
        [(label, f"g{group}", None) for label, group in rows]
        + [(label, f"own-{label}{number}", None) for label in "abc" for number in range(5)]
    )
)


@settings(max_examples=60, deadline=None)
@given(rows=ROWS, fractions=FRACTIONS, seed=st.integers(0, 9))
def test_no_group_crosses_and_every_sample_is_used_once(folder, rows, fractions, seed):
    manifest = manifest_of(folder, rows)
    rule = SplitRule(fractions=fractions, seed=seed)
    (split,) = make_splits(manifest, rule)
    parts = (split.train, split.val, split.test)
    assert sorted(index for part in parts for index in part) == list(range(len(manifest)))
    groups = [{manifest.samples[index].group for index in part} for part in parts]
    assert sum(map(len, groups)) == len(set.union(*groups))
    assert split.leaks == ()
    assert make_splits(manifest, rule) == (split,)
    for part, share in zip(parts, fractions, strict=True):
        assert bool(part) == (share > 0)
        assert list(part) == sorted(part)


@settings(max_examples=40, deadline=None)
@given(rows=ROWS, folds=st.integers(2, 4), seed=st.integers(0, 9))
def test_every_sample_tests_in_exactly_one_fold(folder, rows, folds, seed):
    manifest = manifest_of(folder, rows)
    splits = make_splits(manifest, SplitRule(folds=folds, seed=seed))
    assert [split.fold for split in splits] == list(range(folds))
    assert sorted(index for split in splits for index in split.test) == list(range(len(manifest)))
    for split in splits:
        parts = (split.train, split.val, split.test)
        assert sorted(index for part in parts for index in part) == list(range(len(manifest)))
        groups = [{manifest.samples[index].group for index in part} for part in parts]
        assert sum(map(len, groups)) == len(set.union(*groups))


@settings(max_examples=40, deadline=None)
@given(rows=ROWS, seed=st.integers(0, 9), folds=st.sampled_from([None, 3]), random=st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(folder, rows, seed, folds, random):
    manifest = manifest_of(folder, rows)
    order = list(range(len(manifest)))
    random.shuffle(order)
    shuffled = manifest.take(order)
    rule = SplitRule(seed=seed, folds=folds)
    for one, other in zip(make_splits(manifest, rule), make_splits(shuffled, rule), strict=True):
        for part in ("train", "val", "test"):
            there = {shuffled.samples[index] for index in getattr(other, part)}
            assert {manifest.samples[index] for index in getattr(one, part)} == there
        assert one.fingerprint == other.fingerprint


@pytest.mark.parametrize("make", [grouped, ungrouped])
@pytest.mark.parametrize("seed", range(5))
def test_parts_are_stratified_and_near_their_shares(folder, make, seed):
    manifest = make(folder)
    (split,) = make_splits(manifest, SplitRule(fractions=(0.5, 0.25, 0.25), seed=seed))
    for part, share in ((split.train, 0.5), (split.val, 0.25), (split.test, 0.25)):
        counts = Counter(manifest.samples[index].label for index in part)
        assert len(part) == pytest.approx(share * len(manifest), abs=1)
        for label in manifest.labels.require():
            assert counts[label] == pytest.approx(share * len(manifest) / len(manifest.labels), abs=1)


def test_the_seed_chooses(folder):
    manifest = grouped(folder)
    assert len({make_splits(manifest, SplitRule(seed=seed))[0].fingerprint for seed in range(8)}) == 8


def test_five_folds_of_real_clips(shared_video):
    manifest = read_manifest(shared_video / "surv_fight" / "clips.csv")
    splits = make_splits(manifest, SplitRule(folds=5))
    for split in splits:
        assert abs(len(split.test) - 45) <= 6
        shares = Counter(manifest.samples[index].label for index in split.test)
        assert set(shares) == {"fight", "noFight"}
        assert max(shares.values()) <= 0.55 * len(split.test)
        assert not {manifest.samples[i].group for i in split.test} & {manifest.samples[i].group for i in split.train}
    assert splits[0].rule == SplitRule(by="group", folds=5)


def test_a_random_split_of_real_clips_is_refused_with_the_reason(shared_video):
    manifest = read_manifest(shared_video / "surv_fight" / "clips.csv")
    with pytest.raises(DataError, match=r"split by random .* \d+ groups have clips in both train and test") as caught:
        make_splits(manifest, SplitRule(by="random"))
    assert "--split-by group" in caught.value.next_step
    assert "--allow-leak" in caught.value.next_step


# Which rule applies


@pytest.mark.parametrize(
    ("splits", "groups", "by"),
    [(True, True, "column"), (True, False, "column"), (False, True, "group"), (False, False, "random")],
)
def test_auto_takes_the_best_that_the_manifest_offers(folder, splits, groups, by):
    rows = [
        (
            "ab"[number % 2],
            f"g{number}" if groups else None,
            ("train", "val", "test")[number % 9 // 3] if splits else None,
        )
        for number in range(45)
    ]
    (split,) = make_splits(manifest_of(folder, rows), SplitRule())
    assert split.rule.by == by


def test_a_column_is_followed_to_the_letter(folder):
    splits = [("train", "test", "val", "train")[number % 8 // 2] for number in range(40)]
    (split,) = make_splits(columned(folder, splits), SplitRule())
    for part in ("train", "val", "test"):
        assert [splits[index] for index in split.part(part)] == [part] * splits.count(part)


def test_validation_is_carved_from_train_where_the_column_has_none(folder):
    splits = ["train"] * 60 + ["test"] * 20
    manifest = columned(folder, splits, group=lambda number: f"g{number // 4}")
    (split,) = make_splits(manifest, SplitRule(fractions=(0.6, 0.2, 0.2)))
    assert split.test == tuple(range(60, 80))
    assert len(split.val) == 15 + 1  # a quarter, in whole groups of four
    assert "the manifest names no val samples: 16 of its 60 train samples validate" in split.warnings
    (whole,) = make_splits(manifest, SplitRule(fractions=(0.8, 0.0, 0.2)))
    assert (whole.train, whole.val, whole.warnings) == (tuple(range(60)), (), ())


def test_folds_validate_on_a_share_of_what_is_left(folder):
    for split in make_splits(grouped(folder, groups=20), SplitRule(folds=5, fractions=(0.75, 0.25, 0.0))):
        assert (len(split.train), len(split.val), len(split.test)) == (72, 24, 24)
    for split in make_splits(grouped(folder, groups=20), SplitRule(folds=5, fractions=(0.8, 0.0, 0.2))):
        assert (len(split.train), len(split.val), len(split.test)) == (96, 0, 24)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"by": "group"}, "--split-by group, but .* says itself"),
        ({"by": "random"}, "--split-by random, but .* says itself"),
        ({"folds": 3}, "--folds 3, but .* says itself"),
    ],
)
def test_a_split_of_its_own_is_not_overruled(folder, rule, message):
    with pytest.raises(UsageError, match=message) as caught:
        make_splits(columned(folder, ["train", "train", "test", "test"]), SplitRule(**rule))
    assert "--split-by column" in caught.value.allowed


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"by": "groups"}, "a split by 'groups'; did you mean 'group'"),
        ({"folds": 1}, "1 folds"),
        ({"folds": 5, "by": "column"}, "5 folds of a split by column"),
        ({"fractions": (0.7, 0.2, 0.2)}, "0.7, 0.2, 0.2, which sum to 1.1"),
        ({"fractions": (0.7, 0.3)}, "0.7, 0.3, which sum to 1"),
        ({"fractions": (1.2, -0.1, -0.1)}, "1.2, -0.1, -0.1"),
        ({"fractions": (0.0, 0.5, 0.5)}, "0, 0.5, 0.5"),
    ],
)
def test_rules_that_are_none(rule, message):
    with pytest.raises(UsageError, match=message) as caught:
        SplitRule(**rule)
    assert caught.value.allowed


# What cannot be split


@pytest.mark.parametrize(
    ("make", "rule", "message"),
    [
        (ungrouped, {"by": "group"}, "has no groups to split by"),
        (grouped, {"by": "column"}, "has no split column"),
        (grouped, {"folds": 13}, "2 classes have too few groups for 13 parts:\n  'a': 12 groups"),
        (ungrouped, {"folds": 21}, "3 classes have too few files for 21 parts:\n  'a': 20 files"),
        (lambda root: columned(root, ["val", "test"]), {}, "no sample of .* is in split 'train'"),
        (lambda root: columned(root, ["train", None, "test", None]), {}, "2 of the 4 samples of .* are in no split"),
        (lambda root: columned(root, ["train", "val", "train", "test"]), {}, "no training sample for b"),
    ],
)
def test_manifests_that_cannot_be_split_so(folder, make, rule, message):
    with pytest.raises(DataError, match=message) as caught:
        make_splits(make(folder), SplitRule(**rule))
    assert caught.value.allowed


def test_a_class_in_too_few_groups_is_named_alone(folder):
    rows = [("a", f"g{number}", None) for number in range(10)] + [("b", f"g{number % 2}", None) for number in range(10)]
    with pytest.raises(DataError, match="1 classes have too few groups for 3 parts:\n  'b': 2 groups"):
        make_splits(manifest_of(folder, rows), SplitRule())
    (split,) = make_splits(manifest_of(folder, rows), SplitRule(fractions=(0.5, 0.0, 0.5)))
    assert len(split.train) + len(split.test) == 20


# Leaks and warnings


def test_a_leak_that_is_allowed_is_counted(folder):
    (split,) = make_splits(grouped(folder, groups=3, clips=40), SplitRule(by="random", allow_leak=True))
    assert split.leaks == (
        "3 groups have clips in both train and val",
        "3 groups have clips in both train and test",
        "3 groups have clips in both val and test",
    )
    assert split.to_json()["leaks"] == list(split.leaks)


def test_a_random_split_is_fine_where_every_file_is_its_own_group(folder):
    rows = [("ab"[number % 2], f"g{number}", None) for number in range(30)]
    (split,) = make_splits(manifest_of(folder, rows), SplitRule(by="random"))
    assert split.leaks == ()


def test_a_column_that_tears_groups_apart_is_refused_too(folder):
    manifest = columned(folder, ["train", "train", "val", "val", "test", "test"], group=lambda number: f"g{number % 4}")
    with pytest.raises(DataError, match="2 groups have clips in both train and test") as caught:
        make_splits(manifest, SplitRule())
    assert "without the split column" in caught.value.next_step
    (split,) = make_splits(manifest, SplitRule(allow_leak=True))
    assert split.leaks == ("2 groups have clips in both train and test",)


def segments(root, splits=(None, None)):
    return Manifest.of(
        root,
        [
            Sample(root / f"{number:03}.mp4", label, split, None, start, start + 1)
            for number in range(20)
            for start, label, split in ((0.0, "a", splits[0]), (1.0, "b", splits[1]))
        ],
    )


def test_segments_of_one_file_stay_together(folder):
    manifest = segments(folder)
    (split,) = make_splits(manifest, SplitRule())
    for index in range(0, 40, 2):
        assert len({part for part in ("train", "val", "test") if {index, index + 1} & set(split.part(part))}) == 1


def test_a_column_that_tears_files_apart_is_refused(folder):
    with pytest.raises(DataError, match="20 files have segments in both train and test"):
        make_splits(segments(folder, ("train", "test")), SplitRule(fractions=(0.8, 0.0, 0.2)))


def test_without_groups_the_split_says_what_it_cannot_exclude(folder):
    (split,) = make_splits(ungrouped(folder), SplitRule())
    assert len(split.warnings) == 1
    assert "near-duplicates cannot be excluded" in split.warnings[0]


def test_samples_without_a_group_are_counted(folder):
    manifest = grouped(folder)
    samples = [replace(sample, group=None) if number < 5 else sample for number, sample in enumerate(manifest.samples)]
    (split,) = make_splits(Manifest.of(folder, samples), SplitRule())
    assert split.warnings == ("5 of 72 samples have no group: each of their files counts as one",)


def test_a_class_that_is_not_tested_is_named(folder):
    splits = ["train"] * 6 + ["val", "val", "test"]
    (split,) = make_splits(columned(folder, splits, group=str), SplitRule())
    assert split.warnings == ("no test sample of b: nothing is known of how well they are recognised",)


# Made again from its record


@pytest.mark.parametrize("rule", [SplitRule(), SplitRule(folds=3, seed=4), SplitRule(by="random", allow_leak=True)])
def test_a_split_is_made_again_from_its_record(folder, rule):
    manifest = grouped(folder)
    for split in make_splits(manifest, rule):
        record = json.loads(json.dumps(split.to_json()))
        assert restore_split(manifest, record) == split
        assert SplitRule.from_json(record["rule"]) == split.rule
        assert record["samples"] == {"train": len(split.train), "val": len(split.val), "test": len(split.test)}


def test_another_data_set_is_noticed(folder):
    (split,) = make_splits(grouped(folder), SplitRule())
    with pytest.raises(DataError, match="60 samples now, 72 then"):
        restore_split(grouped(folder, groups=10), split.to_json())
    regrouped = [replace(sample, group=f"h{number}") for number, sample in enumerate(grouped(folder).samples)]
    with pytest.raises(DataError, match="72 samples now, 72 then, but with other"):
        restore_split(Manifest.of(folder, regrouped), split.to_json())


def test_files_of_another_size_are_noticed(tmp_path):
    for number in range(72):
        (tmp_path / f"{number:03}.mp4").touch()
    (split,) = make_splits(grouped(tmp_path), SplitRule())
    (tmp_path / "005.mp4").write_bytes(b"re-encoded")
    again = restore_split(grouped(tmp_path), split.to_json())
    assert (again.train, again.val, again.test) == (split.train, split.val, split.test)
    assert any("not the ones trained with" in warning for warning in again.warnings)


@pytest.mark.parametrize("change", [{"flods": 3}, {"seed": None}])
def test_a_rule_of_other_keys_is_refused(change):
    record = SplitRule().to_json() | change
    if change == {"seed": None}:
        del record["seed"]
    with pytest.raises(DataError, match="a split rule of"):
        SplitRule.from_json(record)


# A split in use


def test_parts_by_name(folder):
    (split,) = make_splits(grouped(folder), SplitRule(fractions=(0.8, 0.0, 0.2)))
    assert split.part("test") == split.test
    assert repr(split) == "Split(by group: train 60, val 0, test 12)"
    with pytest.raises(DataError, match="the val part of this split is empty") as caught:
        split.part("val")
    assert caught.value.allowed == "train, test"
    with pytest.raises(UsageError, match="split 'tests'; did you mean 'test'"):
        split.part("tests")


def test_broken_files_are_left_out_of_the_same_split(folder):
    manifest = grouped(folder)
    (split,) = make_splits(manifest, SplitRule())
    gone = [split.train[0], split.test[-1]]
    left = split.leave_out(manifest, {manifest.samples[index] for index in gone})
    assert left.train == split.train[1:]
    assert left.test == split.test[:-1]
    assert left.fingerprint == split.fingerprint
    everything = [manifest.samples[index] for index in split.train if manifest.samples[index].label == "a"]
    with pytest.raises(DataError, match="no training sample for a"):
        split.leave_out(manifest, everything)


def test_large_data_sets_are_split_quickly(folder):
    rng = np.random.default_rng(0)
    samples = [
        Sample(folder / f"{number}.mp4", f"class {rng.integers(100)}", None, f"g{rng.integers(2500)}")
        for number in range(10_000)
    ]
    manifest = Manifest.of(folder, samples)
    object.__setattr__(manifest, "fingerprint", "of files that are not there")
    (split,) = make_splits(manifest, SplitRule())
    assert len(split.train) == pytest.approx(7000, abs=30)
