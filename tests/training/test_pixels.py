from dataclasses import replace

import pytest
import torch
from small_runs import SMALL

from kinema.core.errors import UsageError
from kinema.core.progress import Silent
from kinema.models.weights import save_weights
from kinema.models.zoo import create_model
from kinema.training.parts import set_up as assemble
from kinema.training.pixels import describe_change
from kinema.training.processes import connect
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


@pytest.mark.parametrize("pixels", ["kinetics", "activitynet-mean"])
def test_a_run_tells_that_its_weights_were_fed_otherwise(job_of, tmp_path, pixels):
    job = job_of(**SMALL, pixels="activitynet-mean")
    network = create_model(job.config.model, 2, 3, **job.config.model_options)
    save_weights(tmp_path / "raw.safetensors", network, job.card)
    lines = []

    class Listening(Silent):
        def log(self, message):
            lines.append(message)

    config = make_config(job.config.model_dump(), {"weights": str(tmp_path / "raw.safetensors"), "pixels": pixels})
    assemble(replace(job, config=config), connect(config), Listening())
    assert any("not as pixels" in line for line in lines) == (pixels == "kinetics")


def test_other_pixels_of_weights_are_told():
    kinetics, raw = (make_config({"data": "c", "pixels": name}).input_spec for name in ("kinetics", "activitynet-mean"))
    assert describe_change("kinetics", kinetics, kinetics) == ""
    told = describe_change("kinetics", kinetics, raw)
    assert told.startswith(
        "pixels are fed as the weights were trained on them, not as pixels 'kinetics' says: 0 to 255,"
    )
    assert told.endswith("mean 114.775 107.735 99.475, deviation 1 1 1")
