import numpy as np
import pytest

from kinema.core.errors import DataError
from kinema.core.labels import published_labels
from kinema.video.writer import VideoWriter

HEADER = "label,youtube_id,time_start,time_end,split,is_cc\n"
TRAIN = (
    HEADER
    + '"petting animal (not cat)",-3B32lodo2M,59,69,train,0\n'
    + 'abseiling,_4YTwq0-73Y,21,31,train,0\n"massaging person\'s head",aaaaaaaaaaa,0,10,train,0\n'
)
VAL = HEADER + "abseiling,0wR5jVB-WPk,417,427,validate,0\nair drumming,gone_______,1,11,validate,0\n"
TEST = "youtube_id,time_start,time_end,split\nabcdefghijk,9,19,test\n"
LISTS = {"annotations/train.csv": TRAIN, "annotations/val.csv": VAL, "annotations/test.csv": TEST}
CLIPS = {
    "petting animal (not cat)": "-3B32lodo2M_000059_000069",
    "abseiling": "_4YTwq0-73Y_000021_000031",
    "massaging person's head": "aaaaaaaaaaa_000000_000010",
}


def summary(manifest):
    return [
        (manifest.relative(one.path), one.label, one.split, one.group, one.start_seconds, one.end_seconds)
        for one in manifest.samples
    ]


def rows(names, times=(None, None)):
    labels = ("petting animal (not cat)", "abseiling", "massaging person's head", "abseiling")
    groups = ("-3B32lodo2M", "_4YTwq0-73Y", "aaaaaaaaaaa", "0wR5jVB-WPk")
    splits = ("train", "train", "train", "val")
    return [(*row, *times) for row in zip(names, labels, splits, groups, strict=True)]


@pytest.mark.parametrize(
    "names",
    [
        [
            *(f"train/{label}/{clip}.mp4" for label, clip in CLIPS.items()),
            "val/abseiling/0wR5jVB-WPk_000417_000427.mp4",
        ],
        [*(f"train/{clip}.mp4" for clip in CLIPS.values()), "val/0wR5jVB-WPk_000417_000427.mp4"],
        [*(f"{label}/{clip[:11]}.mkv" for label, clip in CLIPS.items()), "abseiling/0wR5jVB-WPk.webm"],
        [*(f"{label.replace(' ', '_')}/{clip}.avi" for label, clip in CLIPS.items()), "0wR5jVB-WPk.mp4"],
        [
            "replacement/replacement_for_corrupted_k400/-3B32lodo2M.mp4",
            "train/_4YTwq0-73Y_000021_000031.mp4",
            "train/aaaaaaaaaaa_000000_000010.mp4",
            "val/0wR5jVB-WPk_000417_000427.mp4",
        ],
    ],
    ids=["class folders", "flat", "only identities, other endings", "underscores", "replacements"],
)
def test_the_usual_arrangements_give_the_same_samples(lay, taken, names):
    found, manifest = taken("kinetics400", lay(*names, "val/nobody.mp4", **LISTS))
    assert sorted(summary(manifest)) == sorted(rows(names))
    assert {one.name: (one.label, one.split, one.reason) for one in found.absent} == {
        "gone________000001_000011": ("air drumming", "val", "not on the disk"),
        "abcdefghijk_000009_000019": (None, "test", "not on the disk"),
    }
    assert found.listed == 6
    assert [path.name for path in found.unlisted] == ["nobody.mp4"]


def test_classes_are_all_of_the_official_ones_in_their_order(lay, taken):
    _, manifest = taken("kinetics400", lay("abseiling/_4YTwq0-73Y_000021_000031.mp4", **LISTS))
    assert manifest.labels == published_labels("kinetics400")
    assert manifest.targets == (0,)


def test_an_uncut_video_gets_the_times_of_its_clip(lay, taken):
    """Files called by their identity alone: one of 6 s that holds the clip of 2 s, and one of 2 s, which is it."""
    table = HEADER + "abseiling,_4YTwq0-73Y,3,5,train,0\nabseiling,aaaaaaaaaaa,3,5,train,0\n"
    root = lay("aaaaaaaaaaa.mp4", **{"train.csv": table})
    with VideoWriter(root / "_4YTwq0-73Y.mp4", fps=5, size=(32, 32)) as writer:
        writer.write(np.zeros((30, 32, 32, 3), np.uint8))
    _, manifest = taken("kinetics400", root)
    assert {(one.group, one.start_seconds, one.end_seconds) for one in manifest.samples} == {
        ("_4YTwq0-73Y", 3.0, 5.0),
        ("aaaaaaaaaaa", None, None),
    }


