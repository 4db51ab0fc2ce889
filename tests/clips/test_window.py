import pytest

from kinema.clips.window import slide, windows
from kinema.core.errors import UsageError
from kinema.core.spec import ClipSpec


@pytest.mark.parametrize(
    ("length", "window", "hop", "expected"),
    [
        (10, 4, 3, (0, 3, 6)),
        (11, 4, 3, (0, 3, 6, 7)),
        (4, 4, 4, (0,)),
        (3, 4, 4, (0,)),
        (0, 4, 4, (0,)),
        (9, 4, 4, (0, 4, 5)),
    ],
)
def test_slide(length, window, hop, expected):
    assert slide(length, window, hop) == expected


@pytest.mark.parametrize(("window", "hop"), [(4, 0), (4, 5), (0, 1)])
def test_impossible_hops_are_refused(window, hop):
    with pytest.raises(UsageError, match="nothing goes unseen"):
        slide(10, window, hop)


def test_windows_carry_their_seconds():
    times = tuple(i / 10 for i in range(11))
    first, second, last = windows(times, ClipSpec(frames=2, stride=2), hop_frames=2)
    assert (first.indices, first.start_seconds, first.end_seconds) == ((0, 2), 0.0, 0.4)
    assert (second.indices, second.start_seconds, second.end_seconds) == ((4, 6), 0.4, 0.8)
    assert last.indices == (8, 10)
    assert last.end_seconds == pytest.approx(1.1)


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ((0.0, 0.5, 1.0), [(0, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1.0), (0.875, 1.5)]),  # slower than the grid
        ((0.0, 0.25, 1.0), [(0, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1.0), (0.875, 1.75)]),  # a frame that is held
    ],
)
def test_with_a_rate_windows_are_as_long_as_their_places_on_the_grid(times, expected):
    found = windows(times, ClipSpec(frames=2, fps=8), hop_frames=2)
    assert [(span.start_seconds, span.end_seconds) for span in found] == expected


def test_a_short_video_is_one_looped_window():
    (only,) = windows((0.0, 0.5), ClipSpec(frames=4), hop_frames=2)
    assert only.indices == (0, 1, 0, 1)
    assert (only.start_seconds, only.end_seconds) == (0.0, 1.0)
