"""Who started this process, and what it must agree upon with the others."""

import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment

from kinema.core.errors import TrainingError, UsageError
from kinema.training import processes
from kinema.training.processes import (
    _environment,
    connect,
    describe_group,
    group_errors,
    is_first,
    require_same,
)
from kinema.training.recipe import make_config

TORCHRUN = {"TORCHELASTIC_RUN_ID": "1", "RANK": "3", "WORLD_SIZE": "4", "GROUP_WORLD_SIZE": "2", "LOCAL_RANK": "1"}
SRUN = {
    "SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "4", "SLURM_STEP_NUM_NODES": "2",
    "SLURM_NTASKS": "4", "SLURM_NNODES": "2", "SLURM_NTASKS_PER_NODE": "2", "SLURM_PROCID": "0",
}  # fmt: skip


def config(**settings):
    return make_config({"data": "clips", "device": "cpu", **settings})


class Group:
    """Stands in for Fabric where only the numbers of processes count."""

    def __init__(self, rank=1, ranks=4):
        self.global_rank, self.world_size = rank, ranks


def test_one_process_alone_is_not_a_group():
    fabric = connect(config())
    assert (fabric.world_size, fabric.is_global_zero) == (1, True)
    assert _environment(config(devices=2), {}) is None


def test_the_group_of_torchrun_is_as_configured():
    assert _environment(config(nodes=2, devices=2), TORCHRUN) is None


@pytest.mark.parametrize("settings", [{}, {"devices": 4}, {"nodes": 4}, {"nodes": 2}, {"nodes": 2, "devices": 4}])
def test_another_group_than_configured_is_refused(settings):
    with pytest.raises(UsageError, match="torchrun started 4 processes, machines: 2, but nodes = ") as caught:
        _environment(config(**settings), TORCHRUN)
    assert "--set nodes=2 --set devices=2" in caught.value.next_step


def test_machines_with_unlike_numbers_of_processes_are_refused():
    with pytest.raises(UsageError, match="torchrun started 5") as caught:
        _environment(config(nodes=2, devices=2), {**TORCHRUN, "WORLD_SIZE": "5"})
    assert "equally many" in caught.value.next_step


def test_several_machines_need_a_launcher():
    with pytest.raises(UsageError, match="neither torchrun nor srun") as caught:
        _environment(config(nodes=2, devices=8), {})
    assert "torchrun --nnodes 2 --nproc-per-node 8" in caught.value.next_step


def test_a_world_size_of_nobody_is_refused():
    with pytest.raises(UsageError, match="WORLD_SIZE is 8, but devices"):
        _environment(config(devices=2), {"WORLD_SIZE": "8"})
    assert _environment(config(devices=2), {"WORLD_SIZE": "2"}) is None


def test_the_tasks_of_srun_are_the_group(monkeypatch):
    for name, value in SRUN.items():
        monkeypatch.setenv(name, value)
    found = _environment(config(nodes=2, devices=2), SRUN)
    assert isinstance(found, SLURMEnvironment)
    with pytest.raises(UsageError, match="srun started 4 processes, machines: 2"):
        _environment(config(devices=2), SRUN)
    with pytest.raises(UsageError, match="--ntasks-per-node"):
        _environment(config(nodes=2, devices=2), {k: v for k, v in SRUN.items() if k != "SLURM_NTASKS_PER_NODE"})


@pytest.mark.parametrize("step", [{}, {"SLURM_STEP_ID": "4294967290"}, {"SLURM_STEP_ID": "4294967291"}])
def test_a_batch_script_without_srun_starts_its_own_processes(step):
    """Fabric by itself would wait for tasks that nobody started."""
    variables = {**{name: value for name, value in SRUN.items() if name != "SLURM_STEP_ID"}, **step}
    assert isinstance(_environment(config(devices=2), variables), LightningEnvironment)
    with pytest.raises(UsageError, match="neither torchrun nor srun"):
        _environment(config(nodes=2, devices=2), variables)


def test_one_task_of_srun_may_start_processes_of_its_own():
    alone = {**SRUN, "SLURM_STEP_NUM_TASKS": "1", "SLURM_STEP_NUM_NODES": "1"}
    assert isinstance(_environment(config(devices=2), alone), LightningEnvironment)


@pytest.mark.parametrize(
    ("variables", "first"),
    [
        ({}, True),
        (TORCHRUN, False),
        ({**TORCHRUN, "RANK": "0"}, True),
        (SRUN, True),
        ({**SRUN, "SLURM_PROCID": "2"}, False),
        ({"LOCAL_RANK": "1"}, False),
    ],
)
def test_one_process_speaks(variables, first):
    assert is_first(variables) is first


def test_the_log_counts_processes_machines_and_clips(monkeypatch):
    monkeypatch.delenv("TORCHELASTIC_RESTART_COUNT", raising=False)
    said = describe_group(Group(), config(nodes=2, devices=2, batch_size=8, accumulate=2))
    assert said == "4 processes on 2 machines train together: 16 clips a step each, 64 in all"
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    monkeypatch.setenv("TORCHELASTIC_MAX_RESTARTS", "3")
    assert describe_group(Group(), config(devices=4)).endswith("; restarted 1 of 3 times")
    assert "machines" not in describe_group(Group(), config(devices=4))


def test_more_processes_than_gpus_are_refused(monkeypatch):
    monkeypatch.setattr(processes, "choose_device", torch.device)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UsageError, match="this machine shows 1 GPUs"):
        connect(config(device="cuda", devices=2))


def test_processes_that_hold_other_data_are_told(monkeypatch):
    def gather(values, value):
        values[:] = [value, value, "other", "other"]

    monkeypatch.setattr(torch.distributed, "all_gather_object", gather)
    with pytest.raises(TrainingError, match="the data set of process 2 is other, of process 0 mine") as caught:
        require_same(Group(), "the data set", "mine", next_step="copy it anew")
    assert caught.value.next_step == "copy it anew"
    require_same(Fabric(accelerator="cpu", devices=1), "the data set", "mine", next_step="")


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("[gloo/transport/tcp/pair.cc:561] Connection closed by peer [127.0.0.1]:1"),
        torch.distributed.DistBackendError("NCCL error"),
    ],
)
def test_a_process_that_is_gone_is_told_in_words(error):
    with pytest.raises(TrainingError, match="process 1 of 4: another process of the run has ended"):
        raise_within(Group(), error)
    with pytest.raises(type(error)):
        raise_within(Group(ranks=1), error)


def test_other_errors_stay_what_they_are():
    with pytest.raises(RuntimeError, match="shapes"):
        raise_within(Group(), RuntimeError("shapes do not fit"))


def raise_within(group, error):
    with group_errors(group):
        raise error
