"""RandAugment: what each operation does, that frames of a clip are changed alike, and clips differently."""

import pytest
import torch

from kinema.core.errors import UsageError
from kinema.core.spec import ClipSpec, InputSpec
from kinema.training.recipe import make_config
from kinema.transforms.portion import Portion
from kinema.transforms.presets import AugmentSpec, TrainTransform
from kinema.transforms.rand_augment import OPERATIONS, RandAugment, rand_augment


def apply(batch, name, sign=1, magnitude=30.0):
    number = OPERATIONS.index(name)
    count = len(batch)
    return rand_augment(batch, RandAugment(torch.full((count, 1), number), torch.full((count, 1), sign), magnitude))


def noise(count=2, frames=3, size=16):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(20, 200, (count, frames, 3, size, size), dtype=torch.uint8, generator=generator)


def test_there_are_the_fourteen_operations_of_the_paper():
    assert sorted(OPERATIONS) == [
        "autocontrast", "brightness", "color", "contrast", "equalize", "identity", "posterize", "rotate", "sharpness",
        "shear-x", "shear-y", "solarize", "translate-x", "translate-y",
    ]  # fmt: skip


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("sign", [1, -1])
def test_frames_that_are_alike_stay_alike(name, sign):
    """A still clip stays still, whatever is done to it; and all but one operation do something."""
    still = noise(frames=1).expand(-1, 4, -1, -1, -1).contiguous()
    before = still.clone()
    changed = apply(still, name, sign, magnitude=20)
    assert (changed.dtype, changed.shape) == (torch.uint8, still.shape)
    assert all(torch.equal(changed[:, 0], changed[:, frame]) for frame in range(4))
    assert torch.equal(changed, still) == (name == "identity")
    assert torch.equal(still, before)


@pytest.mark.parametrize("name", OPERATIONS)
def test_clips_are_changed_each_by_itself(name):
    batch = noise(count=3)
    assert torch.equal(apply(batch, name, magnitude=12)[1:2], apply(batch[1:2], name, magnitude=12))


@pytest.mark.parametrize("name", ["autocontrast", "equalize", "contrast"])
def test_what_is_measured_is_measured_over_the_clip(name):
    """The same picture is changed alike beside whichever frame it stands, where a measure a frame would differ."""
    batch = noise(count=1)
    batch[0, 1] = 20  # a frame of one value: by itself there would be nothing to stretch
    batch[0, 1, :, 0, 0] = 199
    changed = apply(batch, name, magnitude=15)
    same = batch[0, 0] == batch[0, 2]
    assert same.any()
    assert torch.equal(changed[0, 0][same], changed[0, 2][same])
    grey = changed[0, 1, 0, 5, 5]
    where = (batch[0, 0, 0] == 20).nonzero()
    if len(where):
        row, column = where[0]
        assert changed[0, 0, 0, row, column] == grey


def test_a_magnitude_of_none_changes_next_to_nothing():
    batch = noise()
    for name in ("rotate", "shear-x", "shear-y", "translate-x", "translate-y", "brightness", "posterize"):
        assert (apply(batch, name, magnitude=0).int() - batch.int()).abs().max() <= 1


def test_strengths_by_hand():
    """At 15 of 30: half of 150/331 of the side to the right, 8 - 2 bits, half the range, 1 ± 0.45."""
    batch = noise(count=1, size=32)
    moved = apply(batch, "translate-x", magnitude=15)
    shift = round(32 * 150 / 331 / 2)
    assert torch.equal(moved[..., shift:], batch[..., :-shift])
    assert bool((moved[..., :shift] == 128).all())
    assert torch.equal(apply(batch, "translate-y", -1, magnitude=15)[..., :-shift, :], batch[..., shift:, :])
    assert torch.equal(apply(batch, "posterize", magnitude=15), batch & 0b11111100)
    assert torch.equal(apply(batch, "solarize", magnitude=15), torch.where(batch >= 128, 255 - batch, batch))
    brighter = (batch.float() * 1.45).clamp(max=255)
    assert (apply(batch, "brightness", magnitude=15).float() - brighter).abs().max() <= 1
    assert (apply(batch, "brightness", -1, magnitude=15).float() - batch.float() * 0.55).abs().max() <= 1


