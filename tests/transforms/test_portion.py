"""A step's clips, parted among micro-batches and processes: each keeps what was drawn for its place."""

import pytest
import torch

from kinema.core.spec import ClipSpec, InputSpec
from kinema.transforms.portion import Portion
from kinema.transforms.presets import AugmentSpec, TrainTransform

SPEC = InputSpec(ClipSpec(2), "rgb", 16, 16, "center", (0.0,) * 3, (1.0,) * 3)
STRONG = AugmentSpec(crop="center", flip=0.5, brightness=0.5, contrast=0.5, saturation=0.5, hue=0.2)


def parts(batches, ranks, whole=8):
    """Rows of each micro-batch and process, as the sampler parts them, and their portion."""
    size = whole // (batches * ranks)
    for number in range(batches):
        for rank in range(ranks):
            rows = list(range(whole))[rank::ranks][number * size : (number + 1) * size]
            yield rows, Portion.of_step(size, number=number, batches=batches, rank=rank, ranks=ranks)


@pytest.mark.parametrize(("batches", "ranks"), [(1, 1), (2, 1), (1, 2), (4, 2), (2, 4)])
def test_places_are_those_of_the_sampler(batches, ranks):
    for rows, portion in parts(batches, ranks):
        assert portion.take(torch.arange(8), len(rows)).tolist() == rows


@pytest.mark.parametrize(("batches", "ranks"), [(2, 1), (1, 2), (2, 2)])
def test_a_clip_is_changed_alike_however_the_step_is_parted(batches, ranks):
    clips = torch.randint(0, 255, (8, 2, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    transform = TrainTransform(SPEC, STRONG)
    whole = transform.batch(clips, torch.Generator().manual_seed(1))
    assert len({tuple(clip.flatten()[:3].tolist()) for clip in whole}) == 8
    for rows, portion in parts(batches, ranks):
        found = transform.batch(clips[rows], torch.Generator().manual_seed(1), portion)
        assert torch.equal(found, whole[rows])
