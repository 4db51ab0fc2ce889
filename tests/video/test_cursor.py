from __future__ import annotations

import gc
from collections.abc import Iterator
from fractions import Fraction
from types import SimpleNamespace

import av
import pytest

from kinema.video.cursor import Cursor, Heard
from kinema.video.handle import Handle, Keyframe, Report
from kinema.video.timeline import Timeline, read_timeline


def test_one_reason_a_place_and_the_first_stays():
    heard = Heard()
    assert not heard
    heard(7, "cause")
    heard(7, "consequence")
    heard(None, "somewhere")
    heard(None, "somewhere")
    assert list(heard.places.values()) == [(7, "cause"), (None, "somewhere")]
    later = Heard()
    later(7, "other")
    later(9, "new")
    assert [reason for _, reason in (heard | later).places.values()] == ["cause", "new", "somewhere"]


@pytest.mark.parametrize("name", ["open_gop.mp4", "open_gop.ts", "hevc_open_gop.mp4"])
def test_open_groups_give_nothing_that_belongs_to_the_group_before(made_video, name):
    with Handle(made_video(name)) as handle:
        line = read_timeline(handle, pytest.fail)
        cursor = Cursor(handle, line, line.keyframes[2])
        assert cursor.advance()
        assert cursor.index == line.first_index(line.keyframes[2]) > 20
        while cursor.advance():
            pass
        assert (cursor.index, cursor.picture, bool(cursor.heard)) == (48, None, False)


def test_a_keyframe_that_is_none_is_seen_through(made_video):
    with Handle(made_video("intra_refresh.mp4")) as handle:
        line = read_timeline(handle, pytest.fail)
        trusting = Cursor(handle, line, line.keyframe_for(25))
        assert not trusting.advance_to(25)  # the picture is refreshed only some frames later
        cursor = Cursor.at(25, handle, line)
        assert (cursor.index, cursor.key, bool(cursor.heard)) == (25, None, False)


def test_what_is_missing_is_heard_of(shared_video):
    with Handle(shared_video / "odd" / "corrupted.mp4") as handle:
        line = read_timeline(handle, pytest.fail)
        cursor = Cursor.at(30, handle, line)
        assert cursor.index == 31  # the first behind
        assert next(pts for pts, _ in cursor.heard.places.values()) == line.pts[30]


class Scripted:
    """A handle that gives pictures of these times, and says that the first of them is broken."""

    stream = SimpleNamespace(codec_context=SimpleNamespace(name="mjpeg", extradata=None))

    def __init__(self, pts: list[int]) -> None:
        self.pts = pts

    def packets_from(self, *_: object) -> Iterator[None]:
        return iter(())

    def pictures(self, report: Report, _: object) -> Iterator[SimpleNamespace]:
        report(self.pts[0], "broken")
        yield from (SimpleNamespace(pts=pts) for pts in self.pts)


LINE = Timeline(tuple(range(0, 100, 10)), (Keyframe(0, 0), Keyframe(50, 40)), 100, Fraction(1, 25), False, 10)


def walk(cursor: Cursor) -> list[int]:
    indices = []
    while cursor.advance():
        indices.append(cursor.index)
    return indices


def test_what_is_shown_before_the_keyframe_is_neither_given_nor_held_against_the_file():
    cursor = Cursor(Scripted([30, 40, 50, 60, 70, 80, 90]), LINE, LINE.keyframes[1])
    assert walk(cursor) == [5, 6, 7, 8, 9]
    assert not cursor.heard


def test_pictures_nobody_announced_are_left_out_and_told():
    cursor = Cursor(Scripted([0, 10, 10, 20, 25, 30, 40, 60, 70, 80, 90]), LINE, None)
    assert walk(cursor) == [0, 1, 2, 3, 4, 6, 7, 8, 9]
    told = dict(cursor.heard.places.values())
    assert told.pop(0) == "broken"
    assert told.pop(50) == "a picture is missing"
    assert set(told) == {10, 25}


def test_on_the_way_only_what_others_need_is_decoded(made_video, monkeypatch):
    came: list[int | None] = []
    decode = Handle.pictures

    def noting(self, report, packets):
        for picture in decode(self, report, packets):
            came.append(picture.pts)
            yield picture

    monkeypatch.setattr(Handle, "pictures", noting)
    with Handle(made_video("b_frames.mp4")) as handle:
        line = read_timeline(handle, pytest.fail)
        cursor = Cursor(handle, line, line.keyframes[0])
        assert cursor.advance_to(10)
        assert came == sorted(came)
        assert 1 < len(came) < 9
        assert [cursor.index for _ in range(3) if cursor.advance()] == [11, 12, 13]  # from here on all of them
        assert not cursor.heard


def test_dropping_a_cursor_frees_its_decoder_at_once(made_video):
    gc.disable()
    try:
        with Handle(made_video("b_frames.mp4")) as handle:
            line = read_timeline(handle, pytest.fail)
            cursor = Cursor.at(5, handle, line)
            referrers = [each for each in gc.get_referrers(cursor) if type(each).__name__ in ("method", "generator")]
            assert referrers == []
            assert isinstance(cursor.picture, av.VideoFrame)
    finally:
        gc.enable()
