from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from kinema.core.errors import MediaError, UsageError
from kinema.video.file import VideoFile
from kinema.video.source import expand, open_video

NAMES = [
    "a b.mp4", "clip [1].mp4", "clip 1.mp4", "거리/싸움 01.avi", "deep/er/x.MKV", "deep/notes.txt",
    "dir.mp4/inside.webm",
    ".hidden.mp4", ".trash/gone.mp4", "odd.video",
]  # fmt: skip


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in NAMES:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("sources", "found"),
    [
        (["a b.mp4"], ["a b.mp4"]),
        (["odd.video"], ["odd.video"]),  # named itself: any ending
        (["clip [1].mp4"], ["clip [1].mp4"]),  # a name that exists is no pattern
        (["clip [12].mp4"], ["clip 1.mp4"]),  # one that does not, is
        (["clip*.mp4"], ["clip 1.mp4", "clip [1].mp4"]),
        (["deep"], ["deep/er/x.MKV"]),
        (["dir.mp4"], ["dir.mp4/inside.webm"]),
        (["거리"], ["거리/싸움 01.avi"]),
        (["**/*.avi"], ["거리/싸움 01.avi"]),
        (["d*"], ["deep/er/x.MKV", "dir.mp4/inside.webm"]),
        (["*"], ["a b.mp4", "clip 1.mp4", "clip [1].mp4", "deep/er/x.MKV", "dir.mp4/inside.webm", "거리/싸움 01.avi"]),
        (["."], ["a b.mp4", "clip 1.mp4", "clip [1].mp4", "deep/er/x.MKV", "dir.mp4/inside.webm", "거리/싸움 01.avi"]),
        (["deep/er", "a b.mp4", "deep"], ["deep/er/x.MKV", "a b.mp4"]),  # each once, as first named
        (["rtsp://camera/1?x=[*]", "a b.mp4"], ["rtsp://camera/1?x=[*]", "a b.mp4"]),
    ],
)
@pytest.mark.usefixtures("tree")
def test_what_is_named_is_found(sources, found):
    assert expand(sources) == found


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("clip 2.mp4", r"no such file or folder; did you mean 'clip 1.mp4'"),
        ("nowhere/a.mp4", r"there is no folder nowhere"),
        (".trash", "a folder without videos"),
        ("*.wmv", "the pattern matches nothing"),
        ("deep/*.txt", "none of 1 matches is a video"),
    ],
)
def test_what_leads_nowhere_is_named(tree, source, said):
    (tree / ".trash" / "gone.mp4").unlink()
    with pytest.raises(MediaError, match=said) as caught:
        expand(["a b.mp4", source])
    assert caught.value.path == source
    assert caught.value.allowed


def test_nothing_named():
    with pytest.raises(UsageError, match="no source"):
        expand([])


@pytest.mark.parametrize("blank", ["", " "])
@pytest.mark.usefixtures("tree")
def test_a_blank_name_is_not_the_current_folder(blank):
    with pytest.raises(UsageError, match="a blank source"):
        expand(["a b.mp4", blank])


@pytest.mark.parametrize(("stored", "typed"), [("NFD", "NFC"), ("NFC", "NFD")])
def test_names_are_found_however_their_letters_are_composed(tmp_path, made_video, stored, typed):
    name = "폭력 é.mp4"
    path = tmp_path / unicodedata.normalize(stored, name)
    path.write_bytes(made_video("all_intra.mp4").read_bytes())
    asked = str(tmp_path / unicodedata.normalize(typed, name))
    assert expand([asked]) == [str(path)]
    with open_video(asked) as video:
        assert len(video.pts) == 48


def test_links_that_lead_in_a_circle_end(tree):
    (tree / "deep" / "up").symlink_to(tree / "deep")
    assert expand(["deep"]) == ["deep/er/x.MKV"]
    (tree / "deep" / "linked").symlink_to(tree / "dir.mp4")
    assert expand(["deep"]) == ["deep/er/x.MKV", "deep/linked/inside.webm"]


def test_a_path_opens_as_file_and_a_url_as_stream(made_video):
    with open_video(made_video("all_intra.mp4"), short_side_px=16, strict=False) as video:
        assert isinstance(video, VideoFile)
        assert (video.short_side_px, video.strict) == (16, False)
    with pytest.raises(MediaError, match="Protocol not found"):
        open_video("nonsense://camera")
