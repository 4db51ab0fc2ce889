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


def test_of_several_official_splits_the_first_is_taken_and_told(lay, taken):
    found, manifest = taken("mmaction-txt", lay(*VIDEOS, **LISTS))
    assert [(one.path.name, one.split) for one in manifest.samples] == [
        ("a b.avi", "train"),
        ("c.avi", "train"),
        ("d.avi", "val"),
    ]
    assert found.notes[0] == "the lists are of splits 1, 2: split 1 was taken"
    assert not taken("mmaction-txt", lay(*VIDEOS, **LISTS), split=1)[0].notes


def test_a_lost_video_is_none_of_another_split_or_class(lay, taken):
    lists = {
        "train_list.txt": "train/fight/1.mp4 0\ntrain/fight/2.mp4 0\ncalm/3.mp4 1\nfight/3.mp4 0\n",
        "label_map.txt": "violence\nnormal\n",
    }
    found, manifest = taken("mmaction-txt", lay("train/fight/1.mp4", "val/fight/2.mp4", "fight/3.mp4", **lists))
    assert [(manifest.relative(one.path), one.label) for one in manifest.samples] == [
        ("train/fight/1.mp4", "violence"),
        ("fight/3.mp4", "violence"),
    ]
    assert [one.name for one in found.absent] == ["train/fight/2.mp4", "calm/3.mp4"]


def test_an_odd_line_is_named_and_blank_ones_and_other_texts_do_not_count(lay, taken):
    lists = {"train.txt": "run/a b.avi 1\n\n \nhit/c.avi 0\n", "training_notes.txt": "Every video was looked at.\n"}
    assert len(taken("mmaction-txt", lay(*VIDEOS, **lists))[1]) == 2
    with pytest.raises(DataError, match=r"line 5 of .*train\.txt is none of such a list: run/d\.avi one"):
        taken("mmaction-txt", lay(*VIDEOS, **{"train.txt": lists["train.txt"] + "run/d.avi one\n"}))


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
