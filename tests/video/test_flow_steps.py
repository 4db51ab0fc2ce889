from __future__ import annotations

from fractions import Fraction

import pytest
import torch

from kinema.core.errors import MediaError
from kinema.video.flow import FlowChoice, flow_fields, make_algorithm, to_bytes
from kinema.video.flow_steps import at_rate, computed, field_at, scaled, steps
from kinema.video.frame import Frames


def numbered(times, time_base):
    """Frames whose only pixel is their number, at `times` in units of `time_base`."""
    data = torch.arange(len(times), dtype=torch.uint8).view(-1, 1, 1, 1)
    return Frames(data, tuple(times), time_base)


def shown(chunks, fps):
    return [int(picture) for picture in at_rate(chunks, Fraction(fps))]


def test_a_video_of_the_same_rate_keeps_its_frames():
    assert shown([numbered(range(5), Fraction(1, 25))], 25) == [0, 1, 2, 3, 4]


def test_a_slower_video_shows_frames_again():
    assert shown([numbered(range(4), Fraction(1, 10))], 25) == [0, 0, 0, 1, 1, 2, 2, 2]


def test_a_faster_video_loses_frames():
    assert shown([numbered(range(7), Fraction(1, 50))], 25) == [0, 2, 4, 6]


def test_what_a_clock_of_milliseconds_rounded_is_forgiven():
    times = [round(1000 * k / 24) for k in range(48)]

    assert shown([numbered(times, Fraction(1, 1000))], 24) == list(range(48))


def test_chunks_make_no_difference_and_times_need_not_begin_at_zero():
    times = [7, 8, 11, 12, 20]
    whole = numbered(times, Fraction(1, 10))
    parts = [whole.take([index]) for index in range(5)]

    assert shown(parts, 10) == shown([whole], 10) == [0, 1, 1, 1, 2, 3, 3, 3, 3, 3, 3, 3, 3, 4]
    assert shown([], 10) == []


def noted(asked):
    """A source of fields that are the numbers of both pictures, and note which are asked for."""

    def field(index, before, after):
        asked.append(index)
        return torch.cat([before, after])

    return field


def test_of_n_pictures_there_are_n_minus_1_steps():
    asked = []

    found = list(steps(iter_of([numbered(range(5), Fraction(1, 10))]), Fraction(10), noted(asked)))

    assert [(step.index, int(step.picture), step.field.flatten().tolist()) for step in found] == [
        (0, 0, [0, 1]), (1, 1, [1, 2]), (2, 2, [2, 3]), (3, 3, [3, 4]),
    ]  # fmt: skip
    assert list(steps(iter_of([numbered([0], Fraction(1, 10))]), Fraction(10), noted(asked))) == []
    assert list(steps(iter_of([]), Fraction(10), noted(asked))) == []


def test_motion_outside_a_segment_is_not_computed():
    asked = []

    found = steps(iter_of([numbered(range(9), Fraction(1, 10))]), Fraction(10), noted(asked), first=3, last=5)

    assert [step.index for step in found] == asked == [3, 4]


def iter_of(chunks):
    yield from chunks


def test_no_more_than_a_chunk_is_read_ahead():
    read = []

    def chunks():
        for number in range(100):
            read.append(number)
            yield numbered([number], Fraction(1, 10))

    taken = steps(chunks(), Fraction(10), noted([]))

    next(taken)
    assert len(read) <= 4
    taken.close()


def test_computed_fields_are_the_bounded_flow():
    algorithm = make_algorithm(FlowChoice("farneback"))
    pictures = torch.randint(0, 256, (2, 3, 32, 40), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))

    found = computed(algorithm, 5.0)(0, *pictures)

    assert torch.equal(found, to_bytes(flow_fields(pictures, algorithm), 5.0)[0])


@pytest.mark.parametrize(("seconds", "index"), [(0, 0), (0.1, 1), (0.10001, 2), (0.1 + 0.2, 3), (0.99999999, 10)])
def test_which_step_is_shown_first(seconds, index):
    assert field_at(seconds, Fraction(10)) == index


def test_scaling_keeps_bytes_that_have_the_size():
    data = torch.randint(0, 256, (3, 5, 20, 30), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))

    assert torch.equal(scaled(data, None), data)
    assert torch.equal(scaled(data, 20), data)
    assert scaled(data, 10).shape == (3, 5, 10, 15)
    # Channels do not mix, so that flow that is stored alone is scaled as flow beside pictures is.
    assert torch.equal(scaled(data, 10)[:, 3:], scaled(data[:, 3:], 10))


def test_damage_comes_after_the_steps_before_it():
    def chunks():
        yield numbered(range(4), Fraction(1, 10))
        raise MediaError("a.mp4", "cut off")

    found = []
    with pytest.raises(MediaError, match="cut off"):
        found.extend(step.index for step in steps(chunks(), Fraction(10), noted([])))
    assert found == [0, 1, 2]
