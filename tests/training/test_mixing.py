"""Mixed clips: which pixels and which share come from the partner."""

import numpy as np
import pytest
import torch

from kinema.training.mixing import Mix, Mixing
from kinema.transforms.spatial import Box


def test_a_tube_is_cut_through_all_frames():
    clips = torch.arange(2).view(2, 1, 1, 1, 1).expand(2, 3, 4, 8, 8).float().clone()
    mixed = Mix(1 - 6 / 64, torch.tensor([1, 0]), Box(top=2, left=5, height=2, width=3)).apply(clips)
    expected = torch.zeros(8, 8)
    expected[2:4, 5:8] = 1
    for frame in range(4):
        for channel in range(3):
            assert torch.equal(mixed[0, channel, frame], expected)
            assert torch.equal(mixed[1, channel, frame], 1 - expected)
    assert torch.equal(clips[0], torch.zeros(3, 4, 8, 8))  # what came in is as it was


def test_the_share_is_that_of_the_pixels_that_stay():
    """Drawn boxes are cut off at the edges, and count as what is left of them."""
    rng, clips = np.random.default_rng(0), torch.stack([torch.zeros(1, 2, 12, 20), torch.ones(1, 2, 12, 20)])
    shares, cut_off = [], 0
    for _ in range(300):
        mix = Mixing(cutmix=1.0).draw(2, 12, 20, rng)
        mixed = mix.apply(clips)
        swapped = mix.partner.tolist() == [1, 0]
        assert mixed[0].mean().item() == pytest.approx(1 - mix.share if swapped else 0, abs=1e-6)
        shares.append(mix.share)
        cut_off += mix.box is not None and (mix.box.top == 0 or mix.box.left == 0)
    assert cut_off > 50
    assert 0 <= min(shares) < 0.2
    assert max(shares) > 0.9
    # Of a box about a point anywhere, 1/4 a side is lost at most: E[share] of Beta(1, 1) rises from 1/2.
    assert 0.55 < np.mean(shares) < 0.75


def test_a_box_within_the_frame_has_the_drawn_area():
    rng = np.random.default_rng(3)
    for _ in range(100):
        state = rng.bit_generator.state
        mix = Mixing(cutmix=1.0).draw(4, 100, 100, rng)
        rng.bit_generator.state, after = state, rng.bit_generator.state
        share = rng.beta(1.0, 1.0)
        rng.bit_generator.state = after
        box = mix.box
        if box and box.top > 0 and box.left > 0 and box.top + box.height < 100 and box.left + box.width < 100:
            assert box.height == box.width == int(100 * np.sqrt(1 - share))
            assert mix.share == 1 - box.height * box.width / 10_000


def test_with_both_a_batch_has_one_of_them():
    rng = np.random.default_rng(0)
    mixes = [Mixing(mixup=0.4, cutmix=1.0).draw(4, 16, 16, rng) for _ in range(400)]
    cut = [mix for mix in mixes if mix.box]
    assert 150 < len(cut) < 250
    assert all(mix.share >= 0.5 for mix in mixes if not mix.box)


def test_mixup_alone_draws_as_it_always_did():
    mix = Mixing(mixup=0.4).draw(5, 16, 16, np.random.default_rng(7))
    rng = np.random.default_rng(7)
    share = rng.beta(0.4, 0.4)
    assert mix.share == max(share, 1 - share)
    assert mix.partner.tolist() == rng.permutation(5).tolist()


def test_nothing_is_mixed_unless_asked_for():
    clips = torch.rand(3, 3, 2, 4, 4)
    mix = Mixing().draw(3, 4, 4, np.random.default_rng(0))
    assert mix.apply(clips) is clips
    assert mix.share == 1


def test_seeds_decide():
    draws = [Mixing(cutmix=1.0).draw(4, 16, 16, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert (draws[0].share, draws[0].box) == (draws[1].share, draws[1].box)
    assert (draws[0].share, draws[0].box) != (draws[2].share, draws[2].box)
