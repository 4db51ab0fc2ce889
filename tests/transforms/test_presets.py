"""The training and evaluation roads from frames to network input."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from kinema.core.errors import DataError, UsageError
from kinema.core.spec import FLOW_MEAN, FLOW_STD, ClipSpec, InputSpec
from kinema.transforms.functional import normalise, to_model_axes
from kinema.transforms.presets import AugmentSpec, EvalTransform, TrainTransform

INPUT = InputSpec(clip=ClipSpec(frames=4), size_px=32, short_side_px=40)
FLOW = InputSpec(modality="flow", size_px=32, short_side_px=40, mean=(FLOW_MEAN, FLOW_MEAN), std=(FLOW_STD, FLOW_STD))
QUIET = AugmentSpec(crop="center", flip=0.0)


def pixels(*shape, seed=0):
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def positions(height, width):
    """Frames whose pixels tell where they were: channel 0 the row, channel 1 the column, channel 2 the frame."""
    rows = torch.arange(height).view(1, 1, -1, 1).expand(4, 1, height, width)
    columns = torch.arange(width).view(1, 1, 1, -1).expand(4, 1, height, width)
    times = torch.arange(4).view(-1, 1, 1, 1).expand(4, 1, height, width)
    return torch.cat([rows, columns, times], dim=1).to(torch.uint8)


def test_evaluation_sees_the_centre():
    clip = EvalTransform(INPUT).clip(positions(40, 60))
    assert clip.shape == (4, 3, 32, 32)
    assert clip[:, 0].min() == 4
    assert clip[:, 1].min() == 14
    assert clip[:, 2, 0, 0].tolist() == [0, 1, 2, 3]


def test_evaluation_scales_frames_of_another_size_first():
    large = EvalTransform(INPUT).clip(positions(80, 120)).float()
    assert large[0, 0, 0, 0] == pytest.approx(8, abs=1)
    assert large[0, 0, -1, 0] == pytest.approx(71, abs=1)


@pytest.mark.parametrize("crop", ["random-resized", "center"])
def test_the_full_frame_may_be_looked_at(crop):
    full = replace(INPUT, crop="full")
    augment = AugmentSpec(crop=crop, scale=(1.0, 1.0), ratio=(1.0, 1.0))
    for transform in (EvalTransform(full), TrainTransform(full, augment)):
        clip = transform.clip(positions(40, 60), np.random.default_rng(0)).float()
        assert clip.shape == (4, 3, 32, 32)
        assert clip[0, 0, [0, -1], 0].tolist() == pytest.approx([0, 39], abs=1)
        assert clip[0, 1, 0, [0, -1]].tolist() == pytest.approx([0, 59], abs=1)


def test_evaluation_is_the_same_alone_and_in_any_batch():
    transform = EvalTransform(INPUT)
    batch = torch.stack([transform.clip(pixels(4, 3, 40, 50, seed=seed)) for seed in range(3)])
    together = transform.batch(batch)
    assert together.shape == (3, 3, 4, 32, 32)
    assert torch.equal(together[1:2], transform.batch(batch[1:2]))
    assert torch.equal(together.flip(0), transform.batch(batch.flip(0)))
    assert torch.equal(together, normalise(to_model_axes(batch), INPUT))


@pytest.mark.parametrize("augment", [AugmentSpec(), AugmentSpec(crop="corner")])
def test_one_draw_a_clip(augment):
    still = pixels(1, 3, 40, 60).expand(4, -1, -1, -1)
    transform = TrainTransform(INPUT, augment)
    rng = np.random.default_rng(0)
    drawn = [transform.clip(still, rng) for _ in range(8)]
    for clip in drawn:
        assert clip.shape == (4, 3, 32, 32)
        assert clip.dtype == torch.uint8
        assert torch.equal(clip, clip[:1].expand_as(clip))
    assert any(not torch.equal(drawn[0], clip) for clip in drawn[1:])


@pytest.mark.parametrize("crop", ["random-resized", "corner", "random", "center"])
def test_the_same_seed_gives_the_same_clip(crop):
    transform, frames = TrainTransform(INPUT, AugmentSpec(crop=crop)), pixels(4, 3, 40, 60)
    first, second = (transform.clip(frames, np.random.default_rng(7)) for _ in range(2))
    assert torch.equal(first, second)


def test_training_without_chance_is_evaluation():
    train, evaluate, frames = TrainTransform(INPUT, QUIET), EvalTransform(INPUT), pixels(4, 3, 40, 60)
    clip = train.clip(frames, np.random.default_rng(0))
    assert torch.equal(clip, evaluate.clip(frames))
    assert torch.equal(train.batch(clip[None], seeded()), evaluate.batch(clip[None]))


@pytest.mark.parametrize(("scale", "whole"), [((1.0, 1.0), True), ((0.25, 0.3), False)])
def test_scale_says_how_much_is_seen(scale, whole):
    transform = TrainTransform(INPUT, AugmentSpec(scale=scale, ratio=(1.0, 1.0)))
    clip = transform.clip(positions(40, 40), np.random.default_rng(0)).float()
    seen = clip[0, 0, -1, 0] - clip[0, 0, 0, 0]
    assert (seen > 36) == whole


def test_corner_scales_say_how_much_is_seen():
    transform = TrainTransform(INPUT, AugmentSpec(crop="corner", corner_scales=(0.8,)))
    clip = transform.clip(positions(40, 60), np.random.default_rng(0)).float()
    assert clip[0, 0, -1, 0] - clip[0, 0, 0, 0] == 31  # int(40 · 0.8) = 32 pixels, to the byte


def test_a_random_crop_is_at_full_scale_and_anywhere():
    transform, rng = TrainTransform(INPUT, AugmentSpec(crop="random")), np.random.default_rng(0)
    places = set()
    for _ in range(400):
        clip = transform.clip(positions(40, 46), rng)
        top, left = int(clip[0, 0, 0, 0]), int(clip[0, 1, 0, 0])
        assert torch.equal(clip, positions(40, 46)[:, :, top : top + 32, left : left + 32])  # to the byte
        places.add((top, left))
    assert {top for top, _ in places} == set(range(9))
    assert {left for _, left in places} == set(range(15))
    assert len(places) > 110  # of 135: rows and columns are drawn apart


def test_a_random_crop_of_larger_frames_is_seen_at_the_scale_of_tests():
    clip = TrainTransform(INPUT, AugmentSpec(crop="random")).clip(positions(80, 120), np.random.default_rng(0)).float()
    assert clip[0, 0, -1, 0] - clip[0, 0, 0, 0] == pytest.approx(63, abs=2)  # and not 31


def test_corner_crops_lie_in_corners_and_the_centre_at_every_scale():
    transform = TrainTransform(INPUT, AugmentSpec(crop="corner", corner_scales=(1.0, 0.8)))
    rng, seen = np.random.default_rng(0), set()
    for _ in range(200):
        clip = transform.clip(positions(40, 60), rng).float()
        seen.add((round(float(clip[0, 0, 0, 0])), round(float(clip[0, 1, 0, 0]))))
    whole = {(0, 0), (0, 10), (0, 20)}  # squares of 40 pixels: left, centre, right
    assert seen == whole | {(0, 28), (8, 0), (8, 28), (4, 14)}  # and of 32, the top left one being told already


@pytest.mark.parametrize(("probability", "low", "high"), [(0.0, 0, 0), (0.5, 60, 140), (1.0, 200, 200)])
def test_flips(probability, low, high):
    transform = TrainTransform(INPUT, AugmentSpec(flip=probability))
    one = pixels(1, 1, 3, 32, 32)
    out = transform.batch(one.expand(200, -1, -1, -1, -1), seeded())
    mirrored = EvalTransform(INPUT).batch(one.flip(-1))[0]
    assert low <= sum(torch.equal(clip, mirrored) for clip in out) <= high


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation", "hue"])
def test_each_colour_strength_acts_and_stays_the_same_over_frames(name):
    still = pixels(1, 1, 3, 32, 32).expand(3, 4, -1, -1, -1)
    transform = TrainTransform(INPUT, AugmentSpec(flip=0.0, **{name: 0.4}))
    out = transform.batch(still, seeded())
    assert not torch.allclose(out, EvalTransform(INPUT).batch(still), atol=0.05)
    assert torch.equal(out, out[:, :, :1].expand_as(out))
    assert torch.equal(out, transform.batch(still, seeded()))


def test_differences_of_a_still_clip_are_zero_whatever_is_drawn():
    spec = InputSpec(modality="difference", size_px=32, short_side_px=40, mean=(0.0,), std=(0.1,))
    transform = TrainTransform(spec, AugmentSpec(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.2))
    still = transform.clip(pixels(1, 3, 40, 60).expand(4, -1, -1, -1), np.random.default_rng(0))
    out = transform.batch(still[None], seeded())
    assert out.shape == (1, 1, 3, 32, 32)
    assert not out.any()


def test_flow_is_mirrored_as_motion():
    batch = pixels(1, 4, 2, 32, 32).clamp(min=1)
    out = TrainTransform(FLOW, AugmentSpec(flip=1.0)).batch(batch, seeded())
    straight = EvalTransform(FLOW).batch(batch)
    assert torch.allclose(out[:, 0], -straight[:, 0].flip(-1), atol=1e-6)
    assert torch.equal(out[:, 1], straight[:, 1].flip(-1))


def test_pictures_with_their_flow_are_mirrored_together():
    mean, std = (0.4, 0.5, 0.6, FLOW_MEAN, FLOW_MEAN), (0.5, 0.5, 0.5, FLOW_STD, FLOW_STD)
    both = InputSpec(modality="rgb+flow", size_px=32, short_side_px=40, mean=mean, std=std)
    batch = pixels(1, 4, 5, 32, 32).clamp(min=1)
    out = TrainTransform(both, AugmentSpec(flip=1.0)).batch(batch, seeded())
    straight = EvalTransform(both).batch(batch)
    assert torch.allclose(out[:, 3], -straight[:, 3].flip(-1), atol=1e-6)
    unturned = [0, 1, 2, 4]
    assert torch.equal(out[:, unturned], straight[:, unturned].flip(-1))


@pytest.mark.parametrize(("modality", "channels"), [("flow", 2), ("rgb+flow", 5)])
def test_flow_has_no_colours(modality, channels):
    spec = InputSpec(modality=modality, mean=(0.5,) * channels, std=(0.5,) * channels)
    with pytest.raises(UsageError, match="colour jitter on optical flow"):
        TrainTransform(spec, AugmentSpec(hue=0.1))


@pytest.mark.parametrize("crop", ["random-resized", "corner", "center"])
def test_frames_that_cannot_be_used_are_refused(crop):
    rng = np.random.default_rng(0)
    for transform in (EvalTransform(INPUT), TrainTransform(INPUT, AugmentSpec(crop=crop))):
        with pytest.raises(DataError, match="31 x 64 pixels are smaller than the crop of 32") as caught:
            transform.clip(pixels(4, 3, 31, 64), rng)
        assert "short_side_px=40" in caught.value.next_step
        with pytest.raises(DataError, match="2 channels for an input of modality rgb"):
            transform.clip(pixels(4, 2, 40, 64), rng)
        with pytest.raises(DataError, match="uint8"):
            transform.clip(torch.zeros(4, 3, 40, 64), rng)


@pytest.mark.parametrize(
    "wrong",
    [
        {"crop": "middle"},
        {"scale": (0.0, 1.0)},
        {"scale": (0.5, 0.25)},
        {"scale": (0.5, 1.5)},
        {"ratio": (0.0, 1.0)},
        {"ratio": (2.0, 1.0)},
        {"corner_scales": ()},
        {"corner_scales": (1.2,)},
        {"flip": 1.1},
        {"flip": -0.1},
        {"brightness": -0.1},
        {"contrast": -0.1},
        {"saturation": float("nan")},
        {"hue": 0.6},
    ],
)
def test_impossible_augmentation_is_refused(wrong):
    with pytest.raises(UsageError, match=next(iter(wrong))) as caught:
        AugmentSpec(**wrong)
    assert caught.value.allowed


def test_boxes_of_full_frames_keep_the_frames_shape():
    """A wide frame is tested squeezed as a whole, so its training boxes are wide in the same measure."""
    frames = torch.arange(48 * 96, dtype=torch.float32).view(48, 96).remainder(256).to(torch.uint8).expand(2, 3, 48, 96)
    full = InputSpec(clip=ClipSpec(frames=2), size_px=16, short_side_px=48, crop="full")
    transform = TrainTransform(full, AugmentSpec(scale=(0.25, 1.0), ratio=(0.9, 1.1)))
    rng = np.random.default_rng(0)
    boxes = [transform._box(frames, rng) for _ in range(50)]
    assert all(1.7 < box.width / box.height < 2.3 for box in boxes)
    square = TrainTransform(replace(full, crop="center"), AugmentSpec(scale=(0.1, 0.2), ratio=(0.9, 1.1)))
    assert all(0.8 < box.width / box.height < 1.25 for box in (square._box(frames, rng) for _ in range(50)))
