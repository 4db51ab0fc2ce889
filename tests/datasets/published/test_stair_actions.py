import pytest

from kinema.core.errors import DataError
from kinema.core.labels import published_labels

LISTS = {
    "data/videolist_train.txt": "drinking/a001-0001Y.mp4 1\nbottle-feeding_baby/a067-0002C.mp4 56\n",
    "data/videolist_val.txt": "drinking/a001-0363C.mp4 1\nsmiling/a120-0878X.mp4 100\n",
}
VIDEOS = (
    "STAIR_Actions_v1.1/drinking/a001-0001Y.mp4",
    "STAIR_Actions_v1.1/drinking/a001-0363C.mp4",
    "STAIR_Actions_v1.1/smiling/a120-0878X.mp4",
)


@pytest.fixture
def lists():
    number = published_labels("stair_actions").index("bottle-feeding_baby") + 1
    return {name: text.replace(" 56\n", f" {number}\n") for name, text in LISTS.items()}


def test_the_layout_as_it_is_unpacked(lay, taken, lists):
    found, manifest = taken("stair_actions", lay(*VIDEOS, **lists))
    assert [(one.path.name, one.label, one.split) for one in manifest.samples] == [
        ("a001-0001Y.mp4", "drinking", "train"),
        ("a001-0363C.mp4", "drinking", "val"),
        ("a120-0878X.mp4", "smiling", "val"),
    ]
    assert manifest.targets == (0, 0, 99)
    assert [(one.name, one.reason) for one in found.absent] == [
        ("bottle-feeding_baby/a067-0002C.mp4", "not on the disk")
    ]


def test_licence_letters_are_counted(lay, taken, lists):
    notes = taken("stair_actions", lay(*VIDEOS, **lists))[0].notes
    assert notes[0] == "licence letters: C 1, X 1, Y 1"
    assert "there is no clipping_X.sh" in notes[1]


SCRIPTS = {
    "script/clipping_X.sh": "#!/bin/sh\ndone << EOS\n-3B32lodo2M 85 5 a120-0878X.mp4\nEOS\n",
    "script/clipping_Y.sh": "done << EOS\n_4YTwq0-73Y 0.5 4.25 a001-0001Y.mp4\n_4YTwq0-73Y 9 5 a001-0009Y.mp4\nEOS\n",
}


@pytest.mark.parametrize("place", ["below the root", "beside the lists", "beside their folder", "beside one list"])
def test_the_video_on_youtube_is_the_group(lay, taken, lists, place):
    """As the publisher's repository has it: lists in data, scripts in script."""
    if place == "below the root":
        root, annotations = lay(*VIDEOS, **lists, **SCRIPTS), None
    else:
        root, annotations = lay(*VIDEOS), lay(folder="repository", **lists, **SCRIPTS) / "data"
    if place == "beside the lists":
        for script in (annotations.parent / "script").iterdir():
            script.rename(annotations / script.name)
    if place == "beside one list":
        annotations /= "videolist_train.txt"
    found, manifest = taken("stair_actions", root, annotations=annotations)
    groups = {"a001-0001Y.mp4": "_4YTwq0-73Y", "a001-0363C.mp4": None, "a120-0878X.mp4": "-3B32lodo2M"}
    assert {one.path.name: one.group for one in manifest.samples} == {
        one.path.name: groups[one.path.name] for one in manifest.samples
    }
    assert len(found.notes) == 1


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("drinking/a001-0001Y.mp4 2", "class 2 is eating_meal, not drinking"),
        ("drinking/a001-0001Y.mp4 0", "line 1"),
        ("drinking/a001-0001Y.mp4 101", "line 1"),
        ("drinking/a001-0001Y.mp4", "line 1"),
        ("a001-0001Y.mp4 1", "line 1"),
    ],
)
def test_lines_that_do_not_fit_are_named(lay, taken, line, said):
    with pytest.raises(DataError, match=said):
        taken("stair_actions", lay(*VIDEOS, **{"videolist_train.txt": line + "\n"}))


def test_of_two_copies_that_of_the_split_is_meant_and_none_of_another_class(lay, taken):
    lists = {"videolist_val.txt": "Eating meal/a002-0001C.mp4 2\neating_meal/a002-0002C.mp4 2\n"}
    root = lay("train/a002-0001C.mp4", "val/a002-0001C.mp4", "drinking/a002-0002C.mp4", **lists)
    found, manifest = taken("stair_actions", root)
    assert [(manifest.relative(one.path), one.label) for one in manifest.samples] == [
        ("val/a002-0001C.mp4", "eating_meal")
    ]
    assert [one.name for one in found.absent] == ["eating_meal/a002-0002C.mp4"]
