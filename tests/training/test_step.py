import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from kinema.core.errors import TrainingError
from kinema.core.spec import ClipSpec, InputSpec
from kinema.datasets.loader import Batch
from kinema.training.mixing import Mixing
from kinema.training.step import Objective, class_weights, refuse_non_finite
from kinema.transforms.presets import AugmentSpec, TrainTransform

SPEC = InputSpec(clip=ClipSpec(frames=4), size_px=16, short_side_px=16)


class Mean(torch.nn.Module):
    """Two logits: plus and minus the mean of a clip."""

    def forward(self, clips):
        mean = clips.mean(dim=(1, 2, 3, 4))
        return torch.stack([mean, -mean], dim=1)


def batch(levels, targets):
    clips = torch.stack([torch.full((4, 3, 16, 16), level, dtype=torch.uint8) for level in levels])
    return Batch(clips, torch.tensor(targets), tuple(range(len(levels))))


def objective(*, smoothing=0.0, mixup=0.0, weights=None):
    return Objective(TrainTransform(SPEC, AugmentSpec(crop="center", flip=0)), smoothing, Mixing(mixup), weights)


def test_loss_and_correct_are_those_of_cross_entropy():
    data = batch([255, 0, 255], [0, 1, 1])
    result = objective()(Mean(), data, torch.device("cpu"), np.random.default_rng(0))
    logits = Mean()(TrainTransform(SPEC, AugmentSpec(crop="center", flip=0)).batch(data.clips, torch.Generator()))
    assert result.loss == pytest.approx(float(functional.cross_entropy(logits, data.targets)))
    assert result.correct == 2


def test_mixup_mixes_clips_and_losses_alike():
    """A linear network of two clips: the mixed loss lies between the losses of either."""
    data = batch([255, 0], [0, 1])
    shares = set()
    for seed in range(20):
        result = objective(mixup=0.4)(Mean(), data, torch.device("cpu"), np.random.default_rng(seed))
        rng = np.random.default_rng(seed)
        rng.integers(2**63)
        share = rng.beta(0.4, 0.4)
        share = max(share, 1 - share)
        partner = rng.permutation(2)
        clips = TrainTransform(SPEC, AugmentSpec(crop="center", flip=0)).batch(data.clips, torch.Generator())
        mixed = Mean()(share * clips + (1 - share) * clips[partner])
        expected = share * functional.cross_entropy(mixed, data.targets)
        expected += (1 - share) * functional.cross_entropy(mixed, data.targets[partner])
        assert float(result.loss) == pytest.approx(float(expected), rel=1e-5)
        shares.add(round(share, 3))
    assert len(shares) > 10


def test_smoothing_and_weights_reach_the_loss():
    data = batch([255, 0], [0, 1])
    plain = float(objective()(Mean(), data, torch.device("cpu"), np.random.default_rng(0)).loss)
    smooth = float(objective(smoothing=0.2)(Mean(), data, torch.device("cpu"), np.random.default_rng(0)).loss)
    first = torch.tensor([2.0, 0.0])
    weighted = float(objective(weights=first)(Mean(), data, torch.device("cpu"), np.random.default_rng(0)).loss)
    alone = float(objective()(Mean(), batch([255], [0]), torch.device("cpu"), np.random.default_rng(0)).loss)
    assert smooth != pytest.approx(plain)
    assert weighted == pytest.approx(alone)  # a loss of 2 · alone and one of none, of two clips


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_weighted_micro_batches_add_up_to_one_batch(smoothing):
    """However the classes fall on the micro-batches."""
    weights = class_weights([3, 1])
    levels, targets = [255, 200, 90, 10], [0, 0, 0, 1]

    def loss(rows):
        data = batch([levels[row] for row in rows], [targets[row] for row in rows])
        made = objective(weights=weights, smoothing=smoothing)
        return float(made(Mean(), data, torch.device("cpu"), np.random.default_rng(0)).loss)

    whole = loss([0, 1, 2, 3])
    for parted in ([[0, 1], [2, 3]], [[0, 3], [1, 2]], [[0], [1], [2], [3]]):
        assert sum(map(loss, parted)) / len(parted) == pytest.approx(whole, rel=1e-6)
    if smoothing == 0:
        logits = Mean()(TrainTransform(SPEC, AugmentSpec(crop="center", flip=0)).batch(
            batch(levels, targets).clips, torch.Generator()))  # fmt: skip
        torch_own = functional.cross_entropy(logits, torch.tensor(targets), weight=weights)
        assert whole == pytest.approx(float(torch_own))  # of all clips, both means are the same


def test_class_weights_balance():
    assert class_weights([3, 1]).tolist() == pytest.approx([4 / 6, 2.0])
    with pytest.raises(TrainingError, match=r"index \[2\]"):
        class_weights([1, 1, 0])


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_number_that_is_none_names_the_batch(value):
    clips = ["/clips/a.mp4", "/clips/b.mp4"]
    with pytest.raises(TrainingError) as caught:
        refuse_non_finite("loss", torch.tensor(value), clips, epoch=2, step=6)
    assert "epoch 3, step 7" in caught.value.given
    assert "/clips/a.mp4" in caught.value.given
    assert "/clips/b.mp4" in caught.value.given
    refuse_non_finite("loss", torch.tensor(1.0), clips, 0, 0)
