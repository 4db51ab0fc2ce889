"""Colour jitter: torchvision's numbers, one change a clip, none where the strength is zero."""

import pytest
import torch
from torchvision.transforms.v2 import functional as tv

from kinema.transforms.color import (
    Jitter,
    adjust_brightness,
    adjust_contrast,
    adjust_hue,
    adjust_saturation,
    jitter,
)

STRONG = {"brightness": 0.5, "contrast": 0.5, "saturation": 0.5, "hue": 0.5}
OFF = dict.fromkeys(STRONG, 0.0)


def clips(count=4, frames=3):
    return torch.rand(count, 3, frames, 9, 7, generator=torch.Generator().manual_seed(1)) * 255


def draw(count, seed=0, **strengths):
    return Jitter.draw(count, **{**OFF, **strengths}, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("ours", "theirs", "amounts"),
    [
        (adjust_brightness, tv.adjust_brightness, (0.0, 0.5, 1.0, 1.7)),
        (adjust_contrast, tv.adjust_contrast, (0.0, 0.5, 1.0, 1.7)),
        (adjust_saturation, tv.adjust_saturation, (0.0, 0.5, 1.0, 1.7)),
        (adjust_hue, tv.adjust_hue, (-0.5, -0.1, 0.0, 0.3)),
    ],
)
def test_each_clip_gets_torchvisions_numbers(ours, theirs, amounts):
    batch = clips(frames=1)  # of one frame: torchvision's contrast knows no longer mean
    batch[0, :, 0, 0] = 7.0  # grey: no hue of its own
    changed = ours(batch, torch.tensor(amounts))
    for before, after, amount in zip(batch, changed, amounts, strict=True):
        expected = theirs(before.transpose(0, 1) / 255, amount).transpose(0, 1) * 255
        assert torch.allclose(after, expected, atol=0.05)  # its grey weighs red 0.2989


def test_no_strength_changes_not_a_bit():
    batch = clips()
    assert torch.equal(jitter(batch, draw(4)), batch)


@pytest.mark.parametrize("name", STRONG)
def test_each_strength_changes_something(name):
    batch = clips()
    assert not torch.allclose(jitter(batch, draw(4, **{name: 0.4})), batch, atol=1.0)


def test_frames_of_a_clip_change_alike():
    still = clips(frames=1).expand(-1, -1, 5, -1, -1)
    changed = jitter(still, draw(4, **STRONG))
    assert torch.equal(changed, changed[:, :, :1].expand_as(changed))


def test_contrast_does_not_flicker():
    """A frame keeps its change when a bright frame follows or not, but for the clip's one mean."""
    batch = torch.full((1, 3, 4, 8, 8), 100.0)
    batch[:, :, 2] = 250.0
    changed = adjust_contrast(batch, torch.tensor([0.5]))
    assert torch.equal(changed[:, :, 0], changed[:, :, 3])


def test_clips_of_a_batch_change_apart():
    same = clips(1).expand(6, -1, -1, -1, -1)
    changed = jitter(same, draw(6, **STRONG))
    assert all(not torch.allclose(changed[0], other) for other in changed[1:])


def test_a_clip_changes_the_same_alone_and_in_a_batch():
    batch, change = clips(), draw(4, **STRONG)
    third = Jitter(*(part[2:3] for part in (change.brightness, change.contrast, change.saturation, change.hue)))
    assert torch.allclose(jitter(batch, change)[2:3], jitter(batch[2:3], third), atol=1e-4)


def test_draws_stay_within_their_strengths():
    change = draw(5000, brightness=0.3, contrast=2.0, saturation=0.1, hue=0.25)
    for part, low, high in [
        (change.brightness, 0.7, 1.3),
        (change.contrast, 0.0, 3.0),
        (change.saturation, 0.9, 1.1),
        (change.hue, -0.25, 0.25),
    ]:
        assert part.min().item() == pytest.approx(low, abs=0.01)
        assert part.max().item() == pytest.approx(high, abs=0.01)
        assert low <= part.min().item() <= part.max().item() <= high


def test_values_stay_bytes_in_range():
    changed = jitter(clips(32), draw(32, **{**STRONG, "brightness": 2.0, "contrast": 2.0, "saturation": 2.0}))
    assert changed.min() >= 0
    assert changed.max() <= 255.001
