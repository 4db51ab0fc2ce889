import pytest
import torch

from kinema.core.errors import UsageError
from kinema.training.recipe import make_config
from kinema.transforms.presets import EvalTransform

MEAN, DEVIATION = (0.4345, 0.4051, 0.3775), (0.2768, 0.2713, 0.2737)
ACTIVITYNET = (114.7748, 107.7354, 99.4750)


def fed(channels, **settings):
    """What every byte becomes in each channel of the network's input."""
    spec = make_config({"data": "c", "frames": 1, "size": 16, "short_side": 16}, settings).input_spec
    shades = torch.arange(256, dtype=torch.uint8).view(1, 1, 1, 16, 16).expand(1, 1, channels, 16, 16)
    return EvalTransform(spec).batch(shades)[0, :, 0].flatten(1).double()


BYTES = torch.arange(256, dtype=torch.float64)
FLOW = (BYTES - 128) / 127


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        ("kinetics", [(BYTES / 255 - mean) / std for mean, std in zip(MEAN, DEVIATION, strict=True)]),
        ("activitynet-mean", [BYTES - mean for mean in ACTIVITYNET]),
        ("symmetric", [BYTES / 127.5 - 1] * 3),
    ],
)
def test_pictures_are_fed_as_published(pixels, expected):
    torch.testing.assert_close(fed(3, pixels=pixels), torch.stack(expected), rtol=1e-5, atol=1e-5)
    both = fed(5, pixels=pixels, modality="rgb+flow")
    torch.testing.assert_close(both, torch.stack([*expected, FLOW, FLOW]), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("pixels", ["kinetics", "symmetric"])
def test_flow_is_symmetric_in_any_case(pixels):
    found = fed(2, pixels=pixels, modality="flow")
    torch.testing.assert_close(found, torch.stack([FLOW, FLOW]), rtol=1e-5, atol=1e-6)
    assert found[0, 128] == 0  # no motion


@pytest.mark.parametrize(
    ("modality", "pixels"),
    [("flow", "activitynet-mean"), ("difference", "activitynet-mean"), ("difference", "symmetric")],
)
def test_statistics_of_pictures_that_are_not_seen_are_refused(modality, pixels):
    with pytest.raises(UsageError, match="are of pictures"):
        make_config({"data": "c", "modality": modality, "pixels": pixels})