def test_two_lines_of_one_file_give_one_sample(lay, taken):
    table = HEADER + "abseiling,aaaaaaaaaaa,3,5,train,0\nair drumming,aaaaaaaaaaa,13,15,train,0\n"
    found, manifest = taken("kinetics400", lay("aaaaaaaaaaa.mp4", **{"train.csv": table}))
    assert [one.label for one in manifest.samples] == ["abseiling"]
    assert found.reasons == {"the same video and times as a line of class abseiling": 1}


def test_test_clips_without_a_class_are_counted(lay, taken):
    found, _ = taken("kinetics700", lay("abseiling/_4YTwq0-73Y.mp4", "test/abcdefghijk_000009_000019.mp4", **LISTS))
    assert found.reasons == {"not on the disk": 4, "its class was not published": 1}
    assert not found.unlisted


def test_lists_of_another_edition_are_refused(lay, taken):
    table = HEADER + "acting in play,_4YTwq0-73Y,1,11,train,0\n"
    with pytest.raises(DataError, match=r"1 classes that are none of the 400 .*acting in play"):
        taken("kinetics400", lay("_4YTwq0-73Y.mp4", **{"train.csv": table}))


def test_nothing_found_says_what_was_looked_for_and_what_lies_there(lay, taken):
    root = lay("else/other.mp4", **LISTS)
    with pytest.raises(DataError) as caught:
        taken("kinetics400", root)
    assert f"not one of the 6 videos that the lists name was found below {root}" in caught.value.given
    assert "annotations, else; 1 videos" in caught.value.given
    assert "_4YTwq0-73Y_000021_000031" in caught.value.allowed


def test_no_list_says_where_lists_may_be_given(lay, taken, tmp_path):
    with pytest.raises(DataError, match=r"no train\.csv.* which holds a\.mp4; 1 videos"):
        taken("kinetics400", lay("a.mp4"))
    with pytest.raises(DataError, match="is a list of Kinetics"):
        taken("kinetics400", lay("a.mp4", **{"clips.csv": "path,label\na.mp4,x\n"}))
    with pytest.raises(DataError, match="there is no"):
        taken("kinetics400", lay("a.mp4"), annotations=tmp_path / "nowhere")


def test_lists_elsewhere(lay, taken):
    lists = lay(folder="lists", **LISTS)
    root = lay("_4YTwq0-73Y.mp4")
    assert len(taken("kinetics400", root, annotations=lists)[1]) == 1
    assert taken("kinetics400", root, annotations=lists / "annotations/train.csv")[0].listed == 3


def test_a_line_that_is_no_clip_is_named(lay, taken):
    with pytest.raises(DataError, match=r"line 2 of .*train\.csv"):
        taken("kinetics400", lay("a.mp4", **{"train.csv": HEADER + "abseiling,_4YTwq0-73Y,soon,11,train,0\n"}))


def test_classes_with_underscores_and_capitals_are_the_official_ones(lay, taken):
    """As some copies of the lists have them."""
    table = HEADER + "Air_Drumming,_4YTwq0-73Y,21,31,train,0\n"
    _, manifest = taken("kinetics400", lay("air_drumming/_4YTwq0-73Y.mp4", **{"train.csv": table}))
    assert [one.label for one in manifest.samples] == ["air drumming"]


def test_a_list_that_lies_there_twice_counts_once_and_its_column_says_the_split(lay, taken):
    table = HEADER + "abseiling,_4YTwq0-73Y,21,31,validate,0\n"
    found, manifest = taken("kinetics400", lay("_4YTwq0-73Y.mp4", **{"train.csv": table, "copy/all.csv": table}))
    assert (found.listed, found.absent) == (1, ())
    assert [one.split for one in manifest.samples] == ["val"]


