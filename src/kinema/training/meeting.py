"""Where the processes of torchrun meet anew after a restart.

torchrun keeps one store of keys for as long as it runs, and restarted processes find in it the addresses of
those that died (pytorch/pytorch#135712). So the first process draws a prefix that nobody has used, and tells
it to each of the others. No process of an earlier start is alive then: torchrun ends them all beforehand.
"""

from __future__ import annotations

import atexit
import secrets
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Protocol

import torch

from kinema.core.errors import TrainingError

__all__ = ["join_group", "meet"]

_distributed: Any = torch.distributed  # whose stubs leave out the stores
_POLL_SECONDS = 0.05
_WAIT = timedelta(minutes=10)
_EXCHANGE = timedelta(minutes=30)  # for each exchange; NCCL's own is 10 minutes, which a long validation may take


class Store(Protocol):
    """What is used of torch's stores of keys, which all processes see."""

    def set(self, key: str, value: str) -> None:
        """Write a key."""

    def get(self, key: str) -> bytes:
        """Read a key, which is waited for."""
        ...

    def wait(self, keys: list[str], timeout: timedelta) -> None:
        """Until all of `keys` have been written."""

    def check(self, keys: list[str]) -> bool:
        """Whether all of `keys` have been written."""
        ...


def join_group(variables: Mapping[str, str], device: torch.device) -> None:
    """Join the processes that torchrun started, which `os.environ` tells of, where its store is theirs, too.

    Raises:
        TrainingError: the others did not come.
    """
    if variables.get("TORCHELASTIC_USE_AGENT_STORE") != "True" or torch.distributed.is_initialized():
        return
    rank, ranks = int(variables["RANK"]), int(variables["WORLD_SIZE"])
    store = _distributed.TCPStore(
        variables["MASTER_ADDR"], int(variables["MASTER_PORT"]), ranks, is_master=False, timeout=_WAIT
    )
    prefix = meet(store, rank, ranks, wait=_WAIT)
    backend = torch.distributed.Backend.default_device_backend_map[device.type]
    torch.distributed.init_process_group(
        backend,
        store=_distributed.PrefixStore(prefix, store),
        rank=rank,
        world_size=ranks,
        timeout=_EXCHANGE,
    )
    if backend == "nccl":  # which complains of groups that nobody ended
        atexit.register(torch.distributed.destroy_process_group)


def meet(store: Store, rank: int, ranks: int, *, wait: timedelta) -> str:
    """A prefix of keys that all of `ranks` processes learn, and that no earlier processes used in `store`.

    Raises:
        TrainingError: the others did not come within `wait`.
    """
    mine = secrets.token_hex(8)
    try:
        if rank == 0:
            _invite(store, mine, ranks, time.monotonic() + wait.total_seconds())
            return mine
        store.set(f"kinema/here/{rank}", mine)
        store.wait([f"kinema/answer/{mine}"], wait)
        prefix = store.get(f"kinema/answer/{mine}").decode()
        store.set(f"kinema/{prefix}/{rank}", "")
    except torch.distributed.DistError as error:
        raise TrainingError(
            f"process {rank} of {ranks}: the others did not come ({str(error).partition(chr(10))[0]})",
            allowed="all processes of all machines",
            next_step="see what the others said; torchrun on every machine with the same --nnodes and --rdzv-endpoint",
        ) from error
    return prefix


def _invite(store: Store, prefix: str, ranks: int, deadline: float) -> None:
    """Answer whoever is here, be it long dead, until each of the living has been seen with `prefix`."""
    missing = set(range(1, ranks))
    while missing:
        if time.monotonic() > deadline:
            raise torch.distributed.DistStoreError(f"still missing: {', '.join(map(str, sorted(missing)))}")
        for rank in sorted(missing):
            if store.check([f"kinema/{prefix}/{rank}"]):
                missing.discard(rank)
            elif store.check([f"kinema/here/{rank}"]):
                store.set(f"kinema/answer/{store.get(f'kinema/here/{rank}').decode()}", prefix)
        time.sleep(_POLL_SECONDS)
