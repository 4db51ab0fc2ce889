"""Cutting, mirroring, changing axes, normalising."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms.v2 import functional as tv

from kinema.core.errors import DataError
from kinema.core.spec import FLOW_MEAN, FLOW_STD, InputSpec
from kinema.transforms.functional import crop_resize, flip, luma_difference, normalise, to_model_axes
from kinema.transforms.spatial import Box

steady = settings(derandomize=True, deadline=None, database=None)


def pixels(*shape, seed=0):
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def test_a_box_of_the_right_size_is_cut_to_the_byte():
    frames = pixels(3, 3, 20, 30)
    assert torch.equal(crop_resize(frames, Box(2, 5, 16, 16), 16), frames[:, :, 2:18, 5:21])


def test_another_box_is_scaled_antialiased():
    frames = pixels(2, 3, 60, 80)
    expected = tv.resized_crop(frames, 3, 7, 50, 64, [16, 16], antialias=True)
    assert torch.equal(crop_resize(frames, Box(3, 7, 50, 64), 16), expected)
    checkers = (torch.arange(64).view(1, 1, 1, -1) + torch.arange(64).view(1, 1, -1, 1)) % 2 * 255
    small = crop_resize(checkers.to(torch.uint8), Box(0, 0, 64, 64), 16)
    assert (small.float() - 127.5).abs().max() < 2  # aliasing would leave stripes


@steady
@given(st.integers(0, 2**31), st.integers(1, 4), st.integers(1, 12))
def test_flipping_twice_gives_the_clip_back(seed, count, width):
    batch = pixels(count, 2, 3, 4, width, seed=seed)
    chosen = torch.rand(count, generator=torch.Generator().manual_seed(seed)) < 0.5
    once = flip(batch, chosen)
    assert torch.equal(flip(once, chosen), batch)
    for before, after, mirrored in zip(batch, once, chosen, strict=True):
        assert torch.equal(after, before.flip(-1) if mirrored else before)


def test_flow_mirrored_points_the_other_way():
    batch = pixels(2, 3, 2, 4, 5)
    before = batch.clone()
    mirrored = flip(batch, torch.tensor([True, False]), flow_channel=0)
    assert torch.equal(mirrored[0, :, 0].int(), (256 - before[0, :, 0].flip(-1).int()).clamp(max=255))
    assert torch.equal(mirrored[0, :, 1], before[0, :, 1].flip(-1))
    assert torch.equal(mirrored[1], before[1])
    assert torch.equal(batch, before)


def test_no_motion_mirrored_stays_none_and_the_ends_stay_bytes():
    batch = torch.tensor([0, 1, 127, 128, 129, 255], dtype=torch.uint8).view(6, 1, 1, 1, 1)
    mirrored = flip(batch, torch.ones(6, dtype=torch.bool), flow_channel=0)
    assert mirrored.flatten().tolist() == [255, 255, 129, 128, 127, 1]


def test_axes():
    batch = pixels(2, 5, 3, 6, 7)
    clips = to_model_axes(batch)
    assert clips.shape == (2, 3, 5, 6, 7)
    assert clips.dtype == torch.float32
    assert clips.is_contiguous()
    assert clips[1, 2, 4, 5, 6] == batch[1, 4, 2, 5, 6]


def test_normalise_equals_a_hand_computation():
    clips = torch.zeros(1, 3, 2, 2, 2)
    clips[0, 1, 0, 0, 0] = 51.0
    by_one = normalise(clips, InputSpec(mean=(0.0, 0.1, 0.0), std=(1.0, 0.5, 1.0)))
    assert by_one[0, 1, 0, 0, 0].item() == pytest.approx((0.2 - 0.1) / 0.5)
    assert by_one[0, 1, 1, 1, 1].item() == pytest.approx(-0.1 / 0.5)
    assert not by_one[0, 0].any()
    on_bytes = normalise(clips, InputSpec(mean=(110.0, 103.0, 96.0), std=(1.0, 1.0, 1.0), value_range=255.0))
    assert on_bytes[0, :, 0, 0, 0].tolist() == pytest.approx([-110.0, 51.0 - 103.0, -96.0])


def test_normalise_of_flow():
    spec = InputSpec(modality="flow", mean=(FLOW_MEAN, FLOW_MEAN), std=(FLOW_STD, FLOW_STD))
    clips = torch.tensor([1.0, 128.0, 128.0, 255.0]).view(1, 2, 2, 1, 1)
    fed = normalise(clips, spec).flatten().tolist()
    assert fed == pytest.approx([-1.0, 0.0, 0.0, 1.0])
    assert fed[1] == fed[2] == 0


DIFFERENCE = InputSpec(modality="difference", mean=(0.0,), std=(0.1,))


def test_difference_equals_a_hand_computation():
    clips = torch.zeros(1, 3, 3, 2, 2)
    clips[0, :, 1, 0, 0] = torch.tensor([10.0, 20.0, 30.0])
    luma = 0.299 * 10 + 0.587 * 20 + 0.114 * 30
    assert luma_difference(clips)[0, 0, :, 0, 0].tolist() == pytest.approx([luma, -luma])
    ours = normalise(clips, DIFFERENCE)
    assert ours.shape == (1, 1, 2, 2, 2)
    assert ours[0, 0, :, 0, 0].tolist() == pytest.approx([luma / 255 / 0.1, -luma / 255 / 0.1])


def test_a_still_clip_differs_from_itself_by_exactly_nothing():
    still = pixels(1, 3, 1, 8, 8).float().expand(-1, -1, 6, -1, -1)
    assert not normalise(still, DIFFERENCE).any()


def test_one_frame_differs_from_nothing():
    with pytest.raises(DataError, match="two frames or more"):
        luma_difference(torch.zeros(1, 3, 1, 2, 2))


@pytest.mark.parametrize(
    "call",
    [
        lambda: crop_resize(torch.zeros(2, 3, 20, 20), Box(0, 0, 16, 16), 16),
        lambda: crop_resize(pixels(3, 20, 20), Box(0, 0, 16, 16), 16),
        lambda: crop_resize(pixels(2, 3, 20, 20), Box(5, 0, 16, 16), 16),
        lambda: crop_resize(pixels(2, 3, 20, 20), Box(0, 5, 16, 16), 16),
        lambda: to_model_axes(pixels(2, 3, 20, 20)),
        lambda: to_model_axes(torch.zeros(1, 2, 3, 20, 20)),
    ],
)
def test_other_tensors_are_refused(call):
    with pytest.raises(DataError, match="allowed"):
        call()
