"""A CPU gives the gradients that it should, in bfloat16 and float32."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from kinema.core.errors import UsageError
from kinema.training import precision
from kinema.training.precision import CpuBfloat16, ZerosAhead, arithmetic, computes_bfloat16

PROGRAM = Path(__file__).with_name("cpu_gradients.py")
CPU = torch.device("cpu")

needs_bfloat16 = pytest.mark.skipif(not computes_bfloat16(), reason="this CPU has no bfloat16 instructions")


def gradients(*networks, fill):
    """What the program finds where malloc fills what it gives out with the complement of `fill`."""
    environment = {**os.environ, "MALLOC_PERTURB_": str(fill), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, PROGRAM, *networks], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@needs_bfloat16
@pytest.mark.parametrize("fill", [128, 85])
def test_gradients_of_kernels_longer_than_the_clip_are_those_of_float64(fill):
    found = gradients("convolutions", fill=fill)
    assert len(found) == 25
    assert {name: off for name, off in found.items() if not off < 0.02} == {}


@needs_bfloat16
@pytest.mark.parametrize("network", ["resnet3d_18", "dymsta"])
def test_gradients_of_a_network_are_those_of_float32(network):
    """ReLUs and largest values that bfloat16 chooses otherwise cost some; the fault makes them 1e10 times as long."""
    assert gradients(network, fill=128)[network] < 0.9


@needs_bfloat16
@pytest.mark.slow
@pytest.mark.parametrize("network", ["resnet2p1d_18", "i3d", "c3d", "slow_r50"])
def test_gradients_of_other_networks_are_those_of_float32(network):
    assert gradients(network, fill=128)[network] < 0.9


class Spy(torch.overrides.TorchFunctionMode):
    """Which clips convolutions were given, and with which padding."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is functional.conv3d:
            self.seen.append((tuple(args[0].shape[2:]), args[4] if isinstance(args[4], str) else tuple(args[4])))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("frames", "conv", "seen"),
    [
        (2, {"kernel_size": 3, "padding": 1}, ((4, 5, 5), (0, 1, 1))),
        (2, {"kernel_size": (5, 1, 3), "padding": (2, 0, 1), "dilation": 1}, ((6, 5, 5), (0, 0, 1))),
        (4, {"kernel_size": 3, "padding": (2, 2, 2), "dilation": 2}, ((8, 5, 5), (0, 2, 2))),
        (3, {"kernel_size": 3, "padding": 1}, ((3, 5, 5), (1, 1, 1))),
        (1, {"kernel_size": 3, "padding": 1}, ((1, 5, 5), (1, 1, 1))),  # one output frame: nothing is stepped over
        (2, {"kernel_size": 3, "padding": 1, "stride": 2}, ((2, 5, 5), (1, 1, 1))),  # likewise
        (2, {"kernel_size": 2, "padding": 0}, ((2, 5, 5), (0, 0, 0))),
        (3, {"kernel_size": (3, 7, 7), "padding": (1, 3, 3)}, ((3, 11, 11), (1, 0, 0))),
        (2, {"kernel_size": (3, 7, 7), "padding": (1, 3, 3), "stride": (1, 2, 2)}, ((4, 11, 11), (0, 0, 0))),
        (2, {"kernel_size": 3, "padding": "same"}, ((2, 5, 5), "same")),
    ],
)
def test_zeros_go_ahead_where_a_kernel_is_longer_than_the_clip(frames, conv, seen):
    torch.manual_seed(0)
    network = nn.Conv3d(2, 3, **conv)
    clip = torch.randn(1, 2, frames, 5, 5)
    with Spy() as spy, ZerosAhead(bfloat16=True):
        out = network(clip)
    assert spy.seen == [seen]
    torch.testing.assert_close(out, network(clip))


def test_a_convolution_called_by_hand_is_caught_too():
    clip, kernel = torch.randn(1, 2, 2, 5, 5), torch.randn(3, 2, 3, 3, 3)
    with Spy() as spy, ZerosAhead(bfloat16=True):
        out = functional.conv3d(clip, kernel, padding=1)
    assert [shape for shape, _ in spy.seen] == [(4, 5, 5)]
    torch.testing.assert_close(out, functional.conv3d(clip, kernel, padding=1))


@pytest.mark.parametrize(
    ("frames", "conv", "seen"),
    [
        (2, {"kernel_size": 3, "padding": 1}, ((2, 5, 5), (1, 1, 1))),
        (3, {"kernel_size": 3, "padding": 1, "stride": 2}, ((3, 5, 5), (1, 1, 1))),
        (2, {"kernel_size": (5, 3, 3), "padding": (2, 1, 1)}, ((2, 5, 5), (2, 1, 1))),
        (8, {"kernel_size": 7, "padding": 3, "stride": 2}, ((8, 5, 5), (3, 3, 3))),
        (7, {"kernel_size": 7, "padding": 3, "stride": 2}, ((13, 5, 5), (0, 3, 3))),
        (5, {"kernel_size": (7, 1, 1), "padding": (3, 0, 0), "stride": (2, 1, 1)}, ((11, 5, 5), (0, 0, 0))),
    ],
)
def test_float32_has_zeros_ahead_of_long_kernels_that_skip_frames_alone(frames, conv, seen):
    plain = arithmetic("32-true", CPU)
    clip, network = torch.randn(1, 2, frames, 5, 5), nn.Conv3d(2, 3, **conv)
    with Spy() as spy, plain.forward_context():
        out = network(plain.convert_input(clip))
    assert spy.seen == [seen]
    torch.testing.assert_close(out, network(clip))


@pytest.mark.parametrize("fill", [128, 85])
def test_gradients_in_float32_are_those_of_float64(fill):
    found = gradients("float32", fill=fill)
    assert len(found) == 8
    assert {name: off for name, off in found.items() if not off < 1e-4} == {}


def test_bfloat16_has_zeros_ahead(monkeypatch):
    monkeypatch.setattr(precision, "computes_bfloat16", lambda: True)
    ours = arithmetic("bf16-mixed", CPU)
    with Spy() as spy, ours.forward_context():
        out = nn.Conv3d(2, 3, 3, padding=1)(ours.convert_input(torch.randn(1, 2, 2, 5, 5)))
    assert spy.seen == [((4, 5, 5), (0, 1, 1))]
    assert out.dtype == torch.bfloat16


def test_gpus_get_no_zeros_ahead():
    on_gpu = arithmetic("bf16-mixed", torch.device("cuda"))
    assert not isinstance(on_gpu, CpuBfloat16)
    assert (on_gpu.precision, on_gpu.device) == ("bf16-mixed", "cuda")


def test_a_cpu_without_bfloat16_is_told_so(monkeypatch):
    monkeypatch.setattr(precision, "computes_bfloat16", lambda: False)
    with pytest.raises(UsageError, match="bfloat16 instructions") as caught:
        arithmetic("bf16-mixed", CPU)
    assert "32-true" in caught.value.allowed
    assert arithmetic("32-true", CPU).precision == "32-true"