def test_a_turn_has_a_direction():
    batch = torch.zeros(1, 1, 3, 33, 33, dtype=torch.uint8)
    batch[..., 16, 24] = 255
    above, below = (slice(10, 15), slice(20, 27)), (slice(18, 23), slice(20, 27))
    one, other = (apply(batch, "rotate", sign)[0, 0, 0] for sign in (-1, 1))
    assert one[above].max() > 60
    assert other[below].max() > 60
    assert one[below].max() == other[above].max() == 0


def test_draws_follow_from_the_seed_and_spread_evenly():
    draws = [RandAugment.draw(4000, 2, 9.0, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert torch.equal(draws[0].operations, draws[1].operations)
    assert not torch.equal(draws[0].operations, draws[2].operations)
    counts = torch.bincount(draws[0].operations.flatten(), minlength=14)
    assert counts.min() > 450
    assert counts.max() < 700
    assert draws[0].signs.float().mean().abs() < 0.05
    assert sorted(draws[0].signs.unique().tolist()) == [-1, 1]


RGB = InputSpec(ClipSpec(4), "rgb", 16, 16, "center", (0.0,) * 3, (1.0,) * 3)


def test_training_clips_are_changed_alike_in_all_frames_and_each_in_its_way():
    still = noise(count=1, frames=1).expand(6, 4, -1, -1, -1).contiguous()
    transform = TrainTransform(RGB, AugmentSpec(crop="center", flip=0, rand_augment=2, rand_augment_magnitude=15))
    one, other, third = (transform.batch(still, torch.Generator().manual_seed(seed)) for seed in (3, 3, 4))
    assert torch.equal(one, other)
    assert not torch.equal(one, third)
    assert all(torch.equal(one[:, :, 0], one[:, :, frame]) for frame in range(4))
    assert len({clip.sum().item() for clip in one}) == 6


def test_a_clip_is_changed_alike_however_the_step_is_parted():
    batch = noise(count=8, frames=4)
    transform = TrainTransform(RGB, AugmentSpec(crop="center", flip=0.5, rand_augment=2))
    whole = transform.batch(batch, torch.Generator().manual_seed(1))
    for rank in range(2):
        share = Portion.of_step(4, number=0, batches=1, rank=rank, ranks=2)
        assert torch.equal(transform.batch(batch[rank::2], torch.Generator().manual_seed(1), share), whole[rank::2])


def test_differences_of_a_still_clip_stay_none():
    spec = InputSpec(ClipSpec(4), "difference", 16, 16, "center", (0.0,), (0.1,))
    still = noise(count=5, frames=1).expand(-1, 4, -1, -1, -1).contiguous()
    transform = TrainTransform(spec, AugmentSpec(crop="center", flip=0, rand_augment=3, rand_augment_magnitude=20))
    assert not transform.batch(still, torch.Generator().manual_seed(0)).any()


@pytest.mark.parametrize("modality", ["flow", "rgb+flow"])
def test_flow_is_refused(modality):
    with pytest.raises(UsageError, match="RandAugment turns frames"):
        make_config({"data": "clips", "modality": modality, "rand_augment": 2})
    channels = 2 if modality == "flow" else 5
    spec = InputSpec(ClipSpec(4), modality, 16, 16, "center", (0.5,) * channels, (0.2,) * channels)
    with pytest.raises(UsageError, match="RandAugment on optical flow"):
        TrainTransform(spec, AugmentSpec(rand_augment=1))


def test_a_magnitude_beyond_the_scale_is_refused():
    with pytest.raises(UsageError, match="rand_augment_magnitude=31"):
        AugmentSpec(rand_augment_magnitude=31)
