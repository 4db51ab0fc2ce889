"""The processes that train together: who starts them, what they must agree upon, and how they end."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment

from kinema.core.errors import TrainingError, UsageError
from kinema.inference.predictor import choose_device
from kinema.training.config import TrainConfig
from kinema.training.meeting import join_group
from kinema.training.precision import arithmetic
from kinema.training.team import TrainingTeam

__all__ = ["connect", "describe_group", "group_errors", "is_first", "require_same"]

# Slurm numbers the steps of srun from 0; these stand for what runs outside them (slurm.h).
_FIRST_STEP_THAT_IS_NONE = 0xFFFFFFF0


def connect(config: TrainConfig) -> Fabric:
    """The processes that train together: this one alone, `devices` of them started here, or those of torchrun or srun.

    Raises:
        UsageError: the device does not compute at the configured precision, or not together with what else is
            asked; or torchrun or Slurm started other processes than `nodes` machines with `devices` each.
    """
    device = choose_device(config.device)
    if device.type == "cpu" and config.precision == "bf16-mixed" and config.compile and config.gradient_checkpointing:
        # The reason has not been found yet (docs/results/training-speed.md).
        raise UsageError(
            "bf16-mixed, compile and gradient_checkpointing at once on a CPU, which has given other gradients",
            allowed="any two of them",
            next_step="leave out compile, which gains little on a CPU",
        )
    environment = _environment(config, os.environ)
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # of the group speaks `describe_group`
    if device.type == "cuda" and config.devices > torch.cuda.device_count():
        raise UsageError(
            f"devices = {config.devices}, but this machine shows {torch.cuda.device_count()} GPUs",
            allowed="at most one process a GPU",
            next_step="lower devices, or see CUDA_VISIBLE_DEVICES",
        )
    join_group(os.environ, device)
    fabric = Fabric(
        accelerator=device.type,
        devices=config.devices,
        num_nodes=config.nodes,
        strategy="ddp" if config.devices * config.nodes > 1 else "auto",
        plugins=[part for part in (arithmetic(config.precision, device), environment) if part is not None],
    )
    fabric.launch()
    return fabric


def describe_group(fabric: Fabric, config: TrainConfig) -> str:
    """A line of the log: how many processes train, and how many clips a step has."""
    clips = config.batch_size * config.accumulate
    machines = f" on {config.nodes} machines" if config.nodes > 1 else ""
    restarts = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))
    again = f"; restarted {restarts} of {os.environ.get('TORCHELASTIC_MAX_RESTARTS')} times" if restarts else ""
    return (
        f"{fabric.world_size} processes{machines} train together: {clips} clips a step each, "
        f"{clips * fabric.world_size} in all{again}"
    )


def is_first(variables: Mapping[str, str]) -> bool:
    """Whether this is the process that speaks for all, by what its launcher left in `os.environ`."""
    rank = variables.get("SLURM_PROCID", "0") if _is_in_step(variables) else variables.get("LOCAL_RANK", "0")
    return int(variables.get("RANK", rank)) == 0


def require_same(fabric: Fabric, what: str, value: Any, *, next_step: str) -> None:
    """Refuse to go on where processes hold different values, which would train different networks or wait for ever.

    Raises:
        TrainingError: they differ.
    """
    values = TrainingTeam(fabric).gather(value)
    strangers = [rank for rank, other in enumerate(values) if other != values[0]]
    if strangers:
        raise TrainingError(
            f"{what} of process {strangers[0]} is {values[strangers[0]]}, of process 0 {values[0]}",
            allowed="the same in every process",
            next_step=next_step,
        )


@contextmanager
def group_errors(fabric: Fabric) -> Iterator[None]:
    """Say in words that another process is gone, where torch tells of sockets.

    Raises:
        TrainingError: this process waited for one that has ended.
    """
    try:
        yield
    except RuntimeError as error:
        if fabric.world_size == 1 or not _is_of_the_group(error):
            raise
        raise TrainingError(
            f"process {fabric.global_rank} of {fabric.world_size}: another process of the run has ended "
            f"({str(error).partition(chr(10))[0][:200]})",
            allowed="all processes to the end",
            next_step="see what that process said, then go on with --resume; torchrun --max-restarts does so by itself",
        ) from error


def _is_of_the_group(error: RuntimeError) -> bool:
    """Whether an error comes from what processes send each other."""
    if isinstance(error, torch.distributed.DistError):
        return True
    text = str(error).lower()
    return any(word in text for word in ("gloo", "nccl", "connection closed by peer", "connection reset by peer"))


def _environment(config: TrainConfig, variables: Mapping[str, str]) -> ClusterEnvironment | None:
    """Who started this process; None: nobody who starts several, or torchrun, both of which Fabric knows by itself."""
    wanted = config.devices * config.nodes
    if "TORCHELASTIC_RUN_ID" in variables:
        machines = int(variables.get("GROUP_WORLD_SIZE", "1"))
        _require_group("torchrun", int(variables["WORLD_SIZE"]), machines, config)
        return None
    if _is_in_step(variables):
        machines = int(variables.get("SLURM_STEP_NUM_NODES", variables.get("SLURM_NNODES", "1")))
        tasks = int(variables.get("SLURM_STEP_NUM_TASKS", variables.get("SLURM_NTASKS", "1")))
        if tasks > 1:
            _require_group("srun", tasks, machines, config)
            if "SLURM_NTASKS_PER_NODE" not in variables:
                raise UsageError(
                    "srun without --ntasks-per-node, which says how many processes a machine has",
                    allowed=f"--nodes={config.nodes} --ntasks-per-node={config.devices}",
                    next_step="add it to srun or to the #SBATCH lines",
                )
            return SLURMEnvironment(auto_requeue=False)
    if config.nodes > 1:
        raise UsageError(
            f"nodes = {config.nodes}, but this process was started by neither torchrun nor srun",
            allowed="nodes = 1 for processes that kinema starts by itself",
            next_step=f"on every machine: torchrun --nnodes {config.nodes} --nproc-per-node {config.devices} "
            "--rdzv-backend c10d --rdzv-endpoint HOST:PORT -m kinema train ...",
        )
    if int(variables.get("WORLD_SIZE", wanted)) != wanted:
        raise UsageError(
            f"WORLD_SIZE is {variables['WORLD_SIZE']}, but devices * nodes is {wanted}",
            allowed="both the same, or no WORLD_SIZE",
            next_step="start with torchrun, which sets all that belongs to it, or unset WORLD_SIZE",
        )
    return LightningEnvironment() if "SLURM_JOB_ID" in variables else None


def _is_in_step(variables: Mapping[str, str]) -> bool:
    """Whether srun started this process, rather than the batch script or an interactive shell."""
    step = variables.get("SLURM_STEP_ID", "")
    return step.isdigit() and int(step) < _FIRST_STEP_THAT_IS_NONE


def _require_group(launcher: str, processes: int, machines: int, config: TrainConfig) -> None:
    if (machines, processes) == (config.nodes, config.nodes * config.devices):
        return
    each = processes // machines
    if each * machines == processes:
        settings = f"--set nodes={machines} --set devices={each}, or start as many processes as the run has"
    else:
        settings = "start equally many processes on every machine"
    raise UsageError(
        f"{launcher} started {processes} processes, machines: {machines}, but nodes = {config.nodes} and "
        f"devices = {config.devices}",
        allowed="nodes machines with devices processes each",
        next_step=settings,
    )
