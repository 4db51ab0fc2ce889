import pytest

from kinema.core.errors import DataError

LISTS = {
    "ann/ucf101_train_split_1_videos.txt": "run/a b.avi 1\nhit/c.avi 0\n",
    "ann/ucf101_val_split_1_videos.txt": "run/d.avi 1\nrun/gone.avi 1\n",
    "ann/ucf101_train_split_2_videos.txt": "run/d.avi 1\nhit/c.avi 0\n",
}
VIDEOS = ("videos/run/a b.avi", "videos/hit/c.avi", "videos/run/d.avi")


def test_names_come_from_the_label_map(lay, taken):
    root = lay(*VIDEOS, **LISTS, **{"ann/label_map.txt": "Hit\nRun\nSit down\n"})
    found, manifest = taken("mmaction-txt", root, split=1)
    assert [(one.path.name, one.label, one.split) for one in manifest.samples] == [
        ("a b.avi", "Run", "train"),
        ("c.avi", "Hit", "train"),
        ("d.avi", "Run", "val"),
    ]
    assert manifest.labels.names == ("Hit", "Run", "Sit down")
    assert [one.name for one in found.absent] == ["run/gone.avi"]


def test_or_from_folders_that_go_with_the_numbers(lay, taken):
    _, manifest = taken("mmaction-txt", lay(*VIDEOS, **LISTS), split=2)
    assert manifest.labels.names == ("hit", "run")
    assert {(one.path.name, one.label) for one in manifest.samples} == {("d.avi", "run"), ("c.avi", "hit")}


def test_lists_of_extracted_frames_stand_for_their_videos(lay, taken):
    lists = {"k_train_list_rawframes.txt": "run/a b 24 1\nhit/c 24 0\n"}
    _, manifest = taken("mmaction-txt", lay(*VIDEOS, **lists))
    assert [(one.path.name, one.label) for one in manifest.samples] == [("a b.avi", "run"), ("c.avi", "hit")]


def test_one_list(lay, taken):
    root = lay(*VIDEOS, **LISTS)
    found, manifest = taken("mmaction-txt", root, annotations=root / "ann/ucf101_train_split_2_videos.txt")
    assert (found.listed, {one.split for one in manifest.samples}) == (2, {"train"})


@pytest.mark.parametrize(
    ("lists", "said"),
    [
        ({}, "no lists with train"),
        ({"train.txt": "some words\n"}, "no line of such a list"),
        ({"train.txt": "a.avi 0\nb.avi 1\n"}, "the names of the 2 classes are not known"),
        ({"train.txt": "run/a.avi 0\nhit/b.avi 0\n"}, "the names of the 1 classes are not known"),
        ({"train.txt": "run/a.avi 2\n", "label_map.txt": "a\nb\n"}, "class 2 in the lists"),
        ({"train.txt": "run/a.avi 0\n", "label_map.txt": "a\n", "label_map_k.txt": "a\n"}, "2 label maps"),
    ],
)
def test_what_cannot_be_told_is_refused(lay, taken, lists, said):
    with pytest.raises(DataError, match=said):
        taken("mmaction-txt", lay(*VIDEOS, **lists))


def test_lists_of_extracted_frames_stand_for_their_folders(place, taken):
    root = place("frames/run/a b/img_00001.jpg", "frames/run/a b/img_00002.jpg", "frames/hit/c/img_00001.jpg")
    (root / "k_train_list_rawframes.txt").write_text("run/a b 2 1\nhit/c 1 0\n")
    _, manifest = taken("mmaction-txt", root)
    assert [(manifest.relative(one.path), one.label) for one in manifest.samples] == [
        ("frames/run/a b", "run"),
        ("frames/hit/c", "hit"),
    ]
