from __future__ import annotations

import gc

import av
import pytest

from kinema.video.cursor import Cursor, Heard
from kinema.video.handle import Handle
from kinema.video.timeline import read_timeline


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
