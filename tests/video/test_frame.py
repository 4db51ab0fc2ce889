from fractions import Fraction

import pytest
import torch

from kinema.core.errors import DataError
from kinema.video.frame import Frames


def some(count: int = 3, start: int = 0) -> Frames:
    data = torch.arange(start, start + count, dtype=torch.uint8).view(-1, 1, 1, 1).expand(count, 3, 4, 6)
    return Frames(data.contiguous(), tuple(range(start * 1001, (start + count) * 1001, 1001)), Fraction(1, 30000))


@pytest.mark.parametrize(
    ("data", "pts", "said"),
    [
        (torch.zeros(2, 3, 4, 4), (0, 1), "float32"),
        (torch.zeros(3, 4, 4, dtype=torch.uint8), (0, 1, 2), "(3, 4, 4)"),
        (torch.zeros(2, 3, 4, 4, dtype=torch.uint8), (0, 1, 2), "2 frames with 3 times"),
    ],
)
def test_what_is_no_frames_is_refused(data, pts, said):
    with pytest.raises(DataError) as caught:
        Frames(data, pts, Fraction(1, 25))
    assert said in str(caught.value)


def test_times_in_seconds_are_the_nearest_floats_to_the_exact_ones():
    assert some().pts_seconds == (0.0, 1001 / 30000, 2002 / 30000)


def test_take_keeps_order_and_repeats():
    taken = some().take([2, 0, 2])
    assert taken.pts == (2002, 0, 2002)
    assert taken.data[:, 0, 0, 0].tolist() == [2, 0, 2]


def test_join_appends_one_run_to_another():
    joined = Frames.join([some(2), some(1, start=5)])
    assert joined.pts == (0, 1001, 5005)
    assert joined.data[:, 0, 0, 0].tolist() == [0, 1, 5]
    assert len(joined) == 3


def test_repr_shows_shape_and_span_but_no_pixels():
    assert "0.000-0.067 s" in repr(some())
    assert "tensor" not in repr(some())
    assert len(repr(some())) < 60
