import pytest

from kinema.core.errors import DataError
from kinema.core.labels import published_labels

LISTS = {
    "trainingSet.csv": (
        "blocking/getty-karate-video-id635808620_4.mp4,blocking,4\n"
        "blocking/getty-karate-video-id635808620_9.mp4,blocking,3,1\n"
        "playing+fun/yt-0BxZxKUUH3M_165.mp4,playing+fun,2\n"
    ),
    "validationSet.csv": "clapping/flickr-0-2-0-7_12.mp4,clapping,5\nclapping/gone_1.mp4,clapping,3\n",
}
VIDEOS = (
    "training/blocking/getty-karate-video-id635808620_4.mp4",
    "training/blocking/getty-karate-video-id635808620_9.mp4",
    "training/playing+fun/yt-0BxZxKUUH3M_165.mp4",
    "validation/clapping/flickr-0-2-0-7_12.mp4",
)


def test_the_layout_as_it_is_unpacked(lay, taken):
    found, manifest = taken("moments_in_time", lay(*VIDEOS, **LISTS))
    assert [manifest.relative(one.path) for one in manifest.samples] == list(VIDEOS)
    assert [(one.label, one.split) for one in manifest.samples] == [
        ("blocking", "train"),
        ("blocking", "train"),
        ("playing+fun", "train"),
        ("clapping", "val"),
    ]
    assert [(one.name, one.reason) for one in found.absent] == [("clapping/gone_1.mp4", "not on the disk")]


def test_moments_of_one_source_are_one_group(lay, taken):
    _, manifest = taken("moments_in_time", lay(*VIDEOS, **LISTS))
    groups = [one.group for one in manifest.samples]
    assert groups == ["getty-karate-video-id635808620"] * 2 + ["yt-0BxZxKUUH3M", "flickr-0-2-0-7"]


def test_classes_are_in_the_order_of_the_publisher_not_of_the_alphabet(lay, taken):
    _, manifest = taken("moments_in_time", lay(*VIDEOS, **LISTS))
    assert manifest.labels == published_labels("moments_in_time")
    assert manifest.targets[3] == 0


def test_one_name_in_both_parts_is_two_videos(lay, taken):
    lists = dict.fromkeys(LISTS, "clapping/a_1.mp4,clapping,3\n")
    _, manifest = taken("moments_in_time", lay("training/clapping/a_1.mp4", "validation/clapping/a_1.mp4", **lists))
    assert [manifest.relative(one.path).split("/")[0] for one in manifest.samples] == ["training", "validation"]


def test_a_line_without_a_class_is_named(lay, taken):
    with pytest.raises(DataError, match=r"line 1 of .*trainingSet\.csv has 1 cell"):
        taken("moments_in_time", lay(*VIDEOS, **{"trainingSet.csv": "blocking/a_4.mp4\n"}))


def test_a_video_of_another_class_is_never_meant(lay, taken):
    """Of two of one name, the disk holds that of the other class."""
    lists = {"trainingSet.csv": "clapping/a_1.mp4,clapping,3,0\nblocking/a_1.mp4,blocking,3,0\n"}
    found, manifest = taken("moments_in_time", lay("training/blocking/a_1.mp4", **lists))
    assert [(one.label, manifest.relative(one.path)) for one in manifest.samples] == [
        ("blocking", "training/blocking/a_1.mp4")
    ]
    assert [(one.label, one.reason) for one in found.absent] == [("clapping", "not on the disk")]


def test_blanks_around_cells_do_not_count(lay, taken):
    _, manifest = taken(
        "moments_in_time", lay(VIDEOS[0], **{"trainingSet.csv": f" {VIDEOS[0][9:]} , blocking , 3, 0\n"})
    )
    assert [one.label for one in manifest.samples] == ["blocking"]
