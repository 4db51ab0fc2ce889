"""Class names, known and unknown."""

import hashlib

import pytest

from kinema.core.errors import DataError, UsageError, WeightsError
from kinema.core.labels import LabelMap, list_published_labels, merge_labels, published_labels


def test_names_and_indices():
    labels = LabelMap.of(name for name in ("normal", "selfharm", "fall"))
    assert len(labels) == labels.count == 3
    assert labels.is_known
    assert [labels.name(index) for index in range(3)] == ["normal", "selfharm", "fall"]
    assert labels.index("fall") == 2
    assert labels.require() == ("normal", "selfharm", "fall")


@pytest.mark.parametrize(
    ("build", "told"),
    [
        (lambda: LabelMap(0), "0 classes"),
        (lambda: LabelMap.of([]), "0 classes"),
        (lambda: LabelMap(3, ("a", "b")), "2 class names for 3 classes"),
        (lambda: LabelMap.of(["a", "b", "a"]), "given twice: a"),
    ],
)
def test_impossible_maps_are_refused(build, told):
    with pytest.raises(DataError, match=told):
        build()


def test_a_misspelt_name_is_answered_with_the_nearest():
    with pytest.raises(DataError, match=r"no class named 'normall'; did you mean 'normal'\?") as caught:
        LabelMap.of(["normal", "fall"]).index("normall")
    assert caught.value.allowed == "normal, fall"


@pytest.mark.parametrize("ask", [lambda labels: labels.name(0), lambda labels: labels.index("a"), LabelMap.require])
def test_unknown_names_are_not_invented(ask):
    labels = LabelMap.unknown(4)
    assert not labels.is_known
    assert len(labels) == 4
    with pytest.raises(WeightsError, match="names of these 4 classes are unknown"):
        ask(labels)


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        (LabelMap.unknown(4), "LabelMap(4 unknown)"),
        (LabelMap.of("ab"), "LabelMap(2: a, b)"),
        (LabelMap.of("abcd"), "LabelMap(4: a, b, c, …)"),
    ],
)
def test_repr_is_short(labels, text):
    assert repr(labels) == text


# data set: classes, the first, one further down with its index, the last
PUBLISHED = {
    "activitynet200": (200, "Applying sunscreen", (8, "Blow-drying hair"), "Playing badminton"),
    "hmdb51": (51, "brush_hair", (7, "dive"), "wave"),
    "kinetics400": (400, "abseiling", (374, "using remote controller (not gaming)"), "zumba"),
    "kinetics600": (600, "abseiling", (17, "backflip (human)"), "zumba"),
    "kinetics700": (700, "abseiling", (13, "arresting"), "zumba"),
    "moments_in_time": (339, "clapping", (1, "praying"), "typing"),
    "stair_actions": (100, "drinking", (5, "washing_hands"), "smiling"),
    "ucf101": (101, "ApplyEyeMakeup", (16, "BoxingPunchingBag"), "YoYo"),
}


def test_every_published_list_is_checked_here():
    assert list_published_labels() == sorted(PUBLISHED)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_lists_keep_their_order(name):
    count, first, (index, inner), last = PUBLISHED[name]
    labels = published_labels(name)
    names = labels.require()
    assert labels.count == count
    assert len({label.casefold() for label in names}) == count
    assert all(label and label == label.strip() for label in names)
    assert (names[0], names[index], names[-1]) == (first, inner, last)


@pytest.mark.parametrize(
    ("name", "git_blob"),
    [
        # google-deepmind/kinetics-i3d: data/label_map.txt and data/label_map_600.txt; the first is also
        # class_names_list of kenshohara/video-classification-3d-cnn-pytorch.
        ("kinetics400", "cdaafcb1415eee46483561e78cb4747cce76a933"),
        ("kinetics600", "639e9c91fa8a941ea57942872fae55628d590b42"),
    ],
)
def test_lists_are_those_of_the_weights_published_with_them(name, git_blob):
    text = "".join(f"{label}\n" for label in published_labels(name).require()).encode()
    assert hashlib.sha1(b"blob %d\0" % len(text) + text).hexdigest() == git_blob


def test_kinetics400_is_numbered_as_torchvision_does():
    from torchvision.models.video.resnet import R3D_18_Weights

    assert list(published_labels("kinetics400").require()) == R3D_18_Weights.DEFAULT.meta["categories"]


def test_an_unknown_list_is_answered_with_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'kinetics400'"):
        published_labels("kinetics-400")


@pytest.mark.parametrize(
    ("names", "apart", "joined"),
    [
        (("kinetics700", "moments_in_time"), 1039, 1000),
        (("kinetics700", "stair_actions"), 800, 793),
        (("moments_in_time", "stair_actions"), 439, 417),
        (("kinetics700", "moments_in_time", "stair_actions"), 1139, 1076),
    ],
)
def test_the_merged_data_sets_of_the_papers_keep_all_classes_apart(names, apart, joined):
    maps = {name: published_labels(name) for name in names}
    prefixed = merge_labels(maps, "prefix")
    assert prefixed.count == apart
    assert merge_labels(maps, "union").count == joined
    assert prefixed.name(700 if names[0] == "kinetics700" else 339).startswith(f"{names[1]}/")
    assert prefixed.parts[0].indices == tuple(range(maps[names[0]].count))


def test_merging_remembers_where_classes_come_from():
    maps = {"a": LabelMap.of(["run", "hit"]), "b": LabelMap.of(["nap", "run"])}
    merged = merge_labels(maps, "union")
    assert merged.names == ("run", "hit", "nap")
    assert [(part.dataset, part.names, part.indices) for part in merged.parts] == [
        ("a", ("run", "hit"), (0, 1)),
        ("b", ("nap", "run"), (2, 0)),
    ]
    assert merged == LabelMap.of(["run", "hit", "nap"])


def test_merging_asks_for_two_and_for_a_rule():
    with pytest.raises(UsageError, match="did you mean 'prefix'"):
        merge_labels({}, "prefx")
    with pytest.raises(DataError, match="1 data set"):
        merge_labels({"a": LabelMap.of(["run"])}, "union")
    with pytest.raises(WeightsError):
        merge_labels({"a": LabelMap.of(["run"]), "b": LabelMap.unknown(3)}, "union")
