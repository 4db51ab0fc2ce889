import numpy as np
import pytest
import torch

from kinema.datasets.place import alike, coarse, describe, mirrored, near


def pictures(count, seed=0):
    """Grey pictures (P, 64, 64) of blobs on a slope of light."""
    rng = np.random.default_rng(seed)
    blobs = torch.from_numpy(rng.integers(0, 200, (count, 1, 8, 8)).astype(np.float32))
    smooth = torch.nn.functional.interpolate(blobs, (64, 64), mode="bicubic")[:, 0]
    return (smooth + torch.linspace(0, 40, 64)).clamp(0, 255)


def test_the_form_of_a_description():
    told = describe(pictures(3))
    assert (told.shape, told.dtype) == ((3, 8, 16, 16), torch.int8)


def test_directions_are_those_from_dark_to_light():
    ramp = (torch.arange(64) * 3.0).expand(64, 64).clone()
    ramp[:32] = 0  # else every cell were the same, and the mean is taken off
    strong = describe(ramp[None])[0, :, 12, 5]
    assert int(strong.argmax()) == 0
    assert int(describe(ramp.T.contiguous()[None])[0, :, 5, 12].argmax()) == 2


@pytest.mark.parametrize("light", [(1.0, 30.0), (0.5, 0.0), (0.15, 2.0)])
def test_light_changes_little(light):
    gain, offset = light
    here = pictures(1)
    assert float(alike(describe(here)[None], describe(here * gain + offset)[None])) > 0.85


def test_flat_pictures_are_like_nothing():
    flat = describe(torch.full((1, 64, 64), 7.0))
    assert not flat.any()
    assert float(alike(flat[None], flat[None])) == 0
    assert float(near(coarse(flat[None]), coarse(flat[None]))) == 0


def test_the_mirrored_description_is_that_of_the_mirrored_picture():
    here = pictures(2)
    exact = describe(here.flip(-1)).int()
    assert (mirrored(describe(here)).int() - exact).abs().max() <= 1
    assert (describe(here).int() - exact).abs().max() > 20


def correlation(one, other):
    """Of two descriptions (8, 16, 16), at the best shift of up to four cells, one shift after another."""
    found = []
    for down in range(-4, 5):
        for right in range(-4, 5):
            here = one[:, max(0, -down) : 16 - max(0, down), max(0, -right) : 16 - max(0, right)].astype(float)
            there = other[:, max(0, down) : 16 - max(0, -down), max(0, right) : 16 - max(0, -right)].astype(float)
            found.append((here * there).sum() / np.sqrt((here**2).sum() * (there**2).sum()))
    return max(found)


def test_likeness_is_the_best_correlation_of_any_two_pictures_at_any_shift():
    one, other = describe(pictures(3, seed=1)), describe(pictures(3, seed=2))
    other[1] = torch.roll(one[2], (3, -2), dims=(1, 2))
    expected = max(correlation(one[p].numpy(), other[q].numpy()) for p in range(3) for q in range(3))
    assert float(alike(one[None], other[None])) == pytest.approx(expected, abs=1e-5)
    assert expected > 0.9
    far = describe(pictures(3, seed=4))
    expected = max(correlation(one[p].numpy(), far[q].numpy()) for p in range(3) for q in range(3))
    assert float(alike(one[None], far[None])) == pytest.approx(expected, abs=1e-5)


def test_coarse_likeness_is_of_every_pair_at_any_shift():
    some = coarse(torch.stack([describe(pictures(3, seed=seed)) for seed in range(4)]))
    moved = torch.roll(some[[2, 0]], (1, -2), dims=(2, 3))
    told = near(some, moved)
    assert told.shape == (4, 2)
    assert told.argmax(dim=0).tolist() == [2, 0]
    assert told.max() <= 1.0 + 1e-6
    assert torch.allclose(near(moved, some), told.T, atol=1e-6)
