import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinema.clips.sampling import clip_at, end_seconds, even_starts, grid, pad, start_count
from kinema.core.errors import DataError
from kinema.core.spec import ClipSpec

TEN = tuple(i / 10 for i in range(10))  # ten frames at 10 fps


@pytest.mark.parametrize(
    ("spec", "start", "expected"),
    [
        (ClipSpec(frames=3, stride=1), 0, (0, 1, 2)),
        (ClipSpec(frames=3, stride=2), 3, (3, 5, 7)),
        (ClipSpec(frames=3, fps=5), 0, (0, 2, 4)),
        (ClipSpec(frames=3, fps=5), 3, (3, 5, 7)),
        (ClipSpec(frames=4, fps=20), 0, (0, 0, 1, 1)),  # finer than the video: frames stand twice
        (ClipSpec(frames=4, stride=4), 0, (0, 4, 8, 0)),  # loops over what was sampled
        (ClipSpec(frames=7, stride=4), 0, (0, 4, 8, 0, 4, 8, 0)),
        (ClipSpec(frames=4, stride=4, padding="last"), 0, (0, 4, 8, 8)),
        (ClipSpec(frames=3, stride=2), 9, (9, 9, 9)),
    ],
)
def test_clip_at(spec, start, expected):
    assert clip_at(TEN, spec, start) == expected


def test_padding_none_refuses_short_videos():
    with pytest.raises(DataError, match="3 frames on the clip grid"):
        clip_at(TEN, ClipSpec(frames=4, stride=4, padding="none"), 0)


def test_start_beyond_the_video_is_refused():
    with pytest.raises(DataError, match="frame 10 of 10"):
        clip_at(TEN, ClipSpec(), 10)


@pytest.mark.parametrize(
    ("spec", "count"),
    [
        (ClipSpec(frames=10, stride=1), 1),
        (ClipSpec(frames=3, stride=2), 6),
        (ClipSpec(frames=3, fps=5), 6),
        (ClipSpec(frames=16, stride=2), 1),
        (ClipSpec(frames=1), 10),
    ],
)
def test_start_count_includes_the_last_possible_start(spec, count):
    assert start_count(TEN, spec) == count


def test_even_starts_include_both_ends():
    spec = ClipSpec(frames=3, stride=1)
    assert even_starts(TEN, spec, 1) == (3,)
    assert even_starts(TEN, spec, 3) == (0, 4, 7)
    assert even_starts(TEN[:2], spec, 3) == (0, 0, 0)
    with pytest.raises(DataError):
        even_starts(TEN, spec, 0)


def test_variable_frame_rate_is_resampled_by_time():
    times = (0.0, 0.1, 0.2, 1.0, 1.1)  # a gap of 0.8 s
    assert grid(times, ClipSpec(fps=5)) == (0, 2, 2, 2, 2, 3)


def test_a_lone_frame_lasts_a_while():
    assert end_seconds((0.0,)) == pytest.approx(0.04)
    assert end_seconds(TEN) == pytest.approx(1.0)


@given(
    gaps=st.lists(st.floats(0.01, 0.2), min_size=1, max_size=60),
    fps=st.one_of(st.none(), st.floats(1, 60)),
    stride=st.integers(1, 5),
    frames=st.integers(1, 20),
    speed=st.floats(0.5, 2),
    data=st.data(),
)
def test_every_clip_is_whole_and_within(gaps, fps, stride, frames, speed, data):
    times = tuple(np.cumsum([0.0, *gaps]))
    spec = ClipSpec(frames=frames, stride=stride, fps=fps)
    count = start_count(times, spec, speed=speed)
    start = data.draw(st.integers(0, count - 1))
    clip = clip_at(times, spec, start, speed=speed)
    assert len(clip) == frames
    assert clip[0] == start
    assert all(0 <= i < len(times) for i in clip)
    if count > 1:  # long enough: nothing was padded
        assert list(clip) == sorted(clip)


@pytest.mark.parametrize("spec", [ClipSpec(frames=3, stride=2), ClipSpec(frames=3, fps=5)])
def test_speed_widens_the_grid(spec):
    assert clip_at(TEN, spec, 0, speed=1.5) == (0, 3, 6)
    assert clip_at(TEN, spec, 0, speed=0.5) == (0, 1, 2)
    assert start_count(TEN, spec, speed=1.5) == 4


@pytest.mark.parametrize("speed", [0.5, 0.55, 0.7, 1.0, 1.1, 1.9, 2.0])
@pytest.mark.parametrize("frames", [1, 2, 4, 5])
def test_the_last_start_still_gives_a_whole_clip(frames, speed):
    spec = ClipSpec(frames=frames, stride=1, padding="none")
    last = start_count(TEN, spec, speed=speed) - 1
    assert clip_at(TEN, spec, last, speed=speed)[-1] == 9
    if last < 9:
        with pytest.raises(DataError, match="on the clip grid"):
            clip_at(TEN, spec, last + 1, speed=speed)


def test_pad_leaves_enough_alone():
    assert pad((4, 5, 6), ClipSpec(frames=2)) == (4, 5, 6)
