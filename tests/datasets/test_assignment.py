import shutil
from pathlib import Path

import pytest

from kinema.core.errors import DataError, UsageError
from kinema.datasets.assignment import assign, fold_path
from kinema.datasets.manifest import Manifest, Sample, read_manifest
from kinema.datasets.splits import SplitRule

HALVES = (0.5, 0, 0.5)


@pytest.fixture(scope="module")
def places(scenes, tmp_path_factory):
    """A folder of four places with three films each, of two classes in turn."""
    root = tmp_path_factory.mktemp("places")
    for place in range(4):
        for motion in range(3):
            label = ("calm", "fight")[(place + motion) % 2]
            scenes.write(root / label / f"{place}-{motion}.mp4", scenes.frames(place, motion, count=24))
    return root


def place_of(sample):
    return sample.path.name[0]


def test_clusters_become_groups(places):
    (made,) = assign(read_manifest(places), SplitRule(fractions=HALVES), group_by="clusters", workers=0)
    samples = made.manifest.samples
    groups = {place_of(sample): sample.group for sample in samples}
    assert all(sample.group == groups[place_of(sample)] for sample in samples)
    assert set(groups.values()) == {f"place-000{number}" for number in (1, 2, 3, 4)}
    assert made.split.rule.by == "group"
    assert len({(sample.group, sample.split) for sample in samples}) == 4
    assert made.notes[0].startswith("12 videos look like 4 different places")


def test_what_is_written_is_the_split(places):
    (made,) = assign(read_manifest(places), SplitRule(fractions=HALVES), group_by="clusters", workers=0)
    made.manifest.write(places / "split.csv")
    again = read_manifest(places / "split.csv")
    assert again.samples == made.manifest.samples
    (column,) = assign(again, SplitRule(by="column", fractions=HALVES))
    assert (column.split.train, column.split.test) == (made.split.train, made.split.test)


def test_counts_are_of_classes_and_parts(places):
    (made,) = assign(read_manifest(places), SplitRule(fractions=HALVES), group_by="clusters", workers=0)
    assert [count.label for count in made.counts] == ["calm", "fight"]
    assert all(count.train == count.test == 3 and count.val == 0 for count in made.counts)
    assert made.to_json()["classes"] == {label: {"train": 3, "val": 0, "test": 3} for label in ("calm", "fight")}


def test_clusters_join_the_groups_there_are(places):
    samples = [
        Sample(one.path, one.label, None, {"0": "street", "1": "street", "2": "yard"}.get(place_of(one)))
        for one in read_manifest(places).samples
    ]
    samples[0] = Sample(samples[0].path, samples[0].label)  # of the street, by its looks
    (made,) = assign(Manifest.of(places, samples), SplitRule(fractions=HALVES), group_by="clusters", workers=0)
    groups = {(place_of(sample), sample.group) for sample in made.manifest.samples}
    assert groups == {("0", "street"), ("1", "street"), ("2", "yard"), ("3", "place-0001")}


def test_a_split_at_random_that_parts_places_is_refused(places):
    with pytest.raises(DataError, match="places with several videos have some of them in two parts") as caught:
        assign(read_manifest(places), SplitRule(fractions=HALVES), workers=0)
    assert "--group-by clusters" in caught.value.next_step


def test_a_split_at_random_that_parts_places_may_be_asked_for(places):
    rule = SplitRule(fractions=HALVES, allow_leak=True)
    (made,) = assign(read_manifest(places), rule, workers=0)
    assert made.notes[0].endswith("scores will be too good")


def test_a_split_at_random_of_different_places_is_fine(scenes, tmp_path):
    for place in range(4):
        scenes.write(tmp_path / ("calm", "fight")[place % 2] / f"{place}.mp4", scenes.frames(place, 0, count=24))
    (made,) = assign(read_manifest(tmp_path), SplitRule(fractions=HALVES), workers=0)
    assert (made.split.rule.by, made.notes) == ("random", ())


def test_groups_of_the_column_need_no_decoding(place):
    root = place(*(f"{label}/{number}.mp4" for label in ("calm", "fight") for number in range(6)))
    samples = [
        Sample(one.path, one.label, None, f"g{number % 3}") for number, one in enumerate(read_manifest(root).samples)
    ]
    rule = SplitRule(folds=3, fractions=(0.8, 0.2, 0))
    made = assign(Manifest.of(root, samples), SplitRule(folds=3, fractions=(1, 0, 0)))
    assert [one.split.fold for one in made] == [0, 1, 2]
    assert sorted(index for one in made for index in one.split.test) == list(range(12))
    assert made == assign(Manifest.of(root, samples), SplitRule(folds=3, fractions=(1, 0, 0)))
    assert rule.folds == 3


def test_files_that_do_not_decode_are_places_of_their_own(place):
    root = place(*(f"{label}/{number}.mp4" for label in ("calm", "fight") for number in range(4)))
    (made,) = assign(read_manifest(root), SplitRule(fractions=HALVES), group_by="clusters", workers=0)
    assert len({sample.group for sample in made.manifest.samples}) == 8


def test_copies_are_one_place_even_where_they_do_not_decode(place):
    root = place("calm/a.mp4", "calm/b.mp4", "calm/c.mp4", "fight/a.mp4", "fight/b.mp4")
    shutil.copy(root / "calm/a.mp4", root / "fight/copy.mp4")
    (made,) = assign(read_manifest(root), SplitRule(fractions=HALVES), group_by="clusters", workers=0)
    groups = {sample.path.name: sample.group for sample in made.manifest.samples if sample.path.name != "b.mp4"}
    calm = next(sample for sample in made.manifest.samples if sample.path == root / "calm/a.mp4")
    assert groups["copy.mp4"] == calm.group


@pytest.mark.parametrize("by", ["random", "column"])
def test_clusters_are_for_splits_by_group(places, by):
    with pytest.raises(UsageError, match=f"groups by clusters, and a split by {by}"):
        assign(read_manifest(places), SplitRule(by=by), group_by="clusters")


def test_an_unknown_way_of_grouping(places):
    with pytest.raises(UsageError, match="groups by 'cluster'"):
        assign(read_manifest(places), SplitRule(), group_by="cluster")


def test_where_folds_are_written():
    assert fold_path(Path("a/splits.csv"), None) == Path("a/splits.csv")
    assert fold_path(Path("a/splits.csv"), 0) == Path("a/splits-fold1.csv")
