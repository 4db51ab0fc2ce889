import os
from unicodedata import normalize

import pytest

from kinema.core.errors import DataError
from kinema.datasets import videos
from kinema.datasets.videos import Videos

MANY = 40  # rows of one folder, more than are asked for one by one


@pytest.fixture
def root(place):
    return place(*(f"many/{number:02}.mp4" for number in range(MANY)), "other/x.mp4")


@pytest.fixture
def listed(root):
    """A search that knows what is in the folder `many`."""
    found = Videos(root, allow_absolute=False)
    assert [found.find(f"many/{number:02}.mp4") for number in range(MANY)] == sorted((root / "many").iterdir())
    return found


def test_a_folder_of_many_rows_is_listed_once_and_its_files_are_not_asked_for(root, listed, monkeypatch):
    (root / "many/00.mp4").unlink()
    monkeypatch.setattr(videos.os, "scandir", None)
    assert listed.find("many/00.mp4") == root / "many/00.mp4"
    assert listed.find("many\\01.mp4") == root / "many/01.mp4"
    assert listed.find("./many//../many/01.mp4") == root / "many/01.mp4"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("many/0.mp4", "no file many/0.mp4; did you mean '"),
        ("many/folder", "many/folder is a folder"),
        ("many/pipe.mp4", "many/pipe.mp4 is no file, but a pipe"),
        ("many/..", "many/.. is a folder"),
        ("many/", "many/ is a folder"),
        ("", "a blank path"),
        ("many/a\0b.mp4", "no file many/a"),
        ("/00.mp4", "/00.mp4 leads out of"),
        ("../many/00.mp4", "leads out of"),
        ("..", "leads out of"),
    ],
)
def test_what_a_listed_folder_has_not_is_named_as_elsewhere(root, given, said):
    (root / "many/folder").mkdir()
    os.mkfifo(root / "many/pipe.mp4")
    (root.parent / "00.mp4").touch()
    known = Videos(root, allow_absolute=False)
    for number in range(MANY):
        known.find(f"many/{number:02}.mp4")
    for search in (Videos(root, allow_absolute=False), known):
        with pytest.raises(DataError) as caught:
            search.find(given)
        assert said in caught.value.given


def test_folders_of_frames_and_links_in_a_listed_folder(root, listed):
    (root / "many/frames").mkdir()
    (root / "many/frames/image_00001.jpg").touch()
    (root / "many/link.mp4").symlink_to(root / "other/x.mp4")
    (root / "many/broken.mp4").symlink_to(root / "nowhere.mp4")
    again = Videos(root, allow_absolute=False)
    for number in range(MANY):
        again.find(f"many/{number:02}.mp4")
    for each in (listed, again):
        assert each.find("many/frames") == root / "many/frames"
        assert each.find("many/link.mp4") == root / "many/link.mp4"
        with pytest.raises(DataError, match=r"no file many/broken\.mp4"):
            each.find("many/broken.mp4")


@pytest.mark.parametrize(("held", "given"), [("NFD", "NFC"), ("NFC", "NFD")])
def test_names_in_another_form_are_found_in_a_listed_folder(root, held, given):
    (root / "many" / normalize(held, "영상.mp4")).touch()
    found = Videos(root, allow_absolute=False)
    for number in range(MANY):
        found.find(f"many/{number:02}.mp4")
    for suggest in (True, False):
        assert found.find(f"many/{normalize(given, '영상.mp4')}", suggest=suggest).exists()


@pytest.mark.parametrize(("held", "given"), [("NFD", "NFC"), ("NFC", "NFD")])
def test_a_folder_in_another_form_is_not_gone(place, held, given):
    root = place(*(f"{normalize(held, '걷기')}/{number}.mp4" for number in range(MANY)))
    found = Videos(root, allow_absolute=False)
    for number in range(MANY):
        assert found.find(f"{normalize(given, '걷기')}/{number}.mp4", suggest=False).exists()


def test_without_suggestions_nothing_is_gone_through(root, listed, monkeypatch):
    gone = Videos(root, allow_absolute=False)
    for number in range(MANY):
        with pytest.raises(DataError, match=r"^no file nowhere/\d+\.mp4$"):
            gone.find(f"nowhere/{number}.mp4", suggest=False)
    monkeypatch.setattr(Videos, "_ask", None)
    for search, name in ((gone, "nowhere/x.mp4"), (listed, "many/x.mp4")):
        with pytest.raises(DataError) as caught:
            search.find(name, suggest=False)
        assert caught.value.given == f"no file {name}"


def test_other_folders_may_be_allowed(root):
    found = Videos(root / "other", allow_absolute=True)
    for number in range(MANY):
        assert found.find(f"../many/{number:02}.mp4") == root / f"many/{number:02}.mp4"
        assert found.find(str(root / f"many/{number:02}.mp4")) == root / f"many/{number:02}.mp4"
