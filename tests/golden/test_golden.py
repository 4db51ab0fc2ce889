"""Every family gives the numbers of the published implementation, through the converter, given its tensors.

One recorded network is one `NAME.json.gz` (see fill.py) and one row of `GOLDENS`.
"""

import gzip
import json
from pathlib import Path

import fill
import pytest
import torch

from kinema.core.labels import LabelMap
from kinema.models.convert.card import card_of
from kinema.models.convert.conversion import convert_file, convert_tensors
from kinema.models.weights import load_model, save_weights
from kinema.models.zoo import full_options

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
    "i3d_flow_odd": ("i3d", {}),
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
    "r2p1d10_flow": ("resnet2p1d_10", {"conv1_t_size": 5, "widen_factor": 0.25}),
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
DEEP = {
    "densenet201",
    "preact200",
    "r3d101",
    "r3d152",
    "r3d200",
    "r3d34",
    "r3d34_shortcutA",
    "resnext101",
    "tv_mvit_v1_b",
    "tv_mvit_v2_s",
    "wide50_k2",
}
SCALES = (".bn.weight", ".batch3d.weight")  # of batch norms, which the published I3D has not
# Files of half a gigabyte, or clips that take long: the numbers come out in `make test`, their way through files later.
HEAVY = {"c3d", "i3d_flow", "i3d_rgb", "ptv_csn_r101", "ptv_slow_r50", "ptv_slowfast_r50", "ptv_x3d_l", "ptv_x3d_s"}
# Of each family the network in which single numbers are altered, and whether that takes long.
ALTERED = {
    "c3d": True,
    "densenet121_t3s2_nopool": True,
    "i3d_rgb": True,
    "preact18_options": False,
    "ptv_csn_r101_narrow": True,
    "ptv_c2d_r50_narrow": False,
    "ptv_r2plus1d_r50_narrow": False,
    "ptv_slow_r50": True,
    "ptv_slowfast_r50_narrow": True,
    "ptv_x3d_xs": False,
    "r2p1d18_options": False,
    "r3d18_options": False,
    "r3d50_options": False,
    "resnext50_c16_options": False,
    "tv_mc3_18": True,
    "tv_mvit_v1_b": True,
    "tv_mvit_v2_s": True,
    "tv_r2plus1d_18": True,
    "tv_r3d_18": True,
    "tv_s3d": True,
    "wide50_k3_options": False,
}
# Options that leave no trace in a file, and networks that have all tensors alike: these are told to the converter.
UNSEEN = {"conv1_t_stride", "max_pool"}
ALIKE = {"x3d_xs", "x3d_s", "x3d_m"}


class Recorded:
    """One recorded network: its tensors, what was fed, and what came out."""

    def __init__(self, golden):
        self.name, self.options = GOLDENS[golden]
        record = json.loads(gzip.decompress((HERE / f"{golden}.json.gz").read_bytes()))
        self.parameters = record["parameters"]
        self.tensors = {key: torch.from_numpy(value) for key, value in fill.state_dict(record["state_dict"]).items()}
        self.clip = torch.from_numpy(fill.clip(record["input"]))
        self.logits = torch.tensor(record["logits"], dtype=torch.float64)
        rounded = {"widen_factor"} if self.name.startswith("x3d") else set()  # to eights: two factors, one width
        self.told = {
            "architecture": self.name if self.name in ALIKE else None,
            "options": {key: value for key, value in self.options.items() if key in UNSEEN | rounded},
        }

    def convert(self):
        return convert_tensors(self.tensors, **self.told)

    def error(self, model):
        dtype = next(model.parameters()).dtype
        with torch.no_grad():
            out = model(self.clip.to(dtype)).squeeze(0).double()
        return (torch.linalg.vector_norm(out - self.logits) / torch.linalg.vector_norm(self.logits)).item()


def as_published(golden, tensors):
    """The tensors as the project of this golden wraps them in its files."""
    if golden.startswith("ptv_"):
        return {"model_state": tensors}
    if golden.startswith(("r3d", "r2p1d", "densenet")):
        return {"epoch": 200, "arch": "net-0", "state_dict": tensors, "optimizer": {}, "scheduler": {}}
    if golden.startswith(("preact", "wide", "resnext")):
        prefixed = {f"module.{name}": tensor for name, tensor in tensors.items()}
        return {"epoch": 201, "arch": "net-0", "state_dict": prefixed, "optimizer": {}}
    return tensors


def of(slow, names=GOLDENS):
    """These goldens, one after the other for all tests of the module; those of `slow` marked so."""
    params = [pytest.param(name, marks=pytest.mark.slow if name in slow else ()) for name in names]
    return pytest.mark.parametrize("golden", params, scope="module")


@pytest.fixture(scope="module")
def recorded(golden):
    return Recorded(golden)


def test_every_recording_is_replayed():
    assert sorted(path.name.removesuffix(".json.gz") for path in HERE.glob("*.json.gz")) == sorted(GOLDENS)


@of(DEEP)
def test_recorded_logits_come_out(recorded):
    found = recorded.convert()

    assert found.architecture == found.model.architecture == recorded.name
    assert found.options == found.model.options == full_options(recorded.name, recorded.options)
    assert (found.in_channels, found.num_classes) == (recorded.clip.shape[1], len(recorded.logits))
    assert found.missing == found.left_over == found.skipped == ()
    scales = sum(len(tensor) for name, tensor in recorded.tensors.items() if name.endswith(SCALES))
    dropped = scales if recorded.name == "i3d" else 0
    assert sum(parameter.numel() for parameter in found.model.parameters()) == recorded.parameters - dropped
    assert recorded.error(found.model) < 1e-6


@of(DEEP | HEAVY)
def test_files_give_the_same_numbers(golden, recorded, tmp_path):
    theirs, ours = tmp_path / "theirs.pth", tmp_path / "ours.safetensors"
    torch.save(as_published(golden, recorded.tensors), theirs)
    found = convert_file(theirs, **recorded.told)
    save_weights(ours, found.model, card_of(found, LabelMap.unknown(found.num_classes)))
    theirs.unlink()

    assert recorded.error(load_model(ours)) < 1e-3
    exact = load_model(ours, dtype=torch.float64).state_dict()  # the very network that gives the logits to 1e-6
    direct = recorded.convert().model.state_dict()
    assert list(exact) == list(direct)
    assert all(torch.equal(exact[name], tensor) for name, tensor in direct.items())


@of({name for name, slow in ALTERED.items() if slow}, ALTERED)
def test_a_single_altered_number_is_noticed(recorded):
    model = recorded.convert().model
    places = [name for name, tensor in model.named_parameters() if tensor.ndim > 1]  # convolutions and the like
    model(recorded.clip).square().sum().backward()
    for name in (places[0], places[len(places) // 2], places[-1]):
        parameter = model.get_parameter(name)
        # Some number that is felt at all: many are not, being before a ReLU that is shut.
        felt = parameter.grad.abs().argmax()
        with torch.no_grad():
            before = parameter.view(-1)[felt].clone()
            parameter.view(-1)[felt] += 0.01
            assert recorded.error(model) > 1e-6, name
            parameter.view(-1)[felt] = before
