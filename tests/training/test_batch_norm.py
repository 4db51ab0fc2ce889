"""Batch norms that count the clips of two processes; what the processes found is printed by two_processes.py."""

import pytest
import torch
from torch import nn

from kinema.core.errors import UsageError
from kinema.models.zoo import create_model
from kinema.training.batch_norm import synchronise

CPU = torch.device("cpu")


def test_two_processes_learn_what_one_with_all_clips_learns(two_processes):
    for found in two_processes:
        norms = found["norms"]
        assert norms["synchronised"] < 1e-9  # of weights and statistics up to 10, in float64, after six steps
        assert norms["plain"] > 0.1
        assert norms["evaluates alike"]
        assert norms["still a batch norm"]
        assert norms["in bfloat16"] == "torch.bfloat16"


@pytest.mark.parametrize("name", ["resnet3d_10", "i3d", "c3d_bn"])
def test_names_and_numbers_stay_as_they_were(name):
    with torch.device("meta"):
        network = create_model(name, 3)
    names, norms = list(network.state_dict()), sum(isinstance(part, nn.BatchNorm3d) for part in network.modules())
    synchronise(network, CPU)
    assert list(network.state_dict()) == names
    assert sum(type(part).__name__.startswith("Synced") for part in network.modules()) >= norms > 0


def test_on_a_gpu_it_is_what_torch_has():
    with torch.device("meta"):
        network = create_model("resnet3d_10", 3)
    synchronise(network, torch.device("cuda"))
    assert isinstance(network.bn1, nn.SyncBatchNorm)
    assert isinstance(network.bn1, nn.BatchNorm3d)


def test_alone_it_is_the_batch_norm_it_was():
    torch.manual_seed(0)
    plain, synced = nn.BatchNorm3d(3), nn.BatchNorm3d(3)
    synchronise(synced, CPU)
    clips = torch.randn(4, 3, 2, 5, 5)
    assert torch.equal(plain(clips), synced(clips))
    assert all(torch.equal(one, other) for one, other in zip(plain.buffers(), synced.buffers(), strict=True))


def test_a_norm_with_arithmetic_of_its_own_is_refused():
    with torch.device("meta"):
        network = create_model("cnn_lstm", 3)
    with pytest.raises(UsageError, match=r"sync_batch_norm with .*recurrent_norm"):
        synchronise(network, CPU)
