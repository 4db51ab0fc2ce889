"""The classes visit the same positions for the same shares of the time, at another pace."""

from __future__ import annotations

import numpy as np
import pytest

from kinema.datasets.motion import LABELS, Motion, make_motion

CLIPS = 300
FPS = 12.0


def clips(label: str, frames: int = 48) -> list[Motion]:
    return [make_motion(label, frames, FPS, np.random.default_rng((7, i))) for i in range(CLIPS)]


@pytest.mark.parametrize("channel", ["reach", "other"])
@pytest.mark.parametrize("frames", [36, 48, 100])
def test_positions_are_distributed_alike(channel: str, frames: int) -> None:
    normal, selfharm = (
        np.concatenate([getattr(motion, channel) for motion in clips(label, frames)]) for label in LABELS
    )
    shares = [np.histogram(values, bins=10, range=(0, 1))[0] / len(values) for values in (normal, selfharm)]
    assert 0.5 * np.abs(shares[0] - shares[1]).sum() < 0.02  # total variation of the histograms


def test_strikes_are_sudden_and_normal_reaching_is_not() -> None:
    fastest = {label: [np.abs(np.diff(m.reach)).max() * FPS for m in clips(label)] for label in LABELS}
    assert min(fastest["selfharm"]) > 4  # whole paths a second
    assert max(fastest["normal"]) < 3.5
    assert np.mean(fastest["normal"]) < 2


def test_both_classes_have_fast_and_slow_bodies() -> None:
    for label, share in (("normal", 0.55), ("selfharm", 0.25)):
        fast = np.mean([np.abs(np.diff(m.other)).mean() * FPS > 2 for m in clips(label)])
        assert fast == pytest.approx(share, abs=0.1)


@pytest.mark.parametrize("label", LABELS)
def test_positions_stay_on_the_path(label: str) -> None:
    for motion in clips(label):
        for channel in (motion.reach, motion.other):
            assert channel.shape == (48,)
            assert channel.min() >= 0
            assert channel.max() <= 1
        assert motion.reach.max() > 0.9  # the hand does arrive, whoever lifts it


def test_the_seed_decides() -> None:
    first, again, other = (make_motion("normal", 48, FPS, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first.reach, again.reach)
    assert not np.array_equal(first.reach, other.reach)
