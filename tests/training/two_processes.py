"""Runs as two processes that train together, and prints, as JSON, what each of them found.

`python two_processes.py` starts both. A program of its own, as a process can be of one group only.
"""

import json
import os
import socket
import subprocess
import sys

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from kinema.core.errors import DataError
from kinema.training.batch_norm import synchronise
from kinema.training.processes import connect
from kinema.training.recipe import make_config
from kinema.training.team import ElsewhereError, TrainingTeam

CPU = torch.device("cpu")
STEPS = 6


def network():
    """In float64, in which only a mistake shows."""
    torch.manual_seed(0)
    momenta = nn.BatchNorm3d(4, momentum=None)
    shift = nn.BatchNorm3d(8, affine=False)
    return nn.Sequential(
        nn.Conv3d(3, 8, 3, padding=1), nn.BatchNorm3d(8), nn.ReLU(), shift, nn.Conv3d(8, 4, 3), momenta,
        nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.BatchNorm1d(4), nn.Linear(4, 2),
    ).double()  # fmt: skip


def clips():
    """Eight clips of noise far from 0, and their classes."""
    torch.manual_seed(1)
    return torch.randn(8, 3, 4, 8, 8, dtype=torch.float64) * 3 + 10, torch.arange(8) % 2


def learn(model, parameters, inputs, targets):
    optimizer = torch.optim.SGD(parameters, lr=0.05, momentum=0.9)
    for _ in range(STEPS):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), targets).backward()
        optimizer.step()


def norms(rank, ranks):
    """How far the shared network ends from the one that had all clips, and what became of it."""
    inputs, targets = clips()
    alone, shared, plain = network(), network(), network()
    learn(alone, alone.parameters(), inputs, targets)
    synchronise(shared, CPU)
    for module in (shared, plain):
        learn(DistributedDataParallel(module), module.parameters(), inputs[rank::ranks], targets[rank::ranks])
    expected = alone.state_dict()

    def furthest(module):
        found = module.state_dict()
        assert list(found) == list(expected)
        return max((found[name].double() - expected[name].double()).abs().max().item() for name in expected)

    far = {"synchronised": furthest(shared), "plain": furthest(plain)}
    shared.eval()
    alone.load_state_dict(shared.state_dict())
    return {
        **far,
        "still a batch norm": isinstance(shared[1], nn.BatchNorm3d),
        "evaluates alike": torch.equal(shared(inputs[:1]), alone.eval()(inputs[:1])),
        "in bfloat16": str(_trained_in_bfloat16(shared)),
    }


def _trained_in_bfloat16(module):
    with torch.autocast("cpu", torch.bfloat16):
        norm = module.float().train()[1]
        return norm(torch.zeros(2, 8, 1, 1, 1, dtype=torch.bfloat16)).dtype


def team(fabric):
    """What the processes tell each other."""
    crew = TrainingTeam(fabric)
    norm = nn.BatchNorm1d(1)
    norm.running_mean.fill_(crew.rank + 5.0)
    crew.share_buffers(norm)
    told = {
        "rank": crew.rank, "first": crew.first, "gathered": crew.gather({"from": crew.rank}),
        "sums": crew.sum(crew.rank + 1, 0.5), "buffer": norm.running_mean.item(),
    }  # fmt: skip
    with crew.together():
        told["passed"] = True
    told["second fails"] = _failing(crew, 1)
    told["both fail"] = _failing(crew, 0, 1)
    try:
        with crew.together():
            assert crew.rank == 0, "a fault"
    except (AssertionError, ElsewhereError) as error:
        told["fault"] = [type(error).__name__, str(error), getattr(error, "exit_code", None)]
    return told


def _failing(crew, *ranks):
    """What a process gets to know where `ranks` fail."""
    try:
        with crew.together():
            _fail(crew, ranks)
    except (DataError, ElsewhereError) as error:
        return [type(error).__name__, error.given, error.next_step, error.exit_code]
    return None


def _fail(crew, ranks):
    if crew.rank in ranks:
        raise DataError(f"mine, of {crew.rank}", allowed="none", next_step="go on")


def start(program, *arguments):
    """Both processes of a program, at one free port; the larger of their exit codes."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = str(found.getsockname()[1])
    environment = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "NODE_RANK": "0"}
    both = [
        subprocess.Popen([sys.executable, program, *arguments], env={**environment, "LOCAL_RANK": str(rank)})
        for rank in (0, 1)
    ]
    return max(process.wait() for process in both)


if __name__ == "__main__":
    if "LOCAL_RANK" not in os.environ:
        sys.exit(start(__file__))
    joined = connect(make_config({"data": "none", "devices": 2, "device": "cpu"}))
    found = {"team": team(joined), "norms": norms(joined.global_rank, joined.world_size)}
    for turn in range(2):  # one line after the other
        if turn == joined.global_rank:
            sys.stdout.write(json.dumps(found) + "\n")
            sys.stdout.flush()
        distributed.barrier()
    distributed.destroy_process_group()
