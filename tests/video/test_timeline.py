from __future__ import annotations

from fractions import Fraction

import pytest

from kinema.video.handle import Handle, Keyframe
from kinema.video.timeline import Timeline, read_timeline

# Seven pictures on a clock of 1/100 s that starts at 500; keyframes at the first and the fourth.
# The fourth was stored before the third (an open group): dts below the third's pts.
KEYS = (Keyframe(500, 496), Keyframe(516, 508))
LINE = Timeline((500, 504, 512, 516, 520, 524, 528), KEYS, 532, Fraction(1, 100), by_count=False, promised_frames=7)


@pytest.mark.parametrize(
    ("seconds", "index"),
    [(0.0, 0), (0.01, 1), (0.04, 1), (0.0401, 2), (0.12, 2), (0.16, 3), (0.1 + 0.06, 3), (0.28, 6), (0.281, 7), (9, 7)],
)
def test_the_first_picture_at_a_time_or_later(seconds, index):
    assert LINE.index_at(seconds) == index


def test_pictures_are_found_by_their_exact_time_only():
    assert [LINE.index_of(pts) for pts in (500, 512, 528, 501, 499, 529, None)] == [0, 2, 6, None, None, None, None]


@pytest.mark.parametrize(("index", "key"), [(0, 0), (2, 0), (3, 1), (6, 1)])
def test_the_keyframe_is_the_last_one_shown_before(index, key):
    assert LINE.keyframe_for(index) == KEYS[key]
    assert LINE.first_index(KEYS[key]) == (0, 3)[key]


def test_without_keyframes_decoding_starts_at_the_beginning():
    line = Timeline((0, 1), (), 2, Fraction(1, 25), by_count=True, promised_frames=2)
    assert line.keyframe_for(1) is None
    assert line.first_index(None) == 0


def test_a_keyframe_hidden_by_an_edit_list_leads_to_the_first_shown_picture(shared_video):
    with Handle(shared_video / "odd" / "discard_first_keyframe.mp4") as handle:
        line = read_timeline(handle, pytest.fail)
    assert line.keyframes[0].pts == -2560
    assert line.keyframe_for(0) == line.keyframes[0]
    assert line.first_index(line.keyframes[0]) == 0
    assert line.promised_frames == len(line.pts) == 25


@pytest.mark.parametrize(
    ("name", "by_count", "keyframes"),
    [
        ("open_gop.ts", False, 4),
        ("intra_refresh.mp4", False, 4),
        ("h264_b_frames.avi", True, 0),
        ("raw.h264", True, 0),
        ("mpeg4.avi", False, 4),
        ("loop.gif", False, 1),
    ],
)
def test_who_says_which_picture_is_shown_when(made_video, name, by_count, keyframes):
    with Handle(made_video(name)) as handle:
        line = read_timeline(handle, pytest.fail)
    assert (line.by_count, len(line.keyframes), len(line.pts)) == (by_count, keyframes, 48)
    assert list(line.pts) == sorted(set(line.pts))


def test_repr_is_short():
    assert repr(LINE) == "Timeline(7 frames, 2 keyframes, 0.320 s)"


def test_a_duration_that_is_none_is_not_believed(made_video, tmp_path):
    data = made_video("vp9.webm").read_bytes()
    at = data.index(b"00:00:0", data.index(b"DURATION"))
    broken = tmp_path / "broken.webm"
    broken.write_bytes(data[: at + 2] + b"&" + data[at + 3 :])
    with Handle(broken) as handle:
        assert len(read_timeline(handle, lambda *_: None).pts) == 48
