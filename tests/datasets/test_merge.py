import pytest

from kinema.core.errors import DataError, UsageError
from kinema.core.labels import LabelMap, merge_labels, published_labels
from kinema.datasets.manifest import Manifest, read_manifest
from kinema.datasets.merge import alike, merge, names_of
from kinema.datasets.sample import Sample
from kinema.datasets.splits import SplitRule, make_splits


@pytest.fixture
def two(place):
    """Two data sets that share a class name, a group name and file names."""
    root = place("a/run/1.mp4", "a/hit/2.mp4", "b/run/1.mp4", "b/nap/2.mp4")
    first = [Sample(root / "a/run/1.mp4", "run", "train", "g1"), Sample(root / "a/hit/2.mp4", "hit", "train", "g2")]
    second = [Sample(root / "b/run/1.mp4", "run", "test", "g1"), Sample(root / "b/nap/2.mp4", "nap", "train", None)]
    return root, {
        "a": Manifest.of(root / "a", first, labels=LabelMap.of(["run", "hit", "sit"])),
        "b": Manifest.of(root / "b", second),
    }


def test_prefix_keeps_all_classes_apart(two):
    root, manifests = two
    merged = merge(manifests, root / "all.csv", rule="prefix")
    assert merged.labels.names == ("a/run", "a/hit", "a/sit", "b/nap", "b/run")
    assert [sample.label for sample in merged.samples] == ["a/run", "a/hit", "b/run", "b/nap"]


def test_union_makes_equal_names_one_class(two):
    root, manifests = two
    merged = merge(manifests, root / "all.csv", rule="union")
    assert merged.labels.names == ("run", "hit", "sit", "nap")
    assert merged.targets == (0, 1, 0, 3)


@pytest.mark.parametrize("rule", ["prefix", "union"])
def test_parts_data_sets_and_groups_survive_the_file(two, rule):
    root, manifests = two
    merge(manifests, root / "all.csv", rule=rule).write(root / "all.csv")
    merged = read_manifest(root / "all.csv")
    assert [sample.dataset for sample in merged.samples] == ["a", "a", "b", "b"]
    assert [sample.group for sample in merged.samples] == ["a/g1", "a/g2", "b/g1", None]
    assert [(part.dataset, part.names) for part in merged.labels.parts] == [
        ("a", ("run", "hit", "sit")),
        ("b", ("nap", "run")),
    ]
    for part in merged.labels.parts:
        for sample in merged.samples:
            if sample.dataset == part.dataset:
                own = part.names[part.indices.index(merged.labels.index(sample.label))]
                assert sample.label in {own, f"{part.dataset}/{own}"}


def test_equal_group_names_of_two_data_sets_are_two_groups(two):
    """Group g1 trains in one and tests in the other: no leak."""
    root, manifests = two
    rule = SplitRule(by="column", fractions=(0.5, 0, 0.5))
    (split,) = make_splits(merge(manifests, root / "all.csv", rule="union"), rule)
    assert not split.leaks


def test_what_cannot_be_merged_is_refused(two, tmp_path):
    root, manifests = two
    with pytest.raises(UsageError, match="did you mean 'union'"):
        merge(manifests, root / "all.csv", rule="unoin")
    with pytest.raises(DataError, match="1 data set to merge"):
        merge({"a": manifests["a"]}, root / "all.csv", rule="union")
    with pytest.raises(DataError, match="4 videos lie outside"):
        merge(manifests, tmp_path / "elsewhere/all.csv", rule="union")
    with pytest.raises(DataError, match="2 videos lie in two"):
        merge({"a": manifests["a"], "c": manifests["a"]}, root / "all.csv", rule="union")
    merged = merge(manifests, root / "all.csv", rule="union")
    with pytest.raises(DataError, match="merged before: ab"):
        merge({"ab": merged, "b": manifests["b"]}, root / "all.csv", rule="union")


def test_a_data_set_is_called_like_its_file_or_folder(tmp_path):
    (tmp_path / "clips").mkdir()
    paths = [tmp_path / "clips", tmp_path / "k.700.csv"]
    assert names_of(paths) == {"clips": paths[0], "k.700": paths[1]}
    with pytest.raises(DataError, match="two data sets called k"):
        names_of([tmp_path / "a/k.csv", tmp_path / "b/k.csv"])


@pytest.mark.parametrize(
    ("names", "counts"),
    [
        (("kinetics700", "moments_in_time"), (1039, 1000, 1)),
        (("kinetics700", "moments_in_time", "stair_actions"), (1139, 1076, 12)),
        (("kinetics700", "stair_actions"), (800, 793, 11)),
        (("moments_in_time", "stair_actions"), (439, 417, 0)),
    ],
)
def test_the_merged_sets_of_the_papers(names, counts):
    """As their authors counted classes; as a union; and how many names of the union seem to mean the same."""
    maps = {name: published_labels(name) for name in names}
    union = merge_labels(maps, "union")
    assert (merge_labels(maps, "prefix").count, union.count, len(alike(union))) == counts


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("brushing hair", "brush_hair"),
        ("cartwheeling", "cartwheel"),
        ("ApplyLipstick", "applying a lipstick"),
        ("making tea", "make+tea"),
        ("running", "run"),
        ("rolling", "roll"),
        ("watching tv", "watching_TV"),
        ("push ups", "PushUps"),
        ("ride_bike", "riding the bike"),
        ("걷기 1", "걷기_1"),
        ("passing", "pass"),
    ],
)
def test_names_that_are_alike(one, other):
    maps = {"a": LabelMap.of([one, "z"]), "b": LabelMap.of(["y", other])}
    assert alike(merge_labels(maps, "union")) == ((f"a/{one}", f"b/{other}"),)


@pytest.mark.parametrize(
    ("one", "other"),
    [("sing", "s"), ("ring", "r"), ("walk 1", "walk 2"), ("running", "jumping"), ("bus", "bu"), ("kiss", "kis s")],
)
def test_names_that_are_not(one, other):
    maps = {"a": LabelMap.of([one, "z"]), "b": LabelMap.of(["y", other])}
    assert alike(merge_labels(maps, "union")) == ()


def test_only_classes_of_several_data_sets_that_stand_apart_are_alike():
    maps = {"a": LabelMap.of(["Run", "run", "hit"]), "b": LabelMap.of(["hit", "nap"])}
    assert alike(merge_labels(maps, "union")) == ()
    maps = {"a": LabelMap.of(["hit"]), "b": LabelMap.of(["hit"]), "c": LabelMap.of(["Hits"])}
    assert alike(merge_labels(maps, "union")) == (("a/hit", "b/hit", "c/Hits"),)