def test_a_clip_in_the_folder_of_another_class_is_not_meant_but_an_uncut_video_is(lay, taken):
    """Two clips of one video in two classes; the disk has it once, under its identity alone."""
    table = HEADER + "abseiling,_4YTwq0-73Y,3,5,train,0\nair drumming,_4YTwq0-73Y,13,15,train,0\n"
    found, manifest = taken("kinetics400", lay("air drumming/_4YTwq0-73Y.mp4", **{"train.csv": table}))
    assert summary(manifest) == [("air drumming/_4YTwq0-73Y.mp4", "air drumming", "train", "_4YTwq0-73Y", None, None)]
    assert found.reasons == {"not on the disk": 1}
    table = HEADER + "abseiling,_4YTwq0-73Y,0,1,train,0\nair drumming,_4YTwq0-73Y,1,2,train,0\n"
    root = lay(folder="uncut", **{"train.csv": table})
    (root / "air drumming").mkdir()
    with VideoWriter(root / "air drumming/_4YTwq0-73Y.mp4", fps=5, size=(32, 32)) as writer:
        writer.write(np.zeros((30, 32, 32, 3), np.uint8))
    _, manifest = taken("kinetics400", root)
    assert {(one.label, one.start_seconds, one.end_seconds) for one in manifest.samples} == {
        ("abseiling", 0.0, 1.0),
        ("air drumming", 1.0, 2.0),
    }


def test_lines_that_say_the_same_are_told(lay, taken):
    table = HEADER + "abseiling,_4YTwq0-73Y,21,31,train,0\n"
    found, _ = taken("kinetics400", lay("_4YTwq0-73Y.mp4", **{"a.csv": table * 1, "b/train.csv": table + table[58:]}))
    assert found.notes == ("1 lines say the same as another line, and count once",)


def test_lists_without_a_split_are_told_by_their_names_and_other_tables_are_none(lay, taken):
    table = "label,youtube_id,time_start,time_end\nabseiling,_4YTwq0-73Y,21,31\n"
    others = {"a.csv": "youtube_id,label\nx,abseiling\n", "b.csv": "time_start\n1\n"}
    _, manifest = taken("kinetics400", lay("_4YTwq0-73Y.mp4", **{"kinetics_val.csv": table}, **others))
    assert [one.split for one in manifest.samples] == ["val"]


def test_a_clip_cut_at_its_key_frames_is_longer_than_listed_and_still_the_clip(lay, taken):
    table = HEADER + "abseiling,_4YTwq0-73Y,21,22,train,0\n"  # the file has two seconds
    _, manifest = taken("kinetics400", lay("_4YTwq0-73Y.mp4", **{"train.csv": table}))
    assert [one.start_seconds for one in manifest.samples] == [None]


@pytest.mark.parametrize("name", ["_4YTwq0-73Y_000021_000031", "_4YTwq0-73Y"])
def test_of_two_copies_that_of_the_split_is_meant_and_none_of_another_class(lay, taken, name):
    table = HEADER + "abseiling, _4YTwq0-73Y ,21,31,validate,0\n"
    root = lay(f"train/abseiling/{name}.mp4", f"val/abseiling/{name}.mp4", **{"all.csv": table})
    _, manifest = taken("kinetics400", root)
    assert [manifest.relative(one.path) for one in manifest.samples] == [f"val/abseiling/{name}.mp4"]
    root = lay(f"train/zumba/{name}.mp4", "air drumming/x.mp4", folder="b", **{"all.csv": table + AIR})
    found, _ = taken("kinetics400", root)
    assert [one.name for one in found.absent] == ["_4YTwq0-73Y_000021_000031"]


AIR = "air drumming,x,0,10,train,0\n"


def test_what_is_no_video_or_a_folder_of_frames_is_taken_as_the_clip(taken, place):
    """Its damage is told by `kinema data check`, with the reason."""
    root = place("abseiling/_4YTwq0-73Y.mp4", "air drumming/x/image_00001.jpg")
    (root / "train.csv").write_text(HEADER + "abseiling,_4YTwq0-73Y,21,31,train,0\n" + AIR + " ,y,0,1,test,0\n")
    (root / "other.csv").write_bytes(b"\xff\xfe\x00")
    found, manifest = taken("kinetics400", root)
    assert [(one.label, one.start_seconds) for one in manifest.samples] == [("abseiling", None), ("air drumming", None)]
    assert [one.label for one in found.absent] == [None]


@pytest.mark.parametrize("table", ["youtube_id,time_start,time_end\nx,1\n", "time_start,time_end,youtube_id\n1,2\n"])
def test_a_line_that_is_cut_short_is_named(lay, taken, table):
    with pytest.raises(DataError, match=r"line 2 of .*train\.csv is no clip"):
        taken("kinetics400", lay("x.mp4", **{"train.csv": table}))
