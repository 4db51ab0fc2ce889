import os
import unicodedata

import pytest

from kinema.core.errors import DataError
from kinema.datasets.folder import read_folder


def rows(root):
    samples, ignored = read_folder(root)
    return (
        [(sample.path.relative_to(root).as_posix(), sample.label, sample.split) for sample in samples],
        [path.relative_to(root).as_posix() for path in ignored],
    )


def test_the_folder_below_the_root_is_the_class_however_deep_the_video_lies(place):
    root = place("fight/b.mp4", "fight/2019/street/a.AVI", "calm/c.webm")
    assert rows(root) == (
        [("calm/c.webm", "calm", None), ("fight/2019/street/a.AVI", "fight", None), ("fight/b.mp4", "fight", None)],
        [],
    )


def test_what_is_no_video_is_told_and_hidden_files_are_not(place):
    root = place(
        "fight/a.mp4",
        "fight/notes.txt",
        "fight/sub/Thumbs.db",
        "fight/._a.mp4",
        ".cache/b.mp4",
        "README.md",
        "docs/x.pdf",
    )
    samples, ignored = rows(root)
    assert samples == [("fight/a.mp4", "fight", None)]
    assert ignored == ["README.md", "docs", "docs/x.pdf", "fight/notes.txt", "fight/sub/Thumbs.db"]


@pytest.mark.parametrize(
    ("tops", "splits"),
    [
        (("train", "val", "test"), ["test", "train", "val"]),
        (("training", "validation", "testing"), ["test", "train", "val"]),
        (("Train", "TEST"), ["test", "train"]),
        (("train", "valid"), ["train", "val"]),
    ],
)
def test_split_folders_on_top_are_splits(place, tops, splits):
    root = place(*(f"{top}/{label}/a.mp4" for top in tops for label in ("calm", "fight")), "licence.txt")
    samples, ignored = rows(root)
    assert sorted({split for _, _, split in samples}) == splits
    assert {label for _, label, _ in samples} == {"calm", "fight"}
    assert len(samples) == 2 * len(tops)
    assert ignored == ["licence.txt"]


def test_folders_without_a_video_beside_splits_do_not_count(place):
    samples, ignored = rows(place("train/calm/a.mp4", "test/fight/b.mp4", "__MACOSX/train/calm/a.txt", "docs/x.pdf"))
    assert samples == [("test/fight/b.mp4", "fight", "test"), ("train/calm/a.mp4", "calm", "train")]
    assert ignored == ["__MACOSX", "__MACOSX/train/calm/a.txt", "docs", "docs/x.pdf"]


def test_splits_beside_classes_are_refused(place):
    with pytest.raises(DataError, match=r"holds splits \(test, train\) beside .* \(more\)") as caught:
        read_folder(place("train/calm/a.mp4", "test/fight/b.mp4", "more/c.mp4"))
    assert "CLASS/video" in caught.value.allowed


def test_a_class_may_be_called_like_a_split_beside_other_classes(place):
    samples, _ = rows(place("train/a.mp4", "bus/b.mp4"))
    assert samples == [("bus/b.mp4", "bus", None), ("train/a.mp4", "train", None)]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "no video below a class folder, but 0 other"),
        (("fight/a.txt", "calm/b.txt"), "no video below a class folder, but 4 other"),
        (("fight/a.mp4", "b.mp4", "c.mov"), "2 videos lie outside any class folder"),
        (("train/a.mp4", "test/fight/b.mp4"), "1 videos lie outside any class folder"),
        (("train/fight/a.mp4", "loose.mp4"), "1 videos lie outside any class folder"),
    ],
)
def test_folders_that_cannot_be_used(place, names, message):
    with pytest.raises(DataError, match=message) as caught:
        read_folder(place(*names))
    assert "CLASS/video" in caught.value.allowed


def test_links_are_followed_but_not_in_circles(place, tmp_path):
    root = place("fight/a.mp4", "calm/b.mp4")
    place("c.mp4", folder="disk2")
    (root / "fight" / "more").symlink_to(tmp_path / "disk2")
    (root / "calm" / "back").symlink_to(root / "calm")
    samples, _ = rows(root)
    assert [path for path, _, _ in samples] == ["calm/b.mp4", "fight/a.mp4", "fight/more/c.mp4"]


def test_a_link_that_leads_nowhere_is_named(place):
    root = place("fight/a.mp4")
    (root / "fight" / "gone.mp4").symlink_to(root / "nothing.mp4")
    with pytest.raises(DataError, match=r"1 links lead nowhere:\n.*gone\.mp4"):
        read_folder(root)


def test_a_label_is_the_same_however_its_name_is_stored(place):
    composed = "싸움"
    samples, _ = read_folder(place(unicodedata.normalize("NFD", composed) + "/a.mp4"))
    assert samples[0].label == composed


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_has_no_end_is_named(place, kind):
    root = place("calm/a.mp4")
    if kind == "pipe":
        os.mkfifo(root / "calm" / "b.mp4")
    else:
        (root / "calm" / "b.mp4").symlink_to("/dev/zero")
    with pytest.raises(DataError, match="are no files, but pipes"):
        read_folder(root)


def test_links_to_themselves_and_in_a_ring_end(place):
    root = place("calm/a.mp4", "calm/x/b.mp4", "calm/y/c.mp4")
    (root / "calm" / "x" / "y").symlink_to(root / "calm" / "y")
    (root / "calm" / "y" / "x").symlink_to(root / "calm" / "x")
    (root / "calm" / "self").symlink_to(root / "calm" / "self")
    samples, ignored = read_folder(root)
    assert {sample.path.name for sample in samples} == {"a.mp4", "b.mp4", "c.mp4"}
    assert ignored == [root / "calm" / "self"]
