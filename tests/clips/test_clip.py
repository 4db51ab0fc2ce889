from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kinema.clips.clip import stream_clips
from kinema.clips.window import windows
from kinema.core.errors import DataError, UsageError
from kinema.core.spec import ClipSpec
from kinema.video.frame import Frames


def numbered(pts, chunk):
    """Frames whose pixels are their own index, handed out `chunk` at a time."""
    data = torch.arange(len(pts), dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 1, 1)
    for at in range(0, len(pts), chunk):
        yield Frames(data[at : at + chunk], tuple(pts[at : at + chunk]), Fraction(1, 1000))


@settings(max_examples=200, deadline=None)
@given(
    gaps=st.lists(st.one_of(st.integers(10, 200), st.just(900)), min_size=0, max_size=50),
    first=st.integers(0, 5000),
    fps=st.one_of(st.none(), st.sampled_from([2.0, 8.0, 12.5, 25.0, 40.0])),
    stride=st.integers(1, 4),
    frames=st.integers(1, 8),
    chunk=st.integers(1, 9),
    data=st.data(),
)
def test_streaming_gives_the_windows_of_random_access(gaps, first, fps, stride, frames, chunk, data):
    pts = [first]
    for gap in gaps:
        pts.append(pts[-1] + gap)
    hop = data.draw(st.integers(1, frames))
    spec = ClipSpec(frames=frames, stride=stride, fps=fps)
    times = [p / 1000 - first / 1000 for p in pts]

    expected = windows(times, spec, hop)
    streamed = list(stream_clips(numbered(pts, chunk), spec, hop))

    assert [tuple(int(v) for v in clip.data[:, 0, 0, 0]) for clip in streamed] == [w.indices for w in expected]
    assert [clip.start_seconds for clip in streamed] == pytest.approx([w.start_seconds for w in expected])
    assert [clip.end_seconds for clip in streamed] == pytest.approx([w.end_seconds for w in expected])
    assert all(clip.start_seconds < clip.end_seconds for clip in streamed)


def test_an_empty_video_is_refused():
    with pytest.raises(DataError, match="without a single frame"):
        list(stream_clips([], ClipSpec(), 8))


def test_an_impossible_hop_is_refused_before_reading():
    with pytest.raises(UsageError):
        list(stream_clips(iter([]), ClipSpec(frames=4), 5))
