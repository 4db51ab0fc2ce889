import pytest

from kinema.core.errors import DataError, UsageError
from kinema.core.labels import published_labels
from kinema.datasets.splits import SplitRule, make_splits

LISTS = {
    "ucfTrainTestlist/classInd.txt": "1 ApplyEyeMakeup\n2 ApplyLipstick\n",
    "ucfTrainTestlist/trainlist01.txt": (
        "ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1\nApplyEyeMakeup/v_ApplyEyeMakeup_g08_c02.avi 1\n"
        "HandstandPushups/v_HandStandPushups_g01_c01.avi 37\n"
    ),
    "ucfTrainTestlist/testlist01.txt": "ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi\nArchery/v_Archery_g01_c01.avi\n",
    "ucfTrainTestlist/trainlist02.txt": "ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi 1\n",
    "ucfTrainTestlist/testlist02.txt": "ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi\n",
}
VIDEOS = (
    "UCF-101/ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi",
    "UCF-101/ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c02.avi",
    "UCF-101/ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi",
    "UCF-101/HandstandPushups/v_HandStandPushups_g01_c01.avi",
)


def test_the_layout_as_it_is_unpacked(lay, taken):
    found, manifest = taken("ucf101", lay(*VIDEOS, **LISTS))
    assert {(one.path.name, one.label, one.split, one.group) for one in manifest.samples} == {
        ("v_ApplyEyeMakeup_g08_c01.avi", "ApplyEyeMakeup", "train", "ApplyEyeMakeup_g08"),
        ("v_ApplyEyeMakeup_g08_c02.avi", "ApplyEyeMakeup", "train", "ApplyEyeMakeup_g08"),
        ("v_HandStandPushups_g01_c01.avi", "HandstandPushups", "train", "HandstandPushups_g01"),
        ("v_ApplyEyeMakeup_g01_c01.avi", "ApplyEyeMakeup", "test", "ApplyEyeMakeup_g01"),
    }
    assert [one.name for one in found.absent] == ["Archery/v_Archery_g01_c01.avi"]
    assert manifest.labels == published_labels("ucf101")
    (split,) = make_splits(manifest, SplitRule(by="column", fractions=(0.6, 0, 0.4)))
    assert not split.leaks


def test_each_official_split(lay, taken):
    found, manifest = taken("ucf101", lay(*VIDEOS, **LISTS), split=2)
    assert {(one.path.name, one.split) for one in manifest.samples} == {
        ("v_ApplyEyeMakeup_g01_c01.avi", "train"),
        ("v_ApplyEyeMakeup_g08_c01.avi", "test"),
    }
    assert len(found.unlisted) == 2
    with pytest.raises(DataError, match=r"no trainlist03\.txt"):
        taken("ucf101", lay(*VIDEOS, **LISTS), split=3)
    with pytest.raises(UsageError, match="split 4 of ucf101"):
        taken("ucf101", lay(*VIDEOS, **LISTS), split=4)


def test_converted_videos_and_flat_folders(lay, taken):
    names = [f"mp4/{name.rpartition('/')[2].removesuffix('.avi')}.mp4" for name in VIDEOS]
    assert len(taken("ucf101", lay(*names, **LISTS))[1]) == 4


def test_a_video_of_another_class_is_never_taken(lay, taken):
    """Equal names in two class folders are two videos."""
    root = lay("UCF-101/Archery/v_ApplyEyeMakeup_g08_c01.avi", VIDEOS[2], **LISTS)
    found, manifest = taken("ucf101", root)
    assert [one.path.name for one in manifest.samples] == ["v_ApplyEyeMakeup_g01_c01.avi"]
    assert [path.name for path in found.unlisted] == ["v_ApplyEyeMakeup_g08_c01.avi"]


def test_lines_of_something_else_are_named(lay, taken):
    with pytest.raises(DataError, match=r"line 1 of .*trainlist01\.txt is none of UCF101"):
        taken("ucf101", lay(*VIDEOS, **{"trainlist01.txt": "a.avi\n"}))


def test_lists_saved_on_windows(lay, taken):
    lists = {name: "\ufeff" + text.replace("\n", "\r\n") for name, text in LISTS.items()}
    assert len(taken("ucf101", lay(*VIDEOS, **lists))[1]) == 4
