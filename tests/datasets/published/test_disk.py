from unicodedata import normalize

import pytest

from kinema.core.errors import DataError
from kinema.datasets.published.disk import Disk, folded, numbered_lines, part_of, read_lines, without_suffix


@pytest.fixture
def disk(place):
    def make(*names):
        return Disk(place(*names))

    return make


def found(disk, name, **options):
    path = disk.find(name, **options)
    return None if path is None else path.relative_to(disk.root).as_posix()


def test_folders_that_the_name_tells_go_before_others_and_those_of_other_classes_are_never_meant(disk):
    held = disk("a/x.mp4", "b/x.mp4", "z/run/x.mp4", "hit/x.mp4")
    assert found(held, "run/x.avi", classes=("run", "hit")) == "z/run/x.mp4"
    assert found(held, "z/run/x.avi") == "z/run/x.mp4"
    assert found(held, "sit/x.avi", classes=("run", "hit", "sit")) == "a/x.mp4"
    assert found(disk("hit/y.mp4"), "sit/y.avi", classes=("hit", "sit")) is None
    assert found(disk("brush_hair/w.mp4"), "brush hair/w.avi", classes=("brush hair",)) == "brush_hair/w.mp4"


def test_the_split_then_the_ending_then_the_path_decide_among_equals(disk):
    held = disk("train/x.mp4", "val/x.mp4", "other/x.avi", "other/x.mkv")
    assert found(held, "x.mkv", split="val") == "val/x.mp4"
    assert found(held, "x.mkv") == "other/x.mkv"
    assert found(held, "x.flv") == "other/x.avi"
    assert found(held, "x") == "other/x.avi"


def test_a_video_in_the_folder_of_another_split_is_never_meant(disk):
    held = disk("val/fight/2.mp4", "test/3.mp4", "validation_256/4.mp4")
    assert found(held, "train/fight/2.mp4") is None
    assert found(held, "fight/2.mp4", split="train") is None
    assert found(held, "fight/2.mp4", split="val") == "val/fight/2.mp4"
    assert found(held, "validation/2.mp4", split="train") == "val/fight/2.mp4"  # the name tells more than the list
    assert found(held, "3.mp4", split="train") is None
    assert found(held, "3.mp4") == "test/3.mp4"
    assert found(held, "3.mp4", split="train", classes=("test", "run")) == "test/3.mp4"  # a class of that name
    assert found(held, "4.mp4", split="train") == "validation_256/4.mp4"  # no whole name of a split


def test_names_of_windows_in_any_form_and_with_dots(disk):
    held = disk(normalize("NFD", "걷기/영상.1.MP4"), "b/.hidden.mp4", ".c/d.mp4")
    assert found(held, "걷기\\영상.1.avi") == normalize("NFD", "걷기/영상.1.MP4")
    assert found(held, "./걷기//영상.1") == normalize("NFD", "걷기/영상.1.MP4")
    assert found(held, "x/걷기/영상.1") == normalize("NFD", "걷기/영상.1.MP4")
    assert found(held, "영상.2.mp4") is None
    assert len(held.videos) == 1


def test_videos_are_in_the_order_of_folders_and_folders_of_frames_are_one(disk):
    held = disk("a b/x.mp4", "a/y.mp4", "a.mp4", "f/1/image_00001.jpg", "f/1/image_00002.jpg", "n.TXT", "m.csv")
    names = [path.relative_to(held.root).as_posix() for path in held.videos]
    assert names == ["a/y.mp4", "a b/x.mp4", "a.mp4", "f/1"]
    assert [path.name for path in held.others] == ["m.csv", "n.TXT"]
    assert [path.name for path in held.lists(None, r"N\.txt")] == ["n.TXT"]
    assert [path.name for path in held.lists(held.root, r"N\.txt")] == ["n.TXT"]
    assert held.lists(held.root / "m.csv", r"N\.txt") == [held.root / "m.csv"]


def test_pictures_right_below_the_root_are_no_video(disk):
    assert disk("image_00001.jpg", "image_00002.jpg").videos == ()


def test_names_as_they_compare():
    assert folded(normalize("NFD", ' "Ärger_im+Bad"  x ')) == "ärger im bad x"
    assert [part_of(name) for name in ("Training", "validate", "TESTlist01", "all")] == ["train", "val", "test", None]
    assert [without_suffix(name) for name in ("a.b.MP4", ".mp4", "a.b", "a")] == ["a.b", ".mp4", "a.b", "a"]


def test_lines_of_a_text(tmp_path):
    (tmp_path / "a.txt").write_bytes("\ufeffa b\r\n\n  c \n".encode())
    assert read_lines(tmp_path / "a.txt") == ["a b", "c"]
    assert numbered_lines(tmp_path / "a.txt") == [(1, "a b"), (3, "c")]
    (tmp_path / "b.txt").write_bytes(b"\xff\xfe\xff")
    for name in ("b.txt", "none.txt"):
        with pytest.raises(DataError, match=f"cannot read .*{name}"):
            read_lines(tmp_path / name)


def test_the_search_is_shown(place):
    steps = []

    class Shown:
        def task(self, description, total, unit, done=0):
            return self

        def log(self, message):
            pass

        def advance(self, steps_done=1, note=""):
            steps.append(steps_done)

        def __enter__(self):
            return self

        def __exit__(self, *error):
            return None

    Disk(place("a.mp4", "b/c.mp4"), progress=Shown())
    assert sum(steps) == 2
