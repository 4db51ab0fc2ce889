"""Every family gives the numbers of the published implementation, given its tensors.

One recorded network is one `NAME.json.gz` (see fill.py) and one row of `GOLDENS`.
"""

import gzip
import json
from pathlib import Path

import fill
import pytest
import torch

from kinema.core.labels import LabelMap
from kinema.core.spec import InputSpec
from kinema.models.weights import ModelCard, load_model, save_weights
from kinema.models.zoo import create_model

HERE = Path(__file__).parent

# recorded network: our name, our options
GOLDENS = {
    "c3d": ("c3d", {}),
    "densenet121": ("densenet3d_121", {}),
    "densenet121_t3s2_nopool": ("densenet3d_121", {"conv1_t_size": 3, "conv1_t_stride": 2, "max_pool": False}),
    "densenet169_t5s2": ("densenet3d_169", {"conv1_t_size": 5, "conv1_t_stride": 2}),
    "densenet201": ("densenet3d_201", {}),
    "densenet264_t3_nopool": ("densenet3d_264", {"conv1_t_size": 3, "max_pool": False}),
    "i3d_flow": ("i3d", {}),
    "i3d_rgb": ("i3d", {}),
    "i3d_rgb_tfnames": ("i3d", {}),
    "preact50": ("preact_resnet3d_50", {}),
    "preact18_options": (
        "preact_resnet3d_18",
        {"shortcut": "A", "conv1_t_size": 4, "conv1_t_stride": 2, "max_pool": False, "widen_factor": 0.5},
    ),
    "preact50_options": (
        "preact_resnet3d_50",
        {"shortcut": "A", "conv1_t_size": 3, "conv1_t_stride": 2, "widen_factor": 0.3},
    ),
    "preact200": ("preact_resnet3d_200", {}),
    "ptv_c2d_r50_narrow": ("c2d_r50", {"widen_factor": 0.25}),
    "ptv_csn_r101": ("csn_r101", {}),
    "ptv_csn_r101_narrow": ("csn_r101", {"widen_factor": 0.125}),
    "ptv_i3d_r50_narrow": ("i3d_r50", {"widen_factor": 0.25}),
    "ptv_r2plus1d_r50_narrow": ("r2plus1d_r50", {"widen_factor": 0.25}),
    "ptv_slow_r50": ("slow_r50", {}),
    "ptv_slowfast_16x8_r101_50_50_narrow": ("slowfast_16x8_r101_50_50", {"widen_factor": 0.25}),
    "ptv_slowfast_r101_narrow": ("slowfast_r101", {"widen_factor": 0.25}),
    "ptv_slowfast_r50": ("slowfast_r50", {}),
    "ptv_slowfast_r50_narrow": ("slowfast_r50", {"widen_factor": 0.25}),
    "ptv_x3d_l": ("x3d_l", {}),
    "ptv_x3d_s": ("x3d_s", {}),
    "ptv_x3d_xs": ("x3d_xs", {}),
    "r2p1d18": ("resnet2p1d_18", {}),
    "r2p1d50": ("resnet2p1d_50", {}),
    "r2p1d18_options": (
        "resnet2p1d_18",
        {"shortcut": "A", "conv1_t_size": 4, "conv1_t_stride": 2, "max_pool": False, "widen_factor": 0.5},
    ),
    "r2p1d50_options": (
        "resnet2p1d_50",
        {"shortcut": "A", "conv1_t_size": 3, "conv1_t_stride": 2, "widen_factor": 0.3},
    ),
    "r3d18": ("resnet3d_18", {}),
    "r3d18_shortcutA": ("resnet3d_18", {"shortcut": "A"}),
    "r3d34": ("resnet3d_34", {}),
    "r3d34_shortcutA": ("resnet3d_34", {"shortcut": "A"}),
    "r3d50": ("resnet3d_50", {}),
    "r3d18_options": (
        "resnet3d_18",
        {"shortcut": "A", "conv1_t_size": 4, "conv1_t_stride": 2, "max_pool": False, "widen_factor": 0.5},
    ),
    "r3d50_options": ("resnet3d_50", {"shortcut": "A", "conv1_t_size": 3, "conv1_t_stride": 2, "widen_factor": 0.3}),
    "r3d101": ("resnet3d_101", {}),
    "r3d152": ("resnet3d_152", {}),
    "r3d200": ("resnet3d_200", {}),
    "resnext50": ("resnext3d_50", {}),
    "resnext50_c8_shortcutA": ("resnext3d_50", {"shortcut": "A", "cardinality": 8}),
    "resnext50_c16_options": (
        "resnext3d_50",
        {"cardinality": 16, "conv1_t_size": 4, "conv1_t_stride": 2, "max_pool": False, "widen_factor": 0.5},
    ),
    "resnext101": ("resnext3d_101", {}),
    "tv_mc3_18": ("mc3_18", {}),
    "tv_mvit_v1_b": ("mvit_v1_b", {}),
    "tv_mvit_v2_s": ("mvit_v2_s", {}),
    "tv_r2plus1d_18": ("r2plus1d_18", {}),
    "tv_r3d_18": ("r3d_18", {}),
    "tv_s3d": ("s3d", {}),
    "wide50_k2": ("wide_resnet3d_50", {"k": 2}),
    "wide50_k1_shortcutA": ("wide_resnet3d_50", {"shortcut": "A", "k": 1}),
    "wide50_k3_options": (
        "wide_resnet3d_50",
        {"k": 3, "conv1_t_size": 4, "conv1_t_stride": 2, "max_pool": False, "widen_factor": 0.25},
    ),
}
# One network a family and option in `make test`; the deeper ones repeat the same code for longer.
DEEP = {"r3d34", "r3d34_shortcutA", "r3d101", "r3d152", "r3d200", "preact200", "resnext101", "densenet201"}
DEEP |= {"tv_mvit_v1_b", "tv_mvit_v2_s"}


