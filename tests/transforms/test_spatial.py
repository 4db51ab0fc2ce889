"""Boxes: inside the frame, drawn as published, everything reachable."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms.v2 import functional as tv

from kinema.core.errors import UsageError
from kinema.transforms.spatial import Box, center_box, corner_box, random_resized_box

steady = settings(derandomize=True, deadline=None, database=None)
SCALES = (1.0, 2**-0.25, 2**-0.5, 2**-0.75, 0.5)
sizes = st.integers(16, 400)
seeds = st.integers(0, 2**32 - 1)


def inside(box, height, width):
    return box.top >= 0 and box.left >= 0 and box.top + box.height <= height and box.left + box.width <= width


@steady
@given(sizes, sizes, seeds)
def test_random_resized_boxes_lie_inside_and_keep_their_promises(height, width, seed):
    box = random_resized_box(height, width, (0.25, 1.0), (0.75, 1.333), np.random.default_rng(seed))
    assert inside(box, height, width)
    fallback = random_resized_box(height, width, (1.0, 1.0), (0.75, 1.333), np.random.default_rng(seed))
    assert inside(fallback, height, width)
    rounding = 1 / min(box.height, box.width)
    assert 0.75 * (1 - rounding) <= box.width / box.height <= 1.333 * (1 + rounding)


def test_random_resized_areas_are_even():
    rng = np.random.default_rng(0)
    boxes = [random_resized_box(1000, 1000, (0.25, 0.5), (1.0, 1.0), rng) for _ in range(2000)]
    areas = np.array([box.height * box.width / 1e6 for box in boxes])
    assert np.quantile(areas, [0.0, 0.25, 0.5, 0.75, 1.0]) == pytest.approx(
        [0.25, 0.3125, 0.375, 0.4375, 0.5], abs=0.01
    )


def test_ratios_are_even_in_their_logarithm():
    rng = np.random.default_rng(0)
    boxes = [random_resized_box(1000, 1000, (0.25, 0.25), (0.5, 2.0), rng) for _ in range(2000)]
    assert np.median([box.width / box.height for box in boxes]) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(
    ("height", "width", "box"), [(100, 400, Box(0, 133, 100, 133)), (400, 100, Box(133, 0, 133, 100))]
)
def test_frames_too_long_for_any_ratio_get_the_largest_centred_box(height, width, box):
    assert random_resized_box(height, width, (1.0, 1.0), (0.75, 1.333), np.random.default_rng(0)) == box


@steady
@given(sizes, sizes, seeds)
def test_corner_boxes_are_squares_of_a_scale_in_a_corner_or_the_centre(height, width, seed):
    box = corner_box(height, width, SCALES, np.random.default_rng(seed))
    side = box.height
    assert box.width == side
    assert side in {int(min(height, width) * scale) for scale in SCALES}
    down, right = height - side, width - side
    corners = {(0, 0), (0, right), (down, 0), (down, right)}
    assert (box.top, box.left) in corners | {(round(down / 2), round(right / 2))}


def test_every_scale_and_place_is_as_likely():
    rng = np.random.default_rng(0)
    drawn = [corner_box(128, 171, SCALES, rng) for _ in range(5000)]
    sides = [sum(box.height == side for box in drawn) for side in (128, 107, 90, 76, 64)]
    assert sum(sides) == 5000
    assert min(sides) > 850
    small = [box for box in drawn if box.height == 64]
    places = {(0, 0), (0, 107), (64, 0), (64, 107), (32, round(107 / 2))}
    counts = [sum((box.top, box.left) == place for box in small) for place in places]
    assert sum(counts) == len(small)
    assert min(counts) > len(small) / 5 * 0.75


@steady
@given(sizes, sizes, st.data())
def test_the_centre_is_torchvisions(height, width, data):
    side = data.draw(st.integers(1, min(height, width)))
    frame = torch.arange(height * width).reshape(1, height, width)
    box = center_box(height, width, side)
    ours = frame[:, box.top : box.top + side, box.left : box.left + side]
    assert torch.equal(ours, tv.center_crop(frame, [side, side]))


@pytest.mark.parametrize("numbers", [(-1, 0, 1, 1), (0, -1, 1, 1), (0, 0, 0, 1), (0, 0, 1, 0)])
def test_impossible_boxes_are_refused(numbers):
    with pytest.raises(UsageError):
        Box(*numbers)