class Recorded:
    """One recorded network: what was fed, what came out, and ours filled with the same tensors."""

    def __init__(self, name):
        self.name, self.options = GOLDENS[name]
        record = json.loads(gzip.decompress((HERE / f"{name}.json.gz").read_bytes()))
        self.parameters = record["parameters"]
        self.shapes = {key: tuple(shape) for key, shape in record["state_dict"].items()}
        self.tensors = {key: torch.from_numpy(value) for key, value in fill.state_dict(record["state_dict"]).items()}
        self.clip = torch.from_numpy(fill.clip(record["input"]))
        self.logits = torch.tensor(record["logits"], dtype=torch.float64)

    def network(self):
        with torch.device("meta"):
            model = create_model(self.name, len(self.logits), self.clip.shape[1], **self.options)
        model.load_state_dict(self.tensors, assign=True)
        return model.eval()

    def error(self, model, dtype):
        with torch.no_grad():
            out = model(self.clip.to(dtype)).squeeze(0).double()
        return (torch.linalg.vector_norm(out - self.logits) / torch.linalg.vector_norm(self.logits)).item()


def test_every_recording_is_replayed():
    assert sorted(path.name.removesuffix(".json.gz") for path in HERE.glob("*.json.gz")) == sorted(GOLDENS)


@pytest.mark.parametrize(
    "golden", [pytest.param(name, marks=pytest.mark.slow if name in DEEP else ()) for name in GOLDENS]
)
def test_recorded_logits_come_out(golden, tmp_path):
    recorded = Recorded(golden)
    model = recorded.network()

    assert {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()} == recorded.shapes
    assert list(model.state_dict()) == list(recorded.shapes)
    assert sum(parameter.numel() for parameter in model.parameters()) == recorded.parameters
    assert recorded.error(model, torch.float64) < 1e-6

    path = tmp_path / "w.safetensors"
    labels = LabelMap.unknown(len(recorded.logits))
    save_weights(
        path, model, ModelCard(recorded.name, recorded.options, len(recorded.clip[0]), labels, InputSpec(), {})
    )
    assert recorded.error(load_model(path), torch.float32) < 1e-3


@pytest.fixture(scope="module")
def resnet3d_18():
    return Recorded("r3d18")


@pytest.mark.parametrize(
    "key",
    [
        "conv1.weight",
        "layer2.0.downsample.0.weight",
        "layer4.0.conv2.weight",
        "fc.bias",
    ],
)
def test_a_single_altered_number_is_noticed(resnet3d_18, key):
    model = resnet3d_18.network()
    tensor = model.state_dict()[key]
    middle = tuple(
        size // 2 for size in tensor.shape
    )  # of a kernel too: at 16 frames its edges in layer4 see padding only
    before = tensor[middle].clone()
    tensor[middle] += 0.01
    try:
        assert resnet3d_18.error(model, torch.float64) > 1e-6
    finally:
        tensor[middle] = before
